"""ut_pex: peer exchange (BEP 11)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import TYPE_CHECKING

import gevent

from geventbt import limits
from geventbt.errors import GeventBTError, RemoteProtocolError
from geventbt.extensions.extension import Extension, ExtensionWire
from geventbt.net.addresses import Address, normalise
from geventbt.protocol.extended import ExtendedHandshake
from geventbt.protocol.ut_pex import PexMessage, changes

if TYPE_CHECKING:
    from geventbt.extensions.signal_types import UtPexOn
    from geventbt.overloads import Overloaded


class UtPex(Extension):
    """Exchanges addresses of peers with the peer (BEP 11): at most one message a minute each way, 50 added and 50
    dropped.

    Signals: `peers` (added: {(host, port): flags}, dropped: [(host, port)]), `warning` (error).

    Args:
        wire: the wire.
        private: the torrent is private (BEP 27): nothing is sent, and what arrives is ignored.
        on_peers: called like a handler of `peers`; saves a client with thousands of wires a signal for each.

    Attributes:
        peers: the peers announced and not dropped since, {(host, port): flags}; at most `limits.PEX_KNOWN`.
    """

    name = "ut_pex"
    signal_names = ("peers", "warning")
    if TYPE_CHECKING:
        on: Overloaded[UtPexOn]

    def __init__(
        self,
        wire: ExtensionWire,
        private: bool = False,
        *,
        on_peers: Callable[[UtPex, dict[Address, int], list[Address]], object] = lambda pex, added, dropped: None,
    ) -> None:
        super().__init__(wire)
        self.peers: dict[Address, int] = {}
        self._private = private
        self._on_peers = on_peers
        self._current: dict[Address, int] = {}
        self._announced: dict[Address, int] = {}
        self._last_sent = self._last_taken = float("-inf")
        self._sender: gevent.Greenlet | None = None

    def update(self, peers: Mapping[Address, int] | Iterable[Address]) -> None:
        """Set the present peers. The changes are sent as soon as the next message is allowed.

        Args:
            peers: their addresses as (host, port), and their flags where they are a mapping; see
                `geventbt.protocol.ut_pex`. What a peer cannot have as its address, such as a name, is left out.

        Raises:
            ValueError: flags that do not fit into a byte.
        """
        flagged = dict(peers) if isinstance(peers, Mapping) else dict.fromkeys(peers, 0)
        for peer, flags in flagged.items():
            if not 0 <= flags <= 0xFF:
                raise ValueError(f"the flags of {peer!r} are {flags!r}: must be 0 to 255")
        known = ((normalise(peer), flags) for peer, flags in flagged.items())
        self._current = {peer: flags for peer, flags in known if peer is not None}
        own = normalise(self.wire.remote_address)
        if own is not None:
            self._current.pop(own, None)
        self._send_soon()

    def _send_soon(self) -> None:
        if self._private or self._sender is not None or not self.supported or self.wire.closed:
            return
        delay = max(0.0, self._last_sent + limits.PEX_INTERVAL - monotonic())
        self._sender = gevent.spawn_later(delay, self._send_changes)

    def _send_changes(self) -> None:
        self._sender = None
        message = changes(self._announced, self._current.items())
        if self.wire.closed or not (message.added or message.dropped):
            return
        try:
            self.send(message.to_bytes())
        except GeventBTError:
            # The wire has closed, or the peer has switched the extension off.
            return
        self._last_sent = monotonic()
        self._announced.update(message.added)
        for peer in message.dropped:
            self._announced.pop(peer, None)
        # Changes that did not fit into this message go into the next.
        self._send_soon()

    def on_extended_handshake(self, handshake: ExtendedHandshake) -> None:
        """Send the changes that waited for the extended handshake."""
        if self._current:
            self._send_soon()

    def on_close(self, error: Exception | None) -> None:
        """Send no more."""
        if self._sender is not None:
            self._sender.kill(block=False)
            self._sender = None

    def on_message(self, payload: bytes) -> None:
        """Take the peer's changes; a message that follows the last one too early is ignored."""
        now = monotonic()
        if self._private or now < self._last_taken + limits.PEX_INTERVAL * limits.PEX_TOLERANCE:
            return
        self._last_taken = now
        try:
            message = PexMessage.from_bytes(payload)
        except RemoteProtocolError as error:
            self.emit("warning", error=error)
            return
        for peer in message.dropped:
            self.peers.pop(peer, None)
        self.peers.update(list(message.added.items())[: max(0, limits.PEX_KNOWN - len(self.peers))])
        self._on_peers(self, message.added, list(message.dropped))
        self.emit("peers", added=message.added, dropped=list(message.dropped))
