"""Connections of one torrent between peers behind routers, which let in only what answers (BEP 55).

When both peers open a connection at the same time, each opens the way for the other. A relay, which both are connected
to, tells them when: one asks it for a rendezvous, and it tells both to connect. The one that asks connects at once: its
packets open the way for those of the other, which come later. Here are all three parts.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple, Protocol

from geventbt import limits
from geventbt.client.context import ClientContext
from geventbt.client.peers.finder import Finder
from geventbt.client.peers.known_peers import KnownPeers, Source
from geventbt.errors import GeventBTError
from geventbt.extensions.ut_holepunch import UtHolepunch
from geventbt.extensions.ut_pex import UtPex
from geventbt.net.addresses import Address, scope_of
from geventbt.protocol import ut_holepunch as codec
from geventbt.protocol.ut_holepunch import HolepunchMessage
from geventbt.protocol.ut_pex import HOLEPUNCH, OUTGOING
from geventbt.wire.transports.base import UTP
from geventbt.wire.transports.utp import UtpTransport
from geventbt.wire.wire import Wire

_log = logging.getLogger("geventbt")


class HolePuncherOwner(Protocol):
    """Connects to peers."""

    def on_introduced(self, address: Address) -> None:
        """Open a uTP connection to a known peer at once, unless one is being opened: it does the same."""


class ConnectedPeer(Protocol):
    """A connected peer: a `WirePeer`, or one that is asked for metadata."""

    @property
    def wire(self) -> Wire:
        """The connection."""

    @property
    def remote_address(self) -> Address:
        """The other end of the connection."""

    @property
    def address(self) -> Address | None:
        """Where it listens; None if that is not known."""


class ConnectedPeers(Protocol):
    """The connected peers of a torrent; it iterates over a copy."""

    def __iter__(self) -> Iterator[ConnectedPeer]: ...

    @property
    def addresses(self) -> Mapping[Address, ConnectedPeer]:
        """Those that can be connected to, by the address at which they listen."""


class _Relay(NamedTuple):
    """A peer that can arrange a connection with another one, and the flags that it has sent of that one (BEP 11)."""

    holepunch: UtHolepunch
    flags: int


class HolePuncher:
    """Opens uTP connections, with the help of a relay where there is one; a `UtpConnector`.

    Args:
        context: what all torrents of the client share.
        finder: says whether peers may tell each other of peers (BEP 27).
        known: the addresses of peers.
        table: the peers that are connected.
        owner: connects to the peers that ask for it.
    """

    def __init__(
        self, context: ClientContext, finder: Finder, known: KnownPeers, table: ConnectedPeers, owner: HolePuncherOwner
    ) -> None:
        self._context = context
        self._finder = finder
        self._known = known
        self._table = table
        self._owner = owner

    def attach(self, wire: Wire) -> None:
        """Offer the extension on a wire, before its handshake: where what we open comes from the port that we listen
        on, as only that one is known to others."""
        if self._context.listens_for_utp and self._finder.allows_exchange:
            wire.use(lambda wire: UtHolepunch(wire, on_received=self._on_received))

    def _on_received(self, holepunch: UtHolepunch, message: HolepunchMessage) -> None:
        # The wire may have closed meanwhile.
        with suppress(GeventBTError):
            if message.type == codec.RENDEZVOUS:
                self._relay(holepunch, message.address)
            elif message.type == codec.CONNECT:
                self._on_connect(holepunch, message.address)
            elif message.type == codec.ERROR:
                relay, peer = holepunch.wire.remote_address, message.address
                _log.debug("%s:%s arranges no connection with %s:%s: error %d", *relay, *peer, message.error)

    # ------------------------------------------------------------------ the peer that asks

    def connect(self, address: Address, timeout: float) -> UtpTransport:
        """Open a connection; see `UtpConnector`. Relays are asked for one that fails; before that where one says that
        the peer takes part, and does not say that the peer can be reached."""
        utp = self._context.utp
        relays = self._relays(address)
        if not any(relay.flags & (HOLEPUNCH | OUTGOING) == HOLEPUNCH for relay in relays):
            try:
                return utp.connect(address, timeout)
            except OSError:
                if not relays:
                    raise
        for relay in random.sample(relays, min(len(relays), limits.HOLEPUNCH_RELAYS)):
            # It may have left.
            with suppress(GeventBTError):
                relay.holepunch.rendezvous(address)
        return utp.connect(address, timeout)

    def _relays(self, address: Address) -> list[_Relay]:
        """The peers that have said that they are connected to another one."""
        found: list[_Relay] = []
        for peer in self._table:
            pex, holepunch = peer.wire.ext.get("ut_pex"), peer.wire.ext.get("ut_holepunch")
            if isinstance(pex, UtPex) and isinstance(holepunch, UtHolepunch) and holepunch.supported:
                flags = pex.peers.get(address)
                if flags is not None:
                    found.append(_Relay(holepunch, flags))
        return found

    # ------------------------------------------------------------------ both peers

    def _on_connect(self, relay: UtHolepunch, address: Address) -> None:
        """Connect to a peer that does the same, unless it is one that we would not connect to otherwise."""
        if self._find(address) is not None:
            return
        reporter = relay.wire.remote_address[0]
        if self._known.add(address, Source.HOLEPUNCH, self._context.now(), reported_by=reporter):
            self._owner.on_introduced(address)

    # ------------------------------------------------------------------ the relay

    def _relay(self, asking: UtHolepunch, address: Address) -> None:
        """Tell two peers to connect to each other, or the one that asks for it why not.

        Both must be as far away as each other, and of the same address family: no peer is to be led into a network
        behind a router, and no connection comes of anything else.
        """
        asker = next((peer for peer in self._table if peer.wire is asking.wire), None)
        target = self._find(address)
        if address in self._context.own_addresses or (target is not None and target is asker):
            asking.refuse(address, codec.NO_SELF)
            return
        if asker is None or target is None:
            asking.refuse(address, codec.NOT_CONNECTED)
            return
        asked = target.wire.ext.get("ut_holepunch")
        if not isinstance(asked, UtHolepunch) or not asked.supported:
            asking.refuse(address, codec.NO_SUPPORT)
            return
        source, destination = _listens_at(asker), _listens_at(target)
        if source is None or destination is None or _reach(source) != _reach(destination):
            asking.refuse(address, codec.NO_SUCH_PEER)
        elif asked.connect(source):
            asking.connect(destination)

    def _find(self, address: Address) -> ConnectedPeer | None:
        """The connected peer at an address."""
        listening = self._table.addresses.get(address)
        if listening is not None:
            return listening
        over_utp = (peer for peer in self._table if peer.wire.transport == UTP)
        return next((peer for peer in over_utp if peer.remote_address == address), None)


def _listens_at(peer: ConnectedPeer) -> Address | None:
    """Where a peer takes uTP connections, as others see it; None if that is not known."""
    return peer.remote_address if peer.wire.transport == UTP else peer.address


def _reach(address: Address) -> tuple[bool, int]:
    return ":" in address[0], scope_of(address[0])
