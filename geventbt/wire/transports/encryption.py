"""The opening of a connection: plaintext, or encrypted with Message Stream Encryption (MSE/PE)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from geventbt.errors import HandshakeError, WireTimeout
from geventbt.protocol.constants import PROTOCOL_STRING
from geventbt.protocol.messages import Buffer
from geventbt.wire.transports.base import SMALL_READ, Cipher, Transport, TransportDelegate
from geventbt.wire.transports.key_queue import key_queue

_log = logging.getLogger("geventbt")

FindTorrent: TypeAlias = Callable[[bytes], "bytes | None"]
"""From the `geventbt.protocol.mse.req2` of an info hash to the info hash, or None."""

EncryptionPolicy: TypeAlias = Literal["prefer", "allow", "require", "disable"]
"""Whether connections are encrypted; see `geventbt.connect`."""
Encryption: TypeAlias = Literal["plaintext", "rc4"]

PREFER: Literal["prefer"] = "prefer"
ALLOW: Literal["allow"] = "allow"
REQUIRE: Literal["require"] = "require"
DISABLE: Literal["disable"] = "disable"
POLICIES = (PREFER, ALLOW, REQUIRE, DISABLE)

_logged: set[type[Exception]] = set()


class OpenedStream(NamedTuple):
    """The outcome of an opening.

    Attributes:
        encryptor, decryptor: the ciphers of the stream that follows; None in plaintext.
        payload: the bytes of that stream that have arrived already, decrypted.
    """

    encryptor: Cipher | None
    decryptor: Cipher | None
    payload: bytes

    @property
    def encryption(self) -> Encryption:
        """How the stream is encrypted."""
        return "plaintext" if self.encryptor is None else "rc4"


def check_policy(policy: str) -> None:
    """Raise ValueError for an unknown encryption policy."""
    if policy not in POLICIES:
        raise ValueError(f"encryption={policy!r}: must be one of {', '.join(POLICIES)}")


def log_once(error: Exception) -> None:
    """Log an unexpected error of an opening, with its traceback; only the first of its class, as every further
    connection may fail in the same way."""
    if type(error) not in _logged:
        _logged.add(type(error))
        _log.error("an encrypted opening failed, as others may: %r", error, exc_info=error)


def _methods(policy: str) -> int:
    from geventbt.protocol import mse

    return mse.RC4 if policy == REQUIRE else mse.RC4 | mse.PLAINTEXT


def open_encrypted(sock: Any, info_hash: bytes, policy: str, timeout: float) -> OpenedStream:
    """Perform an encrypted opening as the connecting side; blocks.

    Args:
        sock: a connected gevent socket.
        info_hash: of the torrent, 20 bytes.
        policy: "prefer" or "require".
        timeout: seconds for all of it.

    Raises:
        HandshakeError: the peer does not support encryption, or accepts none of our methods.
        WireTimeout: it took too long.
        OSError: the connection broke.
    """
    # Imported where it is needed: programs that never encrypt need not load `cryptography`.
    from geventbt.protocol.mse import Initiator

    opening = Initiator(info_hash, _methods(policy))
    deadline = monotonic() + timeout
    sock.sendall(opening.take_outgoing())
    while not opening.done:
        sock.settimeout(max(0.001, deadline - monotonic()))
        try:
            data = sock.recv(4096)
        except TimeoutError:
            raise WireTimeout(f"encrypted opening not finished within {timeout:g} s") from None
        if not data:
            raise HandshakeError("the peer closed the connection during the encrypted opening") from EOFError()
        opening.receive(data)
        if opening.key_due:
            opening.compute_key()
        sock.sendall(opening.take_outgoing())
    return OpenedStream(opening.encryptor, opening.decryptor, opening.payload)


class InboundOpening:
    """The opening of an inbound connection; plaintext or encrypted is decided by the first bytes.

    Args:
        policy: "prefer", "allow", "require" or "disable".
        find_torrent: finds the torrent of an encrypted opening; None accepts no encrypted ones.

    Attributes:
        stream: the outcome; None until it is settled.
    """

    def __init__(self, policy: str, find_torrent: FindTorrent | None) -> None:
        self.stream: OpenedStream | None = None
        self._policy = policy
        self._find_torrent = find_torrent
        self._responder: Any = None
        self._received = b""

    @property
    def key_due(self) -> bool:
        """Whether the next step is the costly one, `compute_key`."""
        return self._responder is not None and self._responder.key_due

    def receive(self, data: bytes) -> None:
        """Take the peer's next bytes.

        Raises:
            HandshakeError: they cannot begin a connection.
        """
        if self._responder is None:
            self._received += data
            self._detect()
        else:
            self._responder.receive(data)
            self._note_result()

    def compute_key(self) -> None:
        """Take the costly step. Raises: see `receive`."""
        self._responder.compute_key()
        self._note_result()

    def take_outgoing(self) -> bytes:
        """The bytes to be sent now."""
        return self._responder.take_outgoing() if self._responder else b""

    def _detect(self) -> None:
        """Decide by the first bytes, as soon as they suffice, between plaintext and encryption."""
        start = self._received[: len(PROTOCOL_STRING)]
        if PROTOCOL_STRING.startswith(start):
            if len(start) == len(PROTOCOL_STRING):
                if self._policy == REQUIRE:
                    raise HandshakeError("the peer sent a plaintext handshake, but encryption is required")
                self._settle_plaintext()
        elif self._policy == DISABLE or self._find_torrent is None:
            # Not a handshake either: the parser will refuse it.
            self._settle_plaintext()
        else:
            from geventbt.protocol.mse import Responder

            self._responder = Responder(self._find_torrent, _methods(self._policy))
            data, self._received = self._received, b""
            self._responder.receive(data)
            self._note_result()

    def _settle_plaintext(self) -> None:
        self.stream = OpenedStream(None, None, self._received)

    def _note_result(self) -> None:
        responder = self._responder
        if responder.done:
            self.stream = OpenedStream(responder.encryptor, responder.decryptor, responder.payload)


class StreamOwner(TransportDelegate, Protocol):
    """The delegate that takes over a transport when the opening is settled."""

    def begin_stream(self, stream: OpenedStream) -> None:
        """Take over: from now on there are messages."""


class OpeningDelegate(TransportDelegate):
    """Stands between a transport and a wire's engine until an inbound opening is settled.

    Args:
        hub: the hub of the transport.
        transport: whose delegate this is until then.
        opening: the opening.
        owner: takes over the transport, or is given the error.
    """

    def __init__(self, hub: Any, transport: Transport, opening: InboundOpening, owner: StreamOwner) -> None:
        self._keys = key_queue(hub)
        self._is_waiting = False
        self._transport = transport
        self._opening = opening
        self._owner = owner
        self._ended = False

    def on_data(self, data: memoryview) -> int:
        received = bytes(data)
        self._take_step(lambda: self._opening.receive(received))
        return SMALL_READ

    def on_end(self, error: Exception | None) -> None:
        self._leave()
        self._owner.on_end(error)

    def on_drained(self) -> None:
        self._owner.on_drained()

    def on_released(self) -> None:
        self._leave()
        self._owner.on_released()

    def take_outgoing(self) -> list[Buffer]:
        """Nothing: messages wait until it is known how they are to be encrypted."""
        return []

    def _leave(self) -> None:
        self._ended = True
        self._keys.discard(self)

    def _take_step(self, step: Callable[[], None]) -> None:
        if self._ended:
            return
        try:
            step()
        except Exception as error:
            if not isinstance(error, HandshakeError):
                log_once(error)
            self.on_end(error)
            return
        self._transport.write(self._opening.take_outgoing())
        if self._opening.key_due:
            # It is read on, or its end would not be noticed; what it sends meanwhile is bounded by the opening.
            self._wait_for_key()
        elif self._opening.stream is not None:
            self._transport.attach(self._owner)
            self._owner.begin_stream(self._opening.stream)

    def _wait_for_key(self) -> None:
        if self._is_waiting:
            return
        try:
            self._keys.add(self, self._transport.remote_address[0], self._compute_key)
            self._is_waiting = True
        except HandshakeError as error:
            self.on_end(error)

    def _compute_key(self) -> None:
        self._is_waiting = False
        self._take_step(self._opening.compute_key)
