"""Which piece to fetch next from which peer. Pure: no peers, no sockets, only pieces and whoever claims them."""

from __future__ import annotations

from collections.abc import Hashable

from bitarray import bitarray

MOST_CLAIMS = 3
"""How many may fetch the same piece in the endgame."""


class PiecePicker:
    """Hands each missing piece to one claimant at a time and, when all are handed out, the late ones to a second or
    third (endgame).

    Args:
        have: the pieces that are there already.
    """

    def __init__(self, have: bitarray) -> None:
        self._free = ~have
        self._claims: dict[int, set[Hashable]] = {}
        self._missing = self._free.count()

    @property
    def missing(self) -> int:
        """How many pieces are not complete."""
        return self._missing

    def claim(self, peer_pieces: bitarray, claimant: Hashable, near: int = 0) -> int | None:
        """Claim a piece that the peer has, or None if there is none for it now.

        Args:
            peer_pieces: what the peer has.
            claimant: who is going to fetch it.
            near: the piece from which on to look: neighbours make for few, long writes.
        """
        candidates = self._free & peer_pieces
        piece = candidates.find(1, near)
        if piece < 0:
            piece = candidates.find(1)
        if piece >= 0:
            self._free[piece] = False
            self._claims[piece] = {claimant}
            return piece
        return self._claim_late(peer_pieces, claimant)

    def _claim_late(self, peer_pieces: bitarray, claimant: Hashable) -> int | None:
        """Join whoever has been at a piece alone, or nearly so, for longest."""
        if self._free.any():
            # Other peers still have pieces to start: no endgame yet.
            return None
        late = [
            piece
            for piece, claimants in self._claims.items()
            if peer_pieces[piece] and claimant not in claimants and len(claimants) < MOST_CLAIMS
        ]
        if not late:
            return None
        piece = min(late, key=lambda piece: len(self._claims[piece]))
        self._claims[piece].add(claimant)
        return piece

    def release(self, piece: int, claimant: Hashable) -> None:
        """Give a piece back that could not be fetched."""
        claimants = self._claims.get(piece)
        if claimants is None or claimant not in claimants:
            return
        claimants.remove(claimant)
        if not claimants:
            del self._claims[piece]
            self._free[piece] = True

    def complete(self, piece: int) -> set[Hashable]:
        """Note that a piece is there. Returns everyone who had claimed it, or nobody if it was complete before."""
        claimants = self._claims.pop(piece, None)
        if claimants is None:
            return set()
        self._missing -= 1
        return claimants
