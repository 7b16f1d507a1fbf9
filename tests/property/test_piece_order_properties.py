"""`PieceOrder` against a search through all pieces, in long histories with more pieces than a shortlist holds."""

from __future__ import annotations

from random import Random

import pytest
from bitarray import bitarray

from geventbt.client.pieces.order import HIGHEST, PieceOrder, Shortlist

PEERS = 5


class History:
    """Any changes of an order, with a model of the result."""

    def __init__(self, seed):
        self.random = Random(seed)
        self.size = self.random.choice([3, 30, 300, 600])
        # What outdates the lists comes often, or never: then they are used up.
        self.weights = self.random.choice([[60, 60, 5, 2, 1, 2, 1], [60, 20, 0, 0, 0, 0, 0]])
        self.levels = self.random.choice([1, 1, 3])
        self.order = PieceOrder(self.size, Random(seed))
        self.free = set()
        self.priorities = [HIGHEST] * self.size
        density = self.random.choice([0.05, 0.5, 0.95])
        self.pieces = [
            bitarray([self.random.random() < density for _ in range(self.size)], endian="big") for _ in range(PEERS)
        ]
        self.shortlists = [Shortlist() for _ in range(PEERS)]
        for pieces in self.pieces:
            self.order.add_pieces(pieces)
        self.order.replace(bitarray([1], "big") * self.size)
        self.free = set(range(self.size))

    def rarity(self, piece):
        return sum(pieces[piece] for pieces in self.pieces)

    def value(self, piece):
        return -self.priorities[piece], piece if self.order.sequential else self.rarity(piece)

    def gain(self, peer, piece):
        if not self.pieces[peer][piece]:
            self.pieces[peer][piece] = 1
            self.order.add_piece(piece, self.shortlists[peer])

    def lose(self, peer, piece):
        if self.pieces[peer][piece]:
            self.pieces[peer][piece] = 0
            self.shortlists[peer].outdate()
            self.order.remove_piece(piece)

    def leave(self, peer, piece):
        self.order.remove_pieces(self.pieces[peer])
        self.pieces[peer] = bitarray([self.random.random() < 0.5 for _ in range(self.size)], endian="big")
        self.shortlists[peer] = Shortlist()
        self.order.add_pieces(self.pieces[peer])

    def put_back(self, peer, piece):
        self.order.put_back(piece)
        self.free.add(piece)

    def set_priority(self, peer, piece):
        self.priorities[piece] = HIGHEST - self.random.randrange(self.levels)
        self.order.set_priority(piece, self.priorities[piece])

    def set_sequential(self, peer, piece):
        self.order.sequential = self.random.random() < 0.3

    def begin(self, peer, _):
        piece = self.order.first(self.pieces[peer], self.shortlists[peer])
        candidates = [piece for piece in self.free if self.pieces[peer][piece]]
        if piece is None:
            assert not candidates
            return
        assert piece in candidates
        assert self.value(piece) == min(map(self.value, candidates))
        self.order.take(piece)
        self.free.discard(piece)

    def step(self):
        ways = [self.begin, self.gain, self.put_back, self.lose, self.leave, self.set_priority, self.set_sequential]
        (way,) = self.random.choices(ways, self.weights)
        way(self.random.randrange(PEERS), self.random.randrange(self.size))
        assert self.order.free_count == len(self.free)


@pytest.mark.parametrize("seed", range(40))
def test_the_first_is_always_the_one_that_a_search_would_find(seed):
    history = History(seed)
    for _ in range(600):
        history.step()
