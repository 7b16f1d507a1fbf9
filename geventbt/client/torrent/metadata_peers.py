"""The connected peers of a search for metadata: which may give it, and which have none and only know others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

from geventbt import limits
from geventbt.net.addresses import Address
from geventbt.wire.wire import Wire

Kind: TypeAlias = Literal["outgoing", "incoming"]
"""Who has opened a connection: see `Wire.type`. Each has places of its own."""


class MetadataPeer:
    """A peer that metadata is awaited from.

    Args:
        wire: the connection.
        now: the time.
        address: what was connected to; None if it has connected to us.

    Attributes:
        wire: see above.
        has_none: whether it has no metadata, and stays for what it may know of others.
    """

    def __init__(self, wire: Wire, now: float, address: Address | None = None) -> None:
        self.wire = wire
        self.has_none = False
        self._address = address
        self._received = 0
        self._since = now

    @property
    def remote_address(self) -> Address:
        """The other end of the connection."""
        return self.wire.remote_address

    @property
    def address(self) -> Address | None:
        """Where it listens; None if that is not known."""
        port = self.wire.peer_extended_handshake.get("p")
        return (self.remote_address[0], port) if self._address is None and port else self._address

    def is_active(self, now: float) -> bool:
        """Whether it gives metadata, or may be about to: a silent one must not hold the place of a good one."""
        received = self.wire.ut_metadata.received if "ut_metadata" in self.wire.ext else 0
        if received != self._received:
            self._received, self._since = received, now
        return not self.has_none and now - self._since < limits.METADATA_SILENCE


class MetadataPeers:
    """The peers that are connected. It iterates over a copy, so peers may leave meanwhile."""

    def __init__(self) -> None:
        self._peers: dict[Wire, MetadataPeer] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[MetadataPeer]:
        return iter(list(self._peers.values()))

    @property
    def addresses(self) -> dict[Address, MetadataPeer]:
        """Those that can be connected to, by the address at which they listen."""
        return {peer.address: peer for peer in self if peer.address is not None}

    def of(self, kind: Kind) -> list[MetadataPeer]:
        """Those of one kind, the longest connected first."""
        return [peer for peer in self if peer.wire.type == kind]

    def add(self, peer: MetadataPeer) -> None:
        """Add a peer."""
        self._peers[peer.wire] = peer

    def remove(self, peer: MetadataPeer) -> None:
        """Remove a peer that has left, if it is there."""
        self._peers.pop(peer.wire, None)

    def leave_useless(self, kind: Kind) -> None:
        """Leave the first peer that has no metadata: another one is to have its place."""
        for peer in self.of(kind):
            if peer.has_none:
                self.remove(peer)
                peer.wire.close(0)
                return
