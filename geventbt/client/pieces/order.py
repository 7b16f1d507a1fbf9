"""The order in which pieces are begun: by priority, then rarest first, at random among equals (BEP 3).

Nothing is kept sorted. Priorities and rarities are bit planes (`BitCounters`), in which the best pieces are found in a
few tens of microseconds even among 100,000. So that this is done once for many picks, some of the best are kept in
shortlists: a common one of the best of all, in which most peers soon find a piece that they have, and one for each peer
that does not. A shortlist is corrected when it is read: a piece that was begun is removed, and one that has become less
rare moves down. A change that could make another piece better than those in it (a piece is free again, or rarer, or its
priority changed) is rare, and outdates all shortlists by a version number.
"""

from __future__ import annotations

from bisect import insort
from random import Random

from bitarray import bitarray
from bitarray.util import ones, zeros

from geventbt.client.pieces.bit_counters import BitCounters
from geventbt.client.pieces.bit_runs import longest_run

LOWEST = 1
NORMAL = 4
HIGHEST = 7
"""Priorities are strict: no piece is begun while one of a higher priority can be. 0 means not wanted."""

SHORTLIST = 64
"""The number of pieces in a new shortlist."""
SMALL_CLASS = 2 * SHORTLIST
"""A class of up to this number of equal pieces is taken as a whole, and so drawn exactly evenly."""
COMMON_CLASSES = 8
"""The number of classes of equal pieces that the common shortlist may contain."""
SKIPPED = 50
"""How many pieces of the common shortlist that a peer lacks are skipped before it gets a shortlist of its own."""


class Shortlist:
    """Some of the best free pieces among those that a peer has, or of all."""

    __slots__ = ("entries", "horizon", "is_nothing", "version")

    def __init__(self) -> None:
        self.entries: list[tuple[int, int]] = []
        """(value, piece), the best last."""
        self.horizon = 0
        """Pieces that are not in the list have this value or a higher one: they are not better than those in it."""
        self.is_nothing = False
        """Whether there was no such piece when the list was made."""
        self.version = -1

    def outdate(self) -> None:
        """Mark it outdated: it is made anew when it is next needed."""
        self.version = -1


class PieceOrder:
    """The free pieces, those that are wanted and not begun, and their order.

    Args:
        size: the number of pieces; none is free to begin with.
        random: breaks ties.
    """

    def __init__(self, size: int, random: Random) -> None:
        self._free = zeros(size, "big")
        self._ranks = BitCounters(size)  # how far a priority is below the highest
        self._rarity = BitCounters(size)  # how many peers have a piece; seeds do not count, as they make no difference
        self._random = random.random
        self._sequential = False
        self._fills_from_end = False
        self._version = 0
        self.free_count = 0
        self.common = Shortlist()
        """The best of all free pieces: the shortlist of peers that have every piece."""

    # ------------------------------------------------------------------ free pieces and their priorities

    def is_free(self, piece: int) -> bool:
        """Whether a piece is wanted and not begun."""
        return bool(self._free[piece])

    def take(self, piece: int) -> None:
        """Remove a piece from the free ones: it is begun, or no longer wanted."""
        if self._free[piece]:
            self._free[piece] = 0
            self.free_count -= 1

    def put_back(self, piece: int) -> None:
        """Add a piece to the free ones, for the first time or again."""
        if not self._free[piece]:
            self._free[piece] = 1
            self.free_count += 1
            self._version += 1

    def replace(self, free: bitarray) -> None:
        """Set the free pieces."""
        self._free = free
        self.free_count = free.count()
        self._version += 1

    def set_priority(self, piece: int, priority: int) -> None:
        """Set the priority of one piece, 1 to 7; it has no effect while the piece is not free."""
        self._ranks[piece] = HIGHEST - priority
        self._version += 1

    def set_priorities(self, priorities: bytes | bytearray) -> None:
        """Set the priority of every piece."""
        levels = pieces_by_priority(priorities)
        self._ranks = BitCounters(len(self._free))
        # The rank is how many of these levels a piece is at or below.
        reached = zeros(len(self._free), "big")
        for priority in range(LOWEST, HIGHEST):
            if priority in levels:
                reached |= levels[priority]
            self._ranks.add(reached)
        self._version += 1

    @property
    def sequential(self) -> bool:
        """Whether pieces of equal priority are ordered by index, not by rarity."""
        return self._sequential

    @sequential.setter
    def sequential(self, value: bool) -> None:
        self._sequential = value
        self._version += 1

    @property
    def fills_from_end(self) -> bool:
        """Whether ties between equal pieces are broken from the end of the largest gap downwards, not at random: a web
        seed fills it from the front (BEP 19)."""
        return self._fills_from_end

    @fills_from_end.setter
    def fills_from_end(self, value: bool) -> None:
        if value is not self._fills_from_end:
            self._fills_from_end = value
            self._version += 1

    # ------------------------------------------------------------------ rarity

    def rarity(self, piece: int) -> int:
        """The number of peers that have a piece, seeds excluded."""
        return self._rarity[piece]

    def add_pieces(self, pieces: bitarray) -> None:
        """Count one more peer for each of these pieces. That makes them less rare, which outdates no shortlist."""
        self._rarity.add(pieces)

    def remove_pieces(self, pieces: bitarray) -> None:
        """Count one peer less for each of these pieces."""
        self._rarity.subtract(pieces)
        self._version += 1

    def add_piece(self, piece: int, shortlist: Shortlist) -> None:
        """Count one more peer for a piece: the peer that the shortlist belongs to."""
        self._rarity.increment(piece)
        if self._free[piece] and (shortlist.is_nothing or self._value(piece) < shortlist.horizon):
            shortlist.outdate()

    def remove_piece(self, piece: int) -> None:
        """Count one peer less for a piece."""
        self._rarity.decrement(piece)
        self._version += 1

    # ------------------------------------------------------------------ the first piece

    def first(self, pieces: bitarray, shortlist: Shortlist) -> int | None:
        """The free piece to begin next among those that a peer has, or None. It stays free until it is taken.

        Args:
            pieces: the pieces that the peer has.
            shortlist: the peer's own, or the common one for a peer that has every piece.
        """
        piece = None
        if shortlist.version == self._version:
            if shortlist.is_nothing:
                return None
            piece = self._find(pieces, shortlist)
        if piece is None:
            if self.common.version != self._version or not self.common.entries:
                self._renew(self.common, self._free.copy(), COMMON_CLASSES)
            piece = self._find(pieces, self.common)
        if piece is None and shortlist is not self.common:
            self._renew(shortlist, self._free & pieces, 1)
            piece = self._find(pieces, shortlist)
        return piece

    def gap(self, pieces: bitarray) -> range:
        """Consecutive free pieces of the highest priority among those that a source has; empty if there is none.

        It is the longest of such gaps or, in sequential order, the first.
        """
        free = self._free & pieces
        if not free.any():
            return range(0)
        best, _ = self._ranks.lowest(free)
        if not self._sequential:
            return longest_run(best)
        first = best.find(1)
        end = best.find(0, first)
        return range(first, len(best) if end < 0 else end)

    def _value(self, piece: int) -> int:
        """The rank of a piece: the lower the better."""
        return self._ranks[piece] << 32 | (piece if self._sequential else self._rarity[piece])

    def _find(self, pieces: bitarray, shortlist: Shortlist) -> int | None:
        """The best piece of a shortlist that the peer has; outdated entries before it are corrected or removed."""
        entries = shortlist.entries
        at = len(entries) - 1
        end = at - SKIPPED
        while at >= 0 and at > end:
            listed, piece = entries[at]
            if self._free[piece] and not pieces[piece]:
                at -= 1
                continue
            value = self._value(piece)
            if self._free[piece] and value == listed:
                return piece
            del entries[at]
            if self._free[piece] and value <= shortlist.horizon:
                insort(entries, (value, piece), key=_descending)
            else:
                at -= 1
        return None

    def _renew(self, shortlist: Shortlist, rest: bitarray, classes: int) -> None:
        """Fill a shortlist with the best of the free pieces in `rest`, which is changed."""
        shortlist.version = self._version
        shortlist.is_nothing = not rest.any()
        entries: list[tuple[int, int]] = []
        for _ in range(classes):
            if len(entries) >= SHORTLIST or not rest.any():
                break
            equals, rank = self._ranks.lowest(rest)
            if self._sequential:
                entries = [(rank << 32 | piece, piece) for piece in _leading(equals, SHORTLIST)]
                break
            equals, rarity = self._rarity.lowest(equals)
            entries += [(rank << 32 | rarity, piece) for piece in self._draw(equals)]
            rest ^= equals
        if entries:
            shortlist.horizon = entries[-1][0]
        shortlist.entries = entries[::-1]

    def _draw(self, equals: bitarray) -> list[int]:
        """The set bits in random order, or from the end of the largest gap downwards; of a large class, only as many as
        a shortlist has."""
        if self._fills_from_end:
            end = longest_run(self._free).stop
            return _trailing(equals, end, SHORTLIST) or _trailing(equals, len(equals), SHORTLIST)
        if equals.count() > SMALL_CLASS:
            # The next set bit after a random place: a bit after a gap is drawn more often, which does not matter here.
            size = len(equals)
            starts = [int(self._random() * size) for _ in range(SHORTLIST)]
            return [piece if (piece := equals.find(1, start)) >= 0 else equals.find(1) for start in starts]
        drawn = _leading(equals, SMALL_CLASS)
        for last in range(len(drawn) - 1, 0, -1):
            other = int(self._random() * (last + 1))
            drawn[last], drawn[other] = drawn[other], drawn[last]
        return drawn


def pieces_by_priority(priorities: bytes | bytearray) -> dict[int, bitarray]:
    """The pieces of each priority that any has, 0 included.

    *Measured*: a mask of two million pieces takes 4 ms, and most torrents have only one priority, or two.
    """
    in_use = [priority for priority in range(HIGHEST + 1) if priority in priorities]
    if len(in_use) == 1:
        return {in_use[0]: ones(len(priorities), "big")}
    levels: dict[int, bitarray] = {}
    for priority in in_use:
        levels[priority] = bitarray(endian="big")
        levels[priority].pack(priorities.translate(bytes(value == priority for value in range(256))))
    return levels


def _descending(entry: tuple[int, int]) -> int:
    return -entry[0]


def _leading(bits: bitarray, count: int) -> list[int]:
    """The indices of the first `count` set bits."""
    places: list[int] = []
    place = bits.find(1)
    while place >= 0 and len(places) < count:
        places.append(place)
        place = bits.find(1, place + 1)
    return places


def _trailing(bits: bitarray, end: int, count: int) -> list[int]:
    """The indices of the last `count` set bits before `end`, the last one first."""
    places: list[int] = []
    place = bits.find(1, 0, end, right=True)
    while place >= 0 and len(places) < count:
        places.append(place)
        place = bits.find(1, 0, place, right=True)
    return places
