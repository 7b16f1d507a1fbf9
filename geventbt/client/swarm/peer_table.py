"""The connected peers of one torrent, by identity and by address, and what they have transferred."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from geventbt.client.swarm.wire_peer import WirePeer
from geventbt.net.addresses import Address
from geventbt.wire.wire import Wire

Identity: TypeAlias = tuple[bytes | None, str]
"""Peer id and host. An id alone says nothing: anyone who knows a peer can use its id, and would, from anywhere, take
its place."""


class PeerTable:
    """The peers that are connected. It iterates over a copy, so peers may leave meanwhile.

    Attributes:
        peers: all of them.
    """

    def __init__(self) -> None:
        self.peers: set[WirePeer] = set()
        self._by_identity: dict[Identity, WirePeer] = {}
        self._by_address: dict[Address, WirePeer] = {}
        self._past_downloaded = self._past_uploaded = self._past_wasted = 0

    def __len__(self) -> int:
        return len(self.peers)

    def __iter__(self) -> Iterator[WirePeer]:
        return iter(list(self.peers))

    def __contains__(self, peer: object) -> bool:
        return peer in self.peers

    @property
    def inbound(self) -> int:
        """The number of those that have connected to us."""
        return sum(peer.wire.type == "incoming" for peer in self.peers)

    @property
    def addresses(self) -> dict[Address, WirePeer]:
        """The peers that can be connected to, by the address at which they listen."""
        return self._by_address

    def twin(self, wire: Wire) -> WirePeer | None:
        """The same peer on another connection, if there is one."""
        return self._by_identity.get(_identity(wire))

    def add(self, peer: WirePeer) -> None:
        """Add a peer; a twin gives its identity up."""
        self.peers.add(peer)
        self._by_identity[_identity(peer.wire)] = peer
        if peer.address is not None:
            self._by_address[peer.address] = peer

    def set_address(self, peer: WirePeer, address: Address) -> None:
        """Note where a peer listens."""
        peer.address = address
        self._by_address[address] = peer

    def remove(self, peer: WirePeer) -> None:
        """Remove a peer that has left; what it transferred still counts."""
        self.peers.discard(peer)
        if self._by_identity.get(_identity(peer.wire)) is peer:
            del self._by_identity[_identity(peer.wire)]
        if peer.address is not None and self._by_address.get(peer.address) is peer:
            del self._by_address[peer.address]
        self._past_downloaded += peer.wire.downloaded
        self._past_uploaded += peer.wire.uploaded
        self._past_wasted += peer.wire.wasted

    @property
    def downloaded(self) -> int:
        """Bytes of blocks received, in all."""
        return self._past_downloaded + sum(peer.wire.downloaded for peer in self.peers)

    @property
    def uploaded(self) -> int:
        """Bytes of blocks sent, in all."""
        return self._past_uploaded + sum(peer.wire.uploaded for peer in self.peers)

    @property
    def wasted(self) -> int:
        """Bytes of received blocks that were not requested, in all."""
        return self._past_wasted + sum(peer.wire.wasted for peer in self.peers)


def _identity(wire: Wire) -> Identity:
    return wire.peer_id, wire.remote_address[0]
