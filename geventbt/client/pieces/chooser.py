"""The choice of the piece to request from a peer next: one with a deadline, an open one, or a free one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from typing import Generic

from geventbt import limits
from geventbt.client.pieces.open_piece import K, PickerPeer
from geventbt.client.pieces.open_pieces import OpenPieces
from geventbt.client.pieces.order import PieceOrder
from geventbt.client.pieces.wanted import Deadlines, Wanted


class PieceChooser(Generic[K]):
    """Chooses pieces; the choice changes no state."""

    def __init__(self, open_pieces: OpenPieces[K], wanted: Wanted, deadlines: Deadlines, order: PieceOrder) -> None:
        self._open = open_pieces
        self._wanted = wanted
        self._deadlines = deadlines
        self._order = order

    def choose(self, peer: PickerPeer[K], taken: Set[int], *, joins_first: bool, may_begin: bool) -> int | None:
        """A piece with free blocks that a peer has, or None.

        Args:
            peer: the peer to request from.
            taken: open pieces that are not to be chosen.
            joins_first: whether the peer should join others in their pieces before it begins one.
            may_begin: whether it may begin a piece; it always may begin one with a deadline.
        """
        if self._deadlines:
            piece = self._urgent(peer, taken)
            if piece is not None:
                return piece
        best, best_priority = None, 0
        for find in self._searches(joins_first, may_begin):
            piece = find(peer, taken)
            if piece is not None and self._wanted.priorities[piece] > best_priority:
                best, best_priority = piece, self._wanted.priorities[piece]
                if best_priority == self._wanted.top:
                    break
        return best

    def _searches(
        self, joins_first: bool, may_begin: bool
    ) -> tuple[Callable[[PickerPeer[K], Set[int]], int | None], ...]:
        if not may_begin:
            return self._own, self._joint
        if joins_first:
            return self._own, self._joint, self._free
        return self._own, self._free, self._joint

    def _urgent(self, peer: PickerPeer[K], taken: Set[int]) -> int | None:
        for piece in self._deadlines:
            if not peer.pieces[piece] or piece in taken:
                continue
            open_piece = self._open.partial.get(piece)
            if open_piece is not None:
                if open_piece.may_claim(peer):
                    return piece
            elif self._order.is_free(piece) and self._open.has_room(piece, more=limits.URGENT_PIECES):
                return piece
        return None

    def _own(self, peer: PickerPeer[K], taken: Set[int]) -> int | None:
        return self._partial(peer, (self._open.partial.keys() & peer.working.keys()) - taken)

    def _joint(self, peer: PickerPeer[K], taken: Set[int]) -> int | None:
        return self._partial(peer, self._open.partial.keys() - taken)

    def _partial(self, peer: PickerPeer[K], pieces: Iterable[int]) -> int | None:
        """Of some partial pieces, the one with the highest priority and, among equals, the fewest free blocks."""
        best, best_key = None, (0, 0)
        for piece in pieces:
            open_piece = self._open.partial[piece]
            if peer.pieces[piece] and open_piece.may_claim(peer):
                key = (self._wanted.priorities[piece], -open_piece.free_count)
                if best is None or key > best_key:
                    best, best_key = piece, key
        return best

    def _free(self, peer: PickerPeer[K], taken: Set[int]) -> int | None:
        piece = self._order.first(peer.pieces, peer.shortlist)
        if piece is None or not self._open.has_room(piece):
            return None
        return piece
