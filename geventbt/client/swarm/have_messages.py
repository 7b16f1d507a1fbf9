"""Telling the peers of a torrent which pieces we have, and no longer have."""

from __future__ import annotations

from geventbt.client.pieces.picker import BlockPicker
from geventbt.client.swarm.peer_table import PeerTable
from geventbt.client.swarm.source import BlockSource


class HaveMessages:
    """Announces single pieces to all peers; each is told of the others when it comes.

    Args:
        picker: takes note of pieces that are found and lost.
        table: the peers that are connected.
    """

    __slots__ = ("_picker", "_table")

    def __init__(self, picker: BlockPicker[BlockSource], table: PeerTable) -> None:
        self._picker = picker
        self._table = table

    def announce_verified(self, piece: int) -> None:
        """A piece that was fetched is on disk."""
        for peer in self._table:
            wire = peer.wire
            if wire.closed:
                continue
            # Also to those that have it: how rare a piece is decides what they do with it.
            wire.have(piece)
            if wire.am_interested:
                peer.update_interest()

    def announce_found(self, piece: int) -> None:
        """A piece is on disk without having been fetched."""
        self._picker.verified(piece)
        for peer in self._table:
            if not peer.closed and not peer.has(piece):
                peer.wire.have(piece)

    def announce_lost(self, piece: int) -> None:
        """A piece is gone (BEP 54)."""
        self._picker.lost(piece)
        for peer in self._table:
            peer.announce_lost(piece)
