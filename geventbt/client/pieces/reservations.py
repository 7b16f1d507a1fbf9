"""Long runs of consecutive blocks that are reserved for one source, such as a web seed (BEP 19).

A web seed sends one long answer from its first byte to its last, so what it is asked for must be consecutive. It takes
from the front of the largest gap of missing pieces, while peers fill gaps from their end. The pieces of a reservation
are not begun, and hold no memory, before the answer has come to them. Until then its end moves back wherever another
source needs them: a peer that has nothing else to do takes the last one, and a reader's piece is released at once.

Blocks are received straight into their place, so while a window of them is being received no other source may be asked
for them; see `PickerPeer.streams`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic

from geventbt import limits
from geventbt.client.pieces.open_piece import K, OpenPiece, PickerPeer, Run
from geventbt.client.pieces.picker_state import PickerState
from geventbt.geometry import Geometry


class Reservation(Generic[K]):
    """A run of blocks for one source: the rest of an open piece, then whole pieces that are not begun.

    Attributes:
        owner: the source.
        piece: the open piece that is being received, or -1 before the first.
        first, block, last: its blocks from `first` up to `block` are being received, those up to `last` are next.
        next, end: the pieces that come after it, not begun: from `next` up to `end`.
        is_urgent: whether it is for a reader.
    """

    __slots__ = ("block", "end", "first", "is_urgent", "last", "next", "owner", "piece")

    def __init__(self, owner: PickerPeer[K], pieces: range, *, is_urgent: bool = False) -> None:
        self.owner = owner
        self.piece = -1
        self.first = self.block = self.last = 0
        self.next, self.end = pieces.start, pieces.stop
        self.is_urgent = is_urgent

    @property
    def is_over(self) -> bool:
        """Whether nothing follows the blocks that are being received."""
        return self.begins_piece and self.next >= self.end

    @property
    def begins_piece(self) -> bool:
        """Whether all blocks of the open piece are taken, so that the next ones are those of another piece."""
        return self.block >= self.last

    def take(self, run: Run) -> None:
        """Receive the blocks of an open piece next."""
        self.piece, self.first, self.block, self.last = run.piece, run.first, run.first, run.first + run.blocks

    def received(self) -> None:
        """Note that all blocks that were taken have come."""
        self.first = self.block

    def position(self, geometry: Geometry) -> int:
        """Where in the torrent's stream what is to be received next begins."""
        if self.block < self.last:
            return geometry.start_of(self.piece) + self.block * limits.BLOCK
        return geometry.start_of(self.next)

    def bytes_left(self, geometry: Geometry) -> int:
        """The bytes behind those that are being received."""
        left = 0
        if self.block < self.last:
            left = min(self.last * limits.BLOCK, geometry.piece_size(self.piece)) - self.block * limits.BLOCK
        if self.next < self.end:
            left += min(geometry.start_of(self.end), geometry.length) - geometry.start_of(self.next)
        return left


class Reservations(Generic[K]):
    """All reservations of a torrent; sources are known by the keys of the picker.

    Args:
        state: of the picker.
    """

    def __init__(self, state: PickerState[K]) -> None:
        self._state = state
        self._all: list[Reservation[K]] = []

    def __bool__(self) -> bool:
        return bool(self._all)

    @property
    def has_unbegun(self) -> bool:
        """Whether any piece is reserved that is not begun."""
        return any(each.next < each.end for each in self._all)

    # ------------------------------------------------------------------ choosing

    def reserve(self, source: K, blocks: int, *, urgent_blocks: int, at: int = -1) -> Reservation[K] | None:
        """Reserve a long run for a source that streams.

        What a reader waits for comes first, then the piece `at`, what is left of open pieces that are not worked at,
        the front of the largest gap, what is left of other open pieces, and the tail of another reservation.

        Args:
            source: its key.
            blocks: how many blocks at the most, but at least a piece.
            urgent_blocks: likewise of what a reader waits for.
            at: the piece to begin with, if it is free and no reader waits; -1 for any.

        Returns:
            None if there is nothing but what others were asked for, see `BlockPicker.pick`. Else it is to be released
            in the end.

        Raises:
            KeyError: if there is no such source.
        """
        owner = self._state.peers[source]
        reservation = (
            self._reserve_urgent(owner, urgent_blocks)
            or self._reserve_at(owner, blocks, at)
            or self._reserve_free(owner, blocks)
            or self._reserve_rest(owner, blocks, self._state.open.partial)
            or self._take_over(owner, blocks)
        )
        if reservation is not None:
            self._all.append(reservation)
        return reservation

    def is_urgent(self, source: K) -> bool:
        """Whether a reader waits for something that a source could deliver, and none was asked for.

        Raises:
            KeyError: if there is no such source.
        """
        return self._urgent_piece(self._state.peers[source]) is not None

    def has_free(self, source: K) -> bool:
        """Whether a source has pieces that are neither begun nor reserved.

        Raises:
            KeyError: if there is no such source.
        """
        return bool(self._state.order.gap(self._state.peers[source].pieces))

    def _urgent_piece(self, owner: PickerPeer[K]) -> int | None:
        """The first piece that a reader waits for and that a source could deliver now, or None."""
        for piece in self._state.deadlines:
            if owner.pieces[piece]:
                open_piece = self._state.open.partial.get(piece)
                if open_piece.may_claim(owner) if open_piece is not None else self._state.order.is_free(piece):
                    return piece
        return None

    def _reserve_urgent(self, owner: PickerPeer[K], blocks: int) -> Reservation[K] | None:
        first = self._urgent_piece(owner) if self._state.deadlines else None
        if first is None:
            return None
        if first in self._state.open:
            return self._rest_of(owner, self._state.open[first], blocks, is_urgent=True)
        urgent = {piece for piece in self._state.deadlines if owner.pieces[piece] and self._state.order.is_free(piece)}
        end = first + 1
        while end in urgent and end - first < self._pieces_in(blocks):
            end += 1
        return self._reserve_pieces(owner, range(first, end), is_urgent=True)

    def _reserve_at(self, owner: PickerPeer[K], blocks: int, at: int) -> Reservation[K] | None:
        end = at
        while (
            0 <= at <= end < min(self._state.geometry.pieces, at + self._pieces_in(blocks))
            and self._state.order.is_free(end)
            and owner.pieces[end]
        ):
            end += 1
        return self._reserve_pieces(owner, range(at, end)) if at < end else None

    def _reserve_free(self, owner: PickerPeer[K], blocks: int) -> Reservation[K] | None:
        gap = self._state.order.gap(owner.pieces)[: self._pieces_in(blocks)]
        priority = self._state.wanted.priorities[gap.start] if gap else 0
        stalled = (
            piece
            for piece, open_piece in self._state.open.partial.items()
            if open_piece.is_stalled() and self._state.wanted.priorities[piece] >= priority
        )
        rest = self._reserve_rest(owner, blocks, stalled)
        return rest if rest is not None or not gap else self._reserve_pieces(owner, gap)

    def _reserve_rest(self, owner: PickerPeer[K], blocks: int, pieces: Iterable[int]) -> Reservation[K] | None:
        """What is free of the open piece with the highest priority and the most free blocks."""
        open_pieces = (self._state.open[piece] for piece in pieces if owner.pieces[piece])
        best = max(
            (open_piece for open_piece in open_pieces if open_piece.may_claim(owner)),
            key=lambda open_piece: (self._state.wanted.priorities[open_piece.piece], open_piece.free_count),
            default=None,
        )
        return None if best is None else self._rest_of(owner, best, blocks)

    def _rest_of(
        self, owner: PickerPeer[K], open_piece: OpenPiece[K], blocks: int, *, is_urgent: bool = False
    ) -> Reservation[K]:
        reservation = Reservation(owner, range(0), is_urgent=is_urgent)
        reservation.take(open_piece.claim_run(owner, blocks))
        self._state.open.relist(open_piece.piece)
        return reservation

    def _reserve_pieces(self, owner: PickerPeer[K], pieces: range, *, is_urgent: bool = False) -> Reservation[K]:
        for piece in pieces:
            self._state.order.take(piece)
        return Reservation(owner, pieces, is_urgent=is_urgent)

    def _take_over(self, owner: PickerPeer[K], blocks: int) -> Reservation[K] | None:
        """Take the second half of the longest reservation, if the source has all of it. It may be its own: one of its
        connections may be slow."""
        others = [each for each in self._all if not each.is_urgent]
        longest = max(others, key=lambda each: each.end - each.next, default=None)
        count = min(-(-(longest.end - longest.next) // 2), self._pieces_in(blocks)) if longest is not None else 0
        if longest is None or count <= 0:
            return None
        pieces = range(longest.end - count, longest.end)
        if not all(owner.pieces[piece] for piece in pieces):
            return None
        longest.end = pieces.start
        return Reservation(owner, pieces)

    def _pieces_in(self, blocks: int) -> int:
        return max(1, self._state.geometry.pieces_in(blocks * limits.BLOCK))

    # ------------------------------------------------------------------ receiving

    def can_advance(self, reservation: Reservation[K]) -> bool:
        """Whether `advance` may be called: there is room for the next piece, if a piece has to be begun."""
        if not reservation.begins_piece or reservation.is_over:
            return True
        more = limits.URGENT_PIECES if reservation.is_urgent else 0
        return self._state.open.has_room(reservation.next, more=more) or self._state.upkeep.make_room_for(
            reservation.next
        )

    def advance(self, reservation: Reservation[K], blocks: int) -> Run | None:
        """Take the next blocks of a reservation, at most `blocks`, all of one piece: they are received from now on.

        Those that were taken before must have been received. None at the end of the reservation.
        """
        owner = reservation.owner
        if reservation.block >= reservation.last:
            if reservation.next >= reservation.end:
                return None
            piece = reservation.next
            reservation.next += 1
            self._state.open.begin(piece, owner)
            reservation.take(self._state.open[piece].claim_run(owner, self._state.geometry.blocks_per_piece))
            self._state.open.relist(piece)
        first = reservation.first = reservation.block
        reservation.block = min(first + blocks, reservation.last)
        return Run(reservation.piece, first, reservation.block - first)

    def release(self, reservation: Reservation[K]) -> None:
        """End a reservation, and give back what has not come. Without effect if it is released already."""
        if reservation in self._all:
            self._all.remove(reservation)
        self._cut(reservation, reservation.next)
        first, last = reservation.first, reservation.last
        reservation.first = reservation.block = reservation.last
        if first < last and reservation.piece in reservation.owner.working:
            open_piece = self._state.open[reservation.piece]
            for block in range(first, last):
                open_piece.give_back(reservation.owner, block)
            self._state.upkeep.settle(open_piece)

    def of(self, owner: PickerPeer[K]) -> list[Reservation[K]]:
        """The reservations of a source."""
        return [each for each in self._all if each.owner is owner]

    # ------------------------------------------------------------------ cutting

    def _cut(self, reservation: Reservation[K], end: int) -> None:
        """Move the end of a reservation back: the pieces from there on are free again."""
        pieces = range(end, reservation.end)
        reservation.end = end
        for piece in pieces:
            self._state.open.relist(piece)

    def cut_before(self, piece: int, *, spares_urgent: bool = False) -> None:
        """End the reservation of a piece that is not begun, if it is reserved, before that piece.

        Args:
            piece: its index.
            spares_urgent: whether a reservation for a reader stays as it is.
        """
        for each in self._all:
            if each.next <= piece < each.end and not (spares_urgent and each.is_urgent):
                self._cut(each, piece)

    def lost(self, owner: PickerPeer[K], piece: int) -> None:
        """A source has lost a piece: end its reservation of it, if it is not begun."""
        if any(each.next <= piece < each.end for each in self.of(owner)):
            self.cut_before(piece)

    def stop(self, piece: int) -> None:
        """A piece is not to be fetched any more: end its reservation, behind what is being received of it already."""
        self.cut_before(piece)
        for each in self._all:
            if each.piece == piece and each.first < each.last:
                each.last = each.block
                self._cut(each, each.next)

    def cut_all(self) -> None:
        """End all reservations at the pieces that are being received."""
        for each in self._all:
            self._cut(each, each.next)

    def steal(self, thief: PickerPeer[K]) -> bool:
        """Free something at the end of a reservation for another source that has nothing else to do.

        That is the last of its pieces that is not begun; where there is none, the second half of what is left of the
        piece that is being received.

        Returns:
            Whether there is something now.
        """
        others = [each for each in self._all if each.owner is not thief]
        for each in sorted(others, key=lambda each: each.next - each.end):
            piece = thief.pieces.find(1, each.next, each.end, right=True) if each.next < each.end else -1
            if piece >= 0 and self._state.open.has_room(piece):
                self._cut(each, piece)
                return True
        return any(self._steal_blocks(each, thief) for each in others)

    def _steal_blocks(self, reservation: Reservation[K], thief: PickerPeer[K]) -> bool:
        middle = (reservation.block + reservation.last + 1) // 2
        open_piece = self._state.open.get(reservation.piece)
        if middle >= reservation.last or open_piece is None or not thief.pieces[reservation.piece]:
            return False
        if not open_piece.may_claim(thief) or not self._state.wanted.priorities[reservation.piece]:
            return False
        for block in range(middle, reservation.last):
            open_piece.give_back(reservation.owner, block)
        reservation.last = middle
        self._state.open.relist(reservation.piece)
        return True
