"""The pieces that readers wait for, block by block, and who was asked for them; a part of the picker. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Generic

from geventbt import limits
from geventbt.client.pieces.availability import PickerPeers
from geventbt.client.pieces.delivery import Delivery
from geventbt.client.pieces.open_piece import K, Run
from geventbt.client.pieces.open_pieces import OpenPieces
from geventbt.client.pieces.order import PieceOrder
from geventbt.client.pieces.wanted import Deadlines


class UrgentPieces(Generic[K]):
    """The pieces with a deadline, for those that ask for their blocks out of turn."""

    def __init__(
        self, open_pieces: OpenPieces[K], deadlines: Deadlines, order: PieceOrder, peers: PickerPeers[K]
    ) -> None:
        self._open = open_pieces
        self._deadlines = deadlines
        self._order = order
        self._peers = peers

    def __bool__(self) -> bool:
        return bool(self._deadlines)

    def __contains__(self, piece: object) -> bool:
        return piece in self._deadlines

    def due(self, until: float) -> dict[int, float]:
        """The first pieces that are due by a time and of which blocks are missing, with their deadlines.

        At most `limits.URGENT_PIECES` of them: those behind them are due later.
        """
        due = ((piece, deadline) for piece, deadline in self._deadlines.until(until) if self._is_missing(piece))
        return dict(islice(due, limits.URGENT_PIECES))

    def missing(self, piece: int) -> dict[int, tuple[K, ...]]:
        """The blocks of a piece that have not come, with those that were asked for each; without those that no other
        peer may be asked for."""
        open_piece = self._open.get(piece)
        if open_piece is None:
            return dict.fromkeys(range(self._open.blocks_of(piece)), ())
        if open_piece.owner is not None:
            return {}
        asked: dict[int, tuple[K, ...]] = dict.fromkeys(open_piece.free.search(1), ())
        for block, claimants in open_piece.claims.items():
            if not claimants[0].streams:
                asked[block] = tuple(claimant.key for claimant in claimants)
        return asked

    def too_late(self, delivery: Delivery | None) -> set[int]:
        """The pieces of which a peer would deliver the first block behind their deadline."""
        if delivery is None or delivery.first <= delivery.grace:
            return set()
        return {piece for piece, _ in self._deadlines.until(delivery.first)}

    def in_time(self, piece: int, delivery: Delivery | None) -> int:
        """How many blocks of a piece a peer may be asked for: at least one, and no more than come before a deadline."""
        deadline = self._deadlines.of(piece)
        if delivery is None or deadline is None:
            return self._open.blocks_of(piece)
        return max(1, delivery.by(deadline))

    def claim(self, peer: K, piece: int, blocks: Sequence[int]) -> list[Run]:
        """Ask a peer for blocks that are missing, also for those that others were asked for before."""
        state = self._peers[peer]
        if piece not in self._open:
            self._open.begin(piece, state)
        runs = self._open[piece].claim_blocks(state, blocks)
        self._open.relist(piece)
        return runs

    def _is_missing(self, piece: int) -> bool:
        open_piece = self._open.get(piece)
        if open_piece is not None:
            return open_piece.missing > 0
        is_free = self._order.is_free(piece) and not self._open.is_exclusive(piece)
        return is_free and self._open.has_room(piece, more=limits.URGENT_PIECES)
