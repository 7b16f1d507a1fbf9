"""ut_pex: peers tell each other of peers (BEP 11)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import TYPE_CHECKING

import gevent

from geventbt import limits
from geventbt.errors import GeventBTError, RemoteProtocolError
from geventbt.extensions.extension import Extension
from geventbt.net.addresses import Address
from geventbt.protocol.extended import ExtendedHandshake
from geventbt.protocol.ut_pex import PexMessage, changes

if TYPE_CHECKING:
    from geventbt.wire.wire import Wire


class UtPex(Extension):
    """Exchanges addresses of peers with the peer (BEP 11): at most one message a minute each way, 50 added and 50
    dropped.

    Signals: `peers` (added: {(host, port): flags}, dropped: [(host, port)]), `warning` (error).

    Args:
        wire: the wire.
        private: the torrent is private (BEP 27): nothing is told, and nothing is believed.
        on_peers: called as a handler of `peers`; for a client, whose ten thousand wires need no signal each.

    Attributes:
        peers: what the peer has told of and not taken back, {(host, port): flags}; at most `limits.PEX_KNOWN`.
    """

    name = "ut_pex"
    signal_names = ("peers", "warning")

    def __init__(
        self, wire: Wire, private: bool = False, *, on_peers: Callable[..., object] = lambda pex, added, dropped: None
    ) -> None:
        super().__init__(wire)
        self.peers: dict[Address, int] = {}
        self._private = private
        self._on_peers = on_peers
        self._current: dict[Address, int] = {}
        self._told: dict[Address, int] = {}
        self._last_sent = self._last_taken = float("-inf")
        self._sender: gevent.Greenlet | None = None

    def update(self, peers: Mapping[Address, int] | Iterable[Address]) -> None:
        """Say which peers there are now. The peer is told of the changes, as soon as a message may go out again.

        Args:
            peers: their addresses as (host, port), and their flags where they are a mapping; see
                `geventbt.protocol.ut_pex`.
        """
        self._current = dict(peers) if isinstance(peers, Mapping) else dict.fromkeys(peers, 0)
        self._current.pop(self.wire.remote_address, None)
        self._send_soon()

    def _send_soon(self) -> None:
        if self._private or self._sender is not None or not self.supported or self.wire.closed:
            return
        delay = max(0.0, self._last_sent + limits.PEX_INTERVAL - monotonic())
        self._sender = gevent.spawn_later(delay, self._send_changes)

    def _send_changes(self) -> None:
        self._sender = None
        message = changes(self._told, self._current.items())
        if self.wire.closed or not (message.added or message.dropped):
            return
        try:
            self.send(message.to_bytes())
        except GeventBTError:
            # The wire has closed, or the peer has switched the extension off: there is nobody to tell.
            return
        self._last_sent = monotonic()
        self._told.update(message.added)
        for peer in message.dropped:
            self._told.pop(peer, None)
        # What was too much for one message goes into the next.
        self._send_soon()

    def on_extended_handshake(self, handshake: ExtendedHandshake) -> None:
        """Now the peer can be told."""
        if self._current:
            self._send_soon()

    def on_close(self, error: Exception | None) -> None:
        """Nothing will be told any more."""
        if self._sender is not None:
            self._sender.kill(block=False)
            self._sender = None

    def on_message(self, payload: bytes) -> None:
        """Take what the peer tells, unless it tells too often."""
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
