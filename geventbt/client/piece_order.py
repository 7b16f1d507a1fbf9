"""In which order pieces are begun: by priority, then rarest first, in random order among equals (BEP 3).

Nothing is kept sorted. Priorities and rarities are bit planes (`BitCounters`), in which the best pieces that a peer has
are found in a few tens of microseconds even among 100,000; and each peer keeps a shortlist of some of the best, so that
this is done only once for many picks. A shortlist looks after itself: a piece on it that was begun or has become less
rare is crossed out when it comes up. What could make another piece better than those on the list (a piece is free
again, or rarer, or its priority changed) is seldom, and outdates all lists by a version number.
"""

from __future__ import annotations

from random import Random

from bitarray import bitarray
from bitarray.util import zeros

from geventbt.client.bit_counters import BitCounters

LOWEST = 1
NORMAL = 4
HIGHEST = 7
"""Priorities are strict: no piece is begun while one of a higher priority can be. 0 is not wanted at all."""

SHORTLIST = 64
"""How many of the best pieces are noted at once."""
SMALL_CLASS = 4 * SHORTLIST
"""Up to so many equals, the noted ones are drawn exactly evenly."""


class Shortlist:
    """Some of the best free pieces among those that a peer has, the next one last. Peers with the same pieces may
    share one.
    """

    __slots__ = ("is_nothing", "pieces", "rank", "rarity", "version")

    def __init__(self) -> None:
        self.pieces: list[int] = []
        self.rank = 0
        self.rarity = 0
        self.is_nothing = False
        """Whether the peer had no free piece at all when the list was made."""
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
        if self._free[piece] and (shortlist.is_nothing or self._sequential or self._beats(piece, shortlist)):
            shortlist.outdate()

    def remove_piece(self, piece: int) -> None:
        """One peer less has a piece."""
        self._rarity.decrement(piece)
        self._version += 1

    def _beats(self, piece: int, shortlist: Shortlist) -> bool:
        rank = self._ranks[piece]
        return rank < shortlist.rank or (rank == shortlist.rank and self._rarity[piece] < shortlist.rarity)

    # ------------------------------------------------------------------ which comes first

    def first(self, pieces: bitarray, shortlist: Shortlist) -> int | None:
        """The free piece to begin next among those that a peer has, or None. It stays free until it is taken.

        Args:
            pieces: what the peer has.
            shortlist: the peer's own, or one for all peers with the same pieces.
        """
        if shortlist.version != self._version:
            self._renew(pieces, shortlist)
        while True:
            noted = shortlist.pieces
            while noted:
                piece = noted[-1]
                if self._free[piece] and (self._sequential or self._rarity[piece] == shortlist.rarity):
                    return piece
                noted.pop()
            if shortlist.is_nothing:
                return None
            self._renew(pieces, shortlist)

    def _renew(self, pieces: bitarray, shortlist: Shortlist) -> None:
        shortlist.version = self._version
        best = self._free & pieces
        shortlist.is_nothing = not best.any()
        if shortlist.is_nothing:
            shortlist.pieces = []
            return
        best, shortlist.rank = self._ranks.lowest(best)
        if self._sequential:
            shortlist.pieces = _leading(best, SHORTLIST)[::-1]
        else:
            best, shortlist.rarity = self._rarity.lowest(best)
            shortlist.pieces = self._draw(best)

    def _draw(self, equals: bitarray) -> list[int]:
        """Some of the set bits in random order, at least one."""
        if equals.count() > SMALL_CLASS:
            # From random places on: a piece behind a gap comes up more often, which nobody notices among so many.
            size = len(equals)
            starts = [int(self._random() * size) for _ in range(SHORTLIST)]
            return [piece for start in starts if (piece := equals.find(1, start)) >= 0] or _leading(equals, 1)
        drawn = _leading(equals, SMALL_CLASS)
        for last in range(len(drawn) - 1, 0, -1):
            other = int(self._random() * (last + 1))
            drawn[last], drawn[other] = drawn[other], drawn[last]
        return drawn


def _leading(bits: bitarray, most: int) -> list[int]:
    """The places of the first set bits."""
    places: list[int] = []
    place = bits.find(1)
    while place >= 0 and len(places) < most:
        places.append(place)
        place = bits.find(1, place + 1)
    return places
