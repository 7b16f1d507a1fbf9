"""Priorities, missing pieces and deadlines: the pieces that the picker is to fetch."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import takewhile

from bitarray import bitarray
from bitarray.util import count_and

from geventbt.client.pieces.order import HIGHEST, NORMAL, pieces_by_priority


class Wanted:
    """The priority of every piece, the pieces that we have, and those that are missing: wanted, and not there.

    Args:
        have: the pieces that we have.
        wanted: the wanted pieces, with normal priority; None for all.
    """

    def __init__(self, have: bitarray, wanted: bitarray | None) -> None:
        self.have = bitarray(have, "big")
        self.priorities = bytearray([NORMAL]) * len(have)
        """The priority of each piece: 0 not wanted, 1 to 7."""
        if wanted is not None:
            self.priorities = bytearray(bitarray(wanted, "big").unpack(one=bytes([NORMAL])))
        self.version = 0
        """Incremented when a piece becomes missing that was not."""
        self._count()

    def _count(self) -> None:
        levels = pieces_by_priority(self.priorities)
        self.missing_pieces = ~self.have
        if 0 in levels:
            self.missing_pieces &= ~levels.pop(0)
        self.missing = self.missing_pieces.count()
        self._levels = [0] * (HIGHEST + 1)
        for priority, pieces in levels.items():
            self._levels[priority] = count_and(pieces, self.missing_pieces)
        self._find_top()

    def _find_top(self) -> None:
        self.top = max((priority for priority in range(HIGHEST + 1) if self._levels[priority]), default=0)
        """The highest priority of any missing piece; 0 when none is missing."""

    def set_priorities(self, priorities: bytes) -> None:
        """Set the priority of every piece."""
        self.priorities[:] = priorities
        self._count()
        self.version += 1

    def set_priority(self, piece: int, priority: int) -> None:
        """Set the priority of one piece."""
        self._change(piece, priority, bool(self.have[piece]))

    def set_have(self, piece: int, have: bool) -> None:
        """Set whether we have a piece."""
        self._change(piece, self.priorities[piece], have)

    def _change(self, piece: int, priority: int, have: bool) -> None:
        if self.missing_pieces[piece]:
            self.missing -= 1
            self._levels[self.priorities[piece]] -= 1
        self.priorities[piece] = priority
        self.have[piece] = have
        is_missing = priority > 0 and not have
        self.missing_pieces[piece] = is_missing
        if is_missing:
            self.missing += 1
            self._levels[priority] += 1
            self.version += 1
        self._find_top()


class Deadlines:
    """The pieces that readers wait for, the earliest deadline first. Few: those in the read-ahead of each reader."""

    def __init__(self) -> None:
        self._order: list[tuple[float, int]] = []
        self._deadlines: dict[int, float] = {}

    def __bool__(self) -> bool:
        return bool(self._order)

    def set(self, piece: int, deadline: float | None) -> None:
        """Set the deadline of a piece, or remove it with None."""
        before = self._deadlines.pop(piece, None)
        if before is not None:
            del self._order[bisect_left(self._order, (before, piece))]
        if deadline is not None:
            self._deadlines[piece] = deadline
            insort(self._order, (deadline, piece))

    def __contains__(self, piece: object) -> bool:
        return piece in self._deadlines

    def of(self, piece: int) -> float | None:
        """The deadline of a piece, or None."""
        return self._deadlines.get(piece)

    def until(self, time: float) -> Iterator[tuple[int, float]]:
        """The pieces that are due by a time, with their deadlines."""
        return ((piece, deadline) for deadline, piece in takewhile(lambda entry: entry[0] <= time, self._order))

    def __iter__(self) -> Iterator[int]:
        return (piece for _, piece in self._order)
