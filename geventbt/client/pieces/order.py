"""In which order pieces are begun: by priority, then rarest first, in random order among equals (BEP 3).

Nothing is kept sorted. Priorities and rarities are bit planes (`BitCounters`), in which the best pieces are found in a
few tens of microseconds even among 100,000. So that this is done once for many picks, some of the best are noted: on a
common list of the best of all, on which most peers soon find one that they have, and on a list for each peer that does
not. A list looks after itself: a noted piece that was begun is crossed out when it comes up, and one that has become
less rare moves down. What could make another piece better than those on the list (a piece is free again, or rarer, or
its priority changed) is seldom, and outdates all lists by a version number.
"""

from __future__ import annotations

from bisect import insort
from random import Random

from bitarray import bitarray
from bitarray.util import zeros

from geventbt.client.pieces.bit_counters import BitCounters

LOWEST = 1
NORMAL = 4
HIGHEST = 7
"""Priorities are strict: no piece is begun while one of a higher priority can be. 0 is not wanted at all."""

SHORTLIST = 64
"""How many of the best pieces are noted at once."""
SMALL_CLASS = 2 * SHORTLIST
"""Up to so many equals are all noted, and so drawn exactly evenly."""
COMMON_CLASSES = 8
"""How many classes of equals the common list goes down to if they are small."""
SKIPPED = 50
"""How many noted pieces that a peer has not are looked at before its own list is made."""


class Shortlist:
    """Some of the best free pieces among those that a peer has, or of all."""

    __slots__ = ("entries", "horizon", "is_nothing", "version")

    def __init__(self) -> None:
        self.entries: list[tuple[int, int]] = []
        """Each with its value, the best last."""
        self.horizon = 0
        """Pieces that are not noted have this value or a higher one: they are not better than any that is."""
        self.is_nothing = False
        """Whether there was no such piece at all when the list was made."""
        self.version = -1

    def outdate(self) -> None:
        """Have it made anew when it is next needed."""
        self.version = -1


class PieceOrder:
    """The free pieces, those that are wanted and not begun, and which of them comes first.

    Args:
        size: the number of pieces; none is free to begin with.
        random: breaks ties.
    """

    def __init__(self, size: int, random: Random) -> None:
        self._free = zeros(size, "big")
        self._ranks = BitCounters(size)  # how far a priority is below the highest
        self._rarity = BitCounters(size)  # how many peers have a piece, seeds not counted: they make no difference
        self._random = random.random
        self._sequential = False
        self._version = 0
        self.free_count = 0
        self.common = Shortlist()
        """The best of all: the list of the peers that have everything."""

    # ------------------------------------------------------------------ what is free, and how urgently it is wanted

    def is_free(self, piece: int) -> bool:
        """Whether a piece is wanted and not begun."""
        return bool(self._free[piece])

    def take(self, piece: int) -> None:
        """A piece is begun, or no longer wanted."""
        if self._free[piece]:
            self._free[piece] = 0
            self.free_count -= 1

    def put_back(self, piece: int) -> None:
        """A piece can be begun, for the first time or again."""
        if not self._free[piece]:
            self._free[piece] = 1
            self.free_count += 1
            self._version += 1

    def replace(self, free: bitarray) -> None:
        """Exactly these pieces are free."""
        self._free = free
        self.free_count = free.count()
        self._version += 1

    def set_priority(self, piece: int, priority: int) -> None:
        """The priority of one piece, 1 to 7; it makes no difference for pieces that are not free."""
        self._ranks[piece] = HIGHEST - priority
        self._version += 1

    def set_priorities(self, priorities: bytes | bytearray) -> None:
        """The priority of every piece."""
        self._ranks = BitCounters(len(self._free))
        for priority in range(LOWEST, HIGHEST):
            mask = bitarray(endian="big")
            mask.pack(priorities.translate(bytes(0 < value <= priority for value in range(256))))
            self._ranks.add(mask)
        self._version += 1

    @property
    def sequential(self) -> bool:
        """Whether pieces of equal priority come by number, not by rarity."""
        return self._sequential

    @sequential.setter
    def sequential(self, value: bool) -> None:
        self._sequential = value
        self._version += 1

    # ------------------------------------------------------------------ how rare it is

    def rarity(self, piece: int) -> int:
        """How many peers that are no seeds have a piece."""
        return self._rarity[piece]

    def add_pieces(self, pieces: bitarray) -> None:
        """One peer more has these pieces. They are less rare: lists notice that by themselves."""
        self._rarity.add(pieces)

    def remove_pieces(self, pieces: bitarray) -> None:
        """One peer less has these pieces."""
        self._rarity.subtract(pieces)
        self._version += 1

    def add_piece(self, piece: int, shortlist: Shortlist) -> None:
        """One peer more, whose shortlist this is, has a piece."""
        self._rarity.increment(piece)
        if self._free[piece] and (shortlist.is_nothing or self._value(piece) < shortlist.horizon):
            shortlist.outdate()

    def remove_piece(self, piece: int) -> None:
        """One peer less has a piece."""
        self._rarity.decrement(piece)
        self._version += 1

    # ------------------------------------------------------------------ which comes first

    def first(self, pieces: bitarray, shortlist: Shortlist) -> int | None:
        """The free piece to begin next among those that a peer has, or None. It stays free until it is taken.

        Args:
            pieces: what the peer has.
            shortlist: the peer's own, or the common one if it has everything.
        """
        piece = None
        if shortlist.version == self._version:
            if shortlist.is_nothing:
                return None
            piece = self._find(pieces, shortlist)
        if piece is None:
            if self.common.version != self._version or not self.common.entries:
                self._note(self._free.copy(), self.common, COMMON_CLASSES)
            piece = self._find(pieces, self.common)
        if piece is None and shortlist is not self.common:
            self._note(self._free & pieces, shortlist, 1)
            piece = self._find(pieces, shortlist)
        return piece

    def _value(self, piece: int) -> int:
        """The lower, the better."""
        return self._ranks[piece] << 32 | (piece if self._sequential else self._rarity[piece])

    def _find(self, pieces: bitarray, shortlist: Shortlist) -> int | None:
        """The best noted piece that is still free, still as good as noted, and that the peer has."""
        entries = shortlist.entries
        at = len(entries) - 1
        end = at - SKIPPED
        while at >= 0 and at > end:
            noted, piece = entries[at]
            if self._free[piece] and not pieces[piece]:
                at -= 1
                continue
            value = self._value(piece)
            if self._free[piece] and value == noted:
                return piece
            del entries[at]
            if self._free[piece] and value <= shortlist.horizon:
                insort(entries, (value, piece), key=_downwards)
            else:
                at -= 1
        return None

    def _note(self, rest: bitarray, shortlist: Shortlist, classes: int) -> None:
        """Make a list of the best of some free pieces; `rest` is used up."""
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
        """The set bits in random order; of many, enough for a whole list."""
        if equals.count() > SMALL_CLASS:
            # From random places on: a piece behind a gap comes up more often, which nobody notices among so many.
            size = len(equals)
            starts = [int(self._random() * size) for _ in range(SHORTLIST)]
            return [piece if (piece := equals.find(1, start)) >= 0 else equals.find(1) for start in starts]
        drawn = _leading(equals, SMALL_CLASS)
        for last in range(len(drawn) - 1, 0, -1):
            other = int(self._random() * (last + 1))
            drawn[last], drawn[other] = drawn[other], drawn[last]
        return drawn


def _downwards(entry: tuple[int, int]) -> int:
    return -entry[0]


def _leading(bits: bitarray, most: int) -> list[int]:
    """The places of the first set bits."""
    places: list[int] = []
    place = bits.find(1)
    while place >= 0 and len(places) < most:
        places.append(place)
        place = bits.find(1, place + 1)
    return places
