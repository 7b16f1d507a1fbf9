"""Peer exchange of one torrent: the peers tell us of others, and we tell them (BEP 11)."""

from __future__ import annotations

import random

from geventbt import limits
from geventbt.client.peers.finder import Finder
from geventbt.client.peers.known_peers import Source
from geventbt.client.swarm.peer_table import PeerTable
from geventbt.extensions.ut_pex import UtPex
from geventbt.net.addresses import Address
from geventbt.protocol.ut_pex import HOLEPUNCH, OUTGOING, SEED, UTP
from geventbt.wire.wire import Wire


def take_peers(wire: Wire, finder: Finder) -> None:
    """Offer the exchange on a wire, before its handshake, and take the peers that it brings, unless the finder forbids
    it (BEP 27)."""

    def on_peers(pex: UtPex, added: dict[Address, int], dropped: list[Address]) -> None:
        seeds = {address for address, flags in added.items() if flags & SEED}
        finder.add(added, Source.PEX, pex.wire.remote_address[0], seeds=seeds)

    if finder.allows_exchange:
        wire.use(lambda wire: UtPex(wire, on_peers=on_peers))


class PeerExchange:
    """Tells the peers of a torrent of each other, unless the finder forbids it (BEP 27).

    Args:
        finder: says where the peers were found.
        table: the peers that are connected.
    """

    def __init__(self, finder: Finder, table: PeerTable) -> None:
        self._finder = finder
        self._table = table
        self._tick_at = 0.0

    def tick(self, now: float) -> None:
        """Tell each peer of the others that can be connected to, a few times a minute."""
        if now >= self._tick_at and self._finder.allows_exchange:
            self._tick_at = now + limits.PEX_INTERVAL / 4
            self._send()

    def _send(self) -> None:
        addresses = list(self._table.addresses)
        chosen = random.sample(addresses, min(len(addresses), limits.PEX_KNOWN))
        known = {address: self._flags_of(address) for address in chosen}
        for peer in self._table:
            pex = peer.wire.ext.get("ut_pex")
            if isinstance(pex, UtPex) and pex.supported:
                pex.update({address: flags for address, flags in known.items() if address != peer.address})

    def _flags_of(self, address: Address) -> int:
        """What is told of a peer beside its address."""
        peer = self._table.addresses[address]
        punches = "ut_holepunch" in peer.wire.peer_extended_mapping
        # Behind a router, one that was reached with the help of a third is not to be reached without.
        is_reachable = peer.wire.type == "outgoing" and "holepunch" not in self._finder.sources_of(address)
        flags = (
            (SEED, peer.has_all),
            (UTP, punches or peer.wire.transport == "utp"),
            (HOLEPUNCH, punches),
            (OUTGOING, is_reachable),
        )
        return sum(flag for flag, is_so in flags if is_so)
