"""How a connection begins: in plaintext, or with an encrypted opening (MSE/PE)."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import gevent

from geventbt.concurrency.dispatch import Dispatcher, no_flow_control
from geventbt.errors import HandshakeError, WireTimeout
from geventbt.protocol.constants import PROTOCOL_STRING

FindTorrent: TypeAlias = Callable[[bytes], "bytes | None"]
"""From what stands for an info hash in an opening to the info hash; see `geventbt.protocol.mse.req2`."""

PREFER, REQUIRE, DISABLE = "prefer", "require", "disable"
POLICIES = (PREFER, REQUIRE, DISABLE)

_BREATH = 0.001

_key_queues: WeakKeyDictionary[Any, Dispatcher] = WeakKeyDictionary()


def check_policy(policy: str) -> None:
    """Raise ValueError for an unknown encryption policy."""
    if policy not in POLICIES:
        raise ValueError(f"encryption={policy!r}: must be one of {', '.join(POLICIES)}")


def _methods(policy: str) -> int:
    from geventbt.protocol import mse

    return mse.RC4 if policy == REQUIRE else mse.RC4 | mse.PLAINTEXT


def open_encrypted(sock: Any, info_hash: bytes, policy: str, timeout: float) -> Any:
    """Go through an encrypted opening as the side that connects; blocks.

    Args:
        sock: a gevent socket that is connected.
        info_hash: of the torrent, 20 bytes.
        policy: "prefer" or "require".
        timeout: seconds for all of it.

    Returns:
        The `geventbt.protocol.mse.Initiator`, which is done.

    Raises:
        HandshakeError: the peer does not know how, or does not agree.
        WireTimeout: it took too long.
        OSError: the connection broke.
    """
    # Imported where it is needed: whoever never encrypts need not load a library for it.
    from geventbt.protocol.mse import Initiator

    opening = Initiator(info_hash, _methods(policy))
    deadline = monotonic() + timeout
    sock.sendall(opening.take_outgoing())
    while not opening.done:
        sock.settimeout(max(0.001, deadline - monotonic()))
        try:
            data = sock.recv(4096)
        except TimeoutError:
            raise WireTimeout(f"no encrypted opening within {timeout:g} seconds") from None
        if not data:
            raise HandshakeError("the peer closed the connection during the encrypted opening")
        opening.receive(data)
        if opening.key_due:
            opening.compute_key()
        sock.sendall(opening.take_outgoing())
    return opening


def compute_soon(hub: Any, compute: Callable[[], None]) -> None:
    """Have a costly step of an opening taken, one at a time: many strangers at once must not hold the hub up."""
    queue = _key_queues.get(hub)
    if queue is None:
        queue = _key_queues[hub] = Dispatcher(no_flow_control())
    queue.call(_compute_and_yield, compute)


def _compute_and_yield(compute: Callable[[], None]) -> None:
    compute()
    # A timer, however short: sleep(0) would come back up to ten times before the loop looks at a socket.
    gevent.sleep(_BREATH)


class InboundOpening:
    """The first bytes of an inbound peer: told apart by whether they are those of a plaintext handshake.

    Args:
        policy: "prefer", "require" or "disable".
        find_torrent: looks the torrent of an encrypted opening up; None takes no encrypted ones.

    Attributes:
        settled: whether it is known how the stream goes on.
        payload: then, what has come of the stream already.
        encryption: then, "plaintext" or "rc4".
        encryptor, decryptor: then, the ciphers of the stream; None in plaintext.
        key_due: the next step is the costly one, `compute_key`.
    """

    def __init__(self, policy: str, find_torrent: FindTorrent | None) -> None:
        self._policy = policy
        self._find_torrent = find_torrent
        self._responder: Any = None
        self.settled = False
        self.payload = b""
        self.encryption: str | None = None
        self.encryptor: Any = None
        self.decryptor: Any = None

    @property
    def key_due(self) -> bool:
        return self._responder is not None and self._responder.key_due

    def receive(self, data: bytes) -> None:
        """Take the peer's next bytes. Raises HandshakeError when they cannot be the beginning of a connection."""
        if self._responder is None:
            self.payload += data
            self._tell_apart()
        else:
            self._responder.receive(data)
            self._note_result()

    def compute_key(self) -> None:
        """Take the costly step. Raises as `receive`."""
        self._responder.compute_key()
        self._note_result()

    def take_outgoing(self) -> bytes:
        """The bytes to be sent now."""
        return self._responder.take_outgoing() if self._responder else b""

    def _tell_apart(self) -> None:
        start = self.payload[: len(PROTOCOL_STRING)]
        if PROTOCOL_STRING.startswith(start):
            if len(start) == len(PROTOCOL_STRING):
                if self._policy == REQUIRE:
                    raise HandshakeError("a plaintext handshake, where encryption is required")
                self._settle_plaintext()
        elif self._policy == DISABLE or self._find_torrent is None:
            # Not the beginning of a handshake either: the parser will say so.
            self._settle_plaintext()
        else:
            from geventbt.protocol.mse import Responder

            self._responder = Responder(self._find_torrent, _methods(self._policy))
            data, self.payload = self.payload, b""
            self._responder.receive(data)
            self._note_result()

    def _settle_plaintext(self) -> None:
        self.settled = True
        self.encryption = "plaintext"

    def _note_result(self) -> None:
        responder = self._responder
        if responder.done:
            self.settled = True
            self.payload = responder.payload
            self.encryptor, self.decryptor = responder.encryptor, responder.decryptor
            self.encryption = "plaintext" if responder.encryptor is None else "rc4"
