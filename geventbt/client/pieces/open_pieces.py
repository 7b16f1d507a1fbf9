"""The open pieces: those that were begun and are not verified. They are held in memory, so there is a bound on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

from geventbt import limits
from geventbt.client.pieces.open_piece import K, OpenPiece, PickerPeer, Run
from geventbt.client.pieces.order import PieceOrder
from geventbt.client.pieces.wanted import Wanted
from geventbt.geometry import Geometry


class OpenPieces(dict[int, OpenPiece[K]], Generic[K]):
    """All open pieces by their index, in the order in which they were begun.

    Args:
        geometry: the lengths of the pieces.
        wanted: the missing pieces.
        order: the free pieces.
        max_bytes: the total length that open pieces may have; a single one may always be open.
    """

    def __init__(self, geometry: Geometry, wanted: Wanted, order: PieceOrder, max_bytes: int) -> None:
        super().__init__()
        self._geometry = geometry
        self._wanted = wanted
        self._order = order
        self._max_bytes = max_bytes
        self._exclusive: set[int] = set()
        self.partial: dict[int, OpenPiece[K]] = {}
        """The open pieces that are wanted and have free blocks."""
        self.bytes = 0
        """The total length of all open pieces."""

    def has_room(self, piece: int, *, more: int = 0, without: Sequence[OpenPiece[K]] = ()) -> bool:
        """Whether a piece may be begun.

        Args:
            piece: its index.
            more: the number of pieces that may be open beyond `max_bytes`.
            without: open pieces that do not count.
        """
        if len(self) == len(without):
            return True
        size = self._geometry.piece_size(piece) - sum(open_piece.size for open_piece in without)
        return self.has_room_for(size - self._geometry.bytes_of_full(more))

    def has_room_for(self, size: int) -> bool:
        """Whether pieces of `size` more bytes may be open."""
        return not self or self.bytes + size <= self._max_bytes

    def blocks_of(self, piece: int) -> int:
        """The number of blocks of a piece."""
        return -(-self._geometry.piece_size(piece) // limits.BLOCK)

    def begin(self, piece: int, peer: PickerPeer[K]) -> None:
        """Open a free piece: for this peer only if it is to come from a single one, otherwise for all."""
        size = self._geometry.piece_size(piece)
        owner = peer if piece in self._exclusive else None
        self[piece] = self.partial[piece] = OpenPiece(piece, size, self.blocks_of(piece), owner)
        self.bytes += size
        self._order.take(piece)

    def close(self, piece: int) -> None:
        """Close a piece, if it is open. Call `relist` afterwards."""
        open_piece = self.pop(piece, None)
        if open_piece is not None:
            self.partial.pop(piece, None)
            self.bytes -= open_piece.size
            open_piece.close()

    def is_exclusive(self, piece: int) -> bool:
        """Whether all blocks of a piece are to come from a single peer, when it is next begun."""
        return piece in self._exclusive

    def set_exclusive(self, piece: int, exclusive: bool) -> None:
        """Set whether all blocks of a piece are to come from a single peer when it is next begun."""
        (self._exclusive.add if exclusive else self._exclusive.discard)(piece)

    def join(self, peer: PickerPeer[K], blocks: int) -> list[Run]:
        """Claim what others were asked for, the blocks that the fewest and the longest ago first (endgame)."""
        runs: list[Run] = []
        for claimants in range(1, limits.ENDGAME_CLAIMANTS):
            for open_piece in self.values():
                if blocks <= 0:
                    return runs
                if self._may_share(open_piece, peer):
                    joined = open_piece.join(peer, claimants, blocks)
                    blocks -= sum(run.blocks for run in joined)
                    runs += joined
        return runs

    def shared_by(self, peer: PickerPeer[K], piece: int, block: int) -> tuple[K, ...]:
        """The keys of the claimants of a block, if another peer may be asked for it as well; none otherwise."""
        open_piece = self.get(piece)
        if open_piece is None or not self._may_share(open_piece, peer):
            return ()
        claimants = open_piece.claims.get(block, ())
        if peer in claimants or (claimants and claimants[0].streams):
            return ()
        return tuple(claimant.key for claimant in claimants)

    def _may_share(self, open_piece: OpenPiece[K], peer: PickerPeer[K]) -> bool:
        """Whether blocks of a piece may be requested from a peer although others were asked for them."""
        return bool(
            peer.pieces[open_piece.piece] and open_piece.owner is None and self._wanted.priorities[open_piece.piece]
        )

    def receive_late(self, peer: PickerPeer[K], piece: int, block: int) -> tuple[K, ...] | None:
        """Note a block of a missing piece that its sender was asked for once: behind a choke, a cancel, a timeout.

        Returns:
            The keys of the other peers that are asked for it now, to cancel; None if it is of no use: the block is here
            already, there is no room for its piece, or that is to come from another source alone.
        """
        open_piece = self.get(piece)
        if open_piece is None:
            if not self._order.is_free(piece) or self.is_exclusive(piece) or not self.has_room(piece):
                return None
            self.begin(piece, peer)
            open_piece = self[piece]
        others = open_piece.receive_late(peer, block)
        self.relist(piece)
        return others

    def relist(self, piece: int) -> None:
        """List a piece by its present state: among the free ones, among the partial ones, or in neither."""
        open_piece = self.get(piece)
        if open_piece is None:
            (self._order.put_back if self._wanted.missing_pieces[piece] else self._order.take)(piece)
        elif open_piece.free_count and self._wanted.priorities[piece]:
            self.partial[piece] = open_piece
        else:
            self.partial.pop(piece, None)
