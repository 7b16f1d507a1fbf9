"""What a peer that runs dry takes over from slower ones when everything was asked of some peer."""

from __future__ import annotations

from typing import Any

from bitarray.util import ones, zeros

from geventbt import Geometry, limits
from geventbt.client.pieces.delivery import Delivery
from geventbt.client.pieces.picker import BlockPicker, Run
from geventbt.client.swarm.endgame import Endgame

NOW = 100.0
BLOCKS = 16


class Source:
    """A peer that delivers a block each `interval` seconds, in the order of the requests."""

    def __init__(self, picker: BlockPicker[Any], interval: float, *, is_known: bool = True) -> None:
        self.out_of_turn = self
        self.interval = interval
        self.is_known = is_known
        self.asked: list[tuple[int, int]] = []
        picker.add_peer(self, ones(1, "big"))

    def ask(self, runs: list[Run]) -> None:
        self.asked += [(run.piece, block) for run in runs for block in range(run.first, run.first + run.blocks)]

    def expected(self, now: float) -> dict[tuple[int, int], float]:
        return {key: now + (place + 1) * self.interval for place, key in enumerate(self.asked)}

    def finishes(self, now: float) -> float:
        return now + len(self.asked) * self.interval if self.is_known else now

    def delivery(self, room: int = limits.REQUESTS) -> Delivery:
        return Delivery(NOW + (len(self.asked) + 1) * self.interval, self.interval, room=room)


def piece_asked_of(interval: float, **options: bool) -> tuple[BlockPicker[Any], Source, Source, list[Any]]:
    """A piece of 16 blocks, all of it asked of one source; the source, a fast one, and all sources."""
    picker: BlockPicker[Any] = BlockPicker(
        Geometry(BLOCKS * limits.BLOCK, BLOCKS * limits.BLOCK), zeros(1, "big"), max_open=1 << 30
    )
    slow, fast = Source(picker, interval, **options), Source(picker, 0.1)
    slow.ask(picker.pick(slow, BLOCKS))
    return picker, slow, fast, [slow, fast]


def test_a_fast_peer_takes_the_last_blocks_so_that_both_are_done_at_about_the_same_time():
    picker, _, fast, sources = piece_asked_of(0.5)
    assert Endgame(picker, sources).take_over(fast, fast.delivery(), NOW) == [Run(0, 3, 13)]
    # The slow one needs 1.5 s for those before, and the fast one 1.3 s.


def test_nothing_is_taken_over_that_comes_about_as_soon_anyway():
    picker, _, fast, sources = piece_asked_of(0.1)
    fast.asked = [(0, 0)] * 14
    assert Endgame(picker, sources).take_over(fast, fast.delivery(), NOW) == []


def test_no_more_is_taken_over_than_may_be_asked_for():
    picker, _, fast, sources = piece_asked_of(0.5)
    assert Endgame(picker, sources).take_over(fast, fast.delivery(room=3), NOW) == [Run(0, 13, 3)]


def test_nothing_is_taken_over_from_a_peer_that_is_not_known_to_be_slow():
    picker, _, fast, sources = piece_asked_of(0.5, is_known=False)
    assert Endgame(picker, sources).take_over(fast, fast.delivery(), NOW) == []


def test_nothing_is_taken_over_while_any_block_is_free():
    picker, slow, fast, sources = piece_asked_of(0.5)
    picker.give_back(slow, 0, 3)
    assert Endgame(picker, sources).take_over(fast, fast.delivery(), NOW) == []


def test_a_block_that_a_quick_peer_was_asked_for_as_well_is_left_to_it():
    picker, _, fast, sources = piece_asked_of(0.5)
    quick = Source(picker, 0.1)
    sources.append(quick)
    quick.ask(picker.urgent.claim(quick, 0, [15]))
    taken = Endgame(picker, sources).take_over(fast, fast.delivery(), NOW)
    assert taken == [Run(0, 2, 13)]


def test_no_block_is_asked_of_more_peers_than_may_be():
    picker, slow, fast, sources = piece_asked_of(0.5)
    for _ in range(limits.ENDGAME_CLAIMANTS - 1):
        other = Source(picker, 0.5)
        other.asked = list(slow.asked)
        picker.urgent.claim(other, 0, range(BLOCKS))
        sources.append(other)
    assert Endgame(picker, sources).take_over(fast, fast.delivery(), NOW) == []


def test_peers_that_ask_at_one_time_share_a_look_and_another_follows_a_little_later():
    picker, _, fast, sources = piece_asked_of(0.5)
    other = Source(picker, 0.1)
    sources.append(other)
    endgame = Endgame(picker, sources)
    assert endgame.take_over(fast, fast.delivery(room=1), NOW) == [Run(0, 15, 1)]
    assert endgame.take_over(other, other.delivery(room=1), NOW) == [Run(0, 14, 1)]
    assert endgame.take_over(fast, fast.delivery(), NOW + 0.001) == []
    assert endgame.take_over(fast, fast.delivery(), NOW + 0.1)
