"""Which open pieces are kept: they hold memory, so one that is not worked at may have to make room for another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic

from geventbt.client.pieces.availability import PickerPeers
from geventbt.client.pieces.open_piece import K, OpenPiece, PickerPeer
from geventbt.client.pieces.open_pieces import OpenPieces
from geventbt.client.pieces.order import PieceOrder
from geventbt.client.pieces.wanted import Wanted


class Upkeep(Generic[K]):
    """Lets open pieces go.

    Args:
        open_pieces, wanted, order, peers: of the picker.
        on_let_go: see `BlockPicker`.
    """

    def __init__(
        self,
        open_pieces: OpenPieces[K],
        wanted: Wanted,
        order: PieceOrder,
        peers: PickerPeers[K],
        on_let_go: Callable[[int], None] | None,
    ) -> None:
        self._open = open_pieces
        self._wanted = wanted
        self._order = order
        self._peers = peers
        self._on_let_go = on_let_go

    def settle(self, open_piece: OpenPiece[K]) -> None:
        """Put a piece on the right list, and let it go if nothing of it is under way and it is not worth keeping."""
        self._open.relist(open_piece.piece)
        if open_piece.claims or not open_piece.missing:
            return
        is_untouched = open_piece.missing == open_piece.blocks
        if is_untouched or open_piece.owner is not None or not self._wanted.priorities[open_piece.piece]:
            self._let_go(open_piece.piece)

    def withdraw(self, peer: PickerPeer[K], open_piece: OpenPiece[K]) -> None:
        """Give back all that a peer was asked for of one piece."""
        open_piece.give_back_all(peer)
        self.settle(open_piece)

    def make_room(self, peer: PickerPeer[K]) -> bool:
        """Let go of what no peer works at for a free piece that this peer has, if that makes room for it."""
        piece = self._order.first(peer.pieces, peer.shortlist)
        return piece is not None and self.make_room_for(piece)

    def make_room_for(self, piece: int) -> bool:
        """Let go of what no peer works at for a piece, if that makes room for it; what no peer has is kept longest."""
        stalled = [open_piece for open_piece in self._open.values() if open_piece.is_stalled()]
        stalled.sort(key=lambda each: (self._peers.availability(each.piece) > 0, -each.missing))
        for count in range(1, len(stalled) + 1):
            if self._open.has_room(piece, without=stalled[:count]):
                for open_piece in stalled[:count]:
                    self._let_go(open_piece.piece)
                return True
        return False

    def _let_go(self, piece: int) -> None:
        self._open.close(piece)
        self._open.relist(piece)
        if self._on_let_go is not None:
            self._on_let_go(piece)
