"""What is asked of which peers when a reader waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from types import SimpleNamespace
from typing import Any

import pytest
from bitarray.util import ones, zeros

from geventbt import Geometry, limits
from geventbt.client.pieces.delivery import Delivery
from geventbt.client.pieces.picker import BlockPicker, Run
from geventbt.client.swarm.urgent_requests import UrgentRequests

NOW = 100.0
BLOCKS, PIECES = 4, 3


class Source:
    """A peer that delivers a block each `interval` seconds, in the order of the requests."""

    room = 100
    pause = 0.0
    spared: Container[int] = ()

    def __init__(self, picker: BlockPicker[Any], interval: float) -> None:
        self.out_of_turn = self
        self.interval = interval
        self.asked: list[tuple[int, int]] = []
        picker.add_peer(self, ones(PIECES, "big"))

    def has(self, piece: int) -> bool:
        return True

    def request(self, runs: list[Run], spared: Container[int], now: float) -> None:
        self.asked += [(run.piece, block) for run in runs for block in range(run.first, run.first + run.blocks)]

    def expected(self, now: float, *, at_worst: bool) -> dict[tuple[int, int], float]:
        now += self.pause * at_worst
        return {key: now + (place + 1) * self.interval for place, key in enumerate(self.asked)}

    def delivery(self, spared: Container[int], now: float) -> Delivery:
        self.spared = spared
        first = now + (len(self.asked) + 1) * self.interval
        return Delivery(first, self.interval, room=self.room - len(self.asked))


class Torrent:
    """Pieces of four blocks, and a source for each interval."""

    def __init__(self, *intervals: float) -> None:
        geometry = Geometry(PIECES * BLOCKS * limits.BLOCK, BLOCKS * limits.BLOCK)
        self.picker: BlockPicker[Any] = BlockPicker(geometry, zeros(PIECES, "big"), max_open=1 << 30)
        self.sources: list[Source] = []
        for interval in intervals:
            self.add(interval)
        scheduler: Any = SimpleNamespace(is_busy=False, take=lambda source, blocks: blocks)
        self.urgent = UrgentRequests(self.picker, scheduler, self.sources)

    def add(self, interval: float) -> None:
        """A source connects."""
        self.sources.append(Source(self.picker, interval))

    def read(self, *seconds: float) -> None:
        """Ask for the first pieces, which a reader needs in so many seconds."""
        for piece, due in enumerate(seconds):
            self.picker.set_deadline(piece, NOW + due)
        self.urgent.request(NOW)

    def copies(self, piece: int) -> list[int]:
        """How many sources were asked for each block of a piece."""
        asked = Counter(block for source in self.sources for number, block in source.asked if number == piece)
        return [asked[block] for block in range(BLOCKS)]


def test_what_a_seek_waits_for_is_asked_of_two_peers_and_what_is_behind_it_of_one():
    torrent = Torrent(0.01, 0.01)
    torrent.read(0.0, 0.5)
    assert (torrent.copies(0), torrent.copies(1)) == ([2] * BLOCKS, [1] * BLOCKS)
    assert all(len(set(source.asked)) == len(source.asked) for source in torrent.sources)


def test_first_all_of_it_is_asked_for_once():
    torrent = Torrent(0.01, 0.01)
    torrent.read(0.0)
    first, second = ({block for _, block in source.asked[: BLOCKS // 2]} for source in torrent.sources)
    assert first | second == set(range(BLOCKS))


def test_what_is_needed_later_is_asked_of_one_peer():
    torrent = Torrent(0.01, 0.01)
    torrent.read(0.5)
    assert torrent.copies(0) == [1] * BLOCKS


def test_a_slow_peer_is_not_asked_for_a_second_copy():
    torrent = Torrent(0.01, 2.0)
    torrent.read(0.0)
    assert torrent.copies(0) == [1] * BLOCKS


def test_a_reader_who_waits_on_does_not_have_all_asked_for_again():
    torrent = Torrent(0.01, 0.01, 0.01)
    torrent.read(0.0)
    torrent.urgent.request(NOW + 0.02)
    assert torrent.copies(0) == [2] * BLOCKS


@pytest.mark.parametrize(("due", "copies"), [(0.2, 1), (0.1, 2)])
def test_what_is_late_is_asked_of_another_at_the_last_moment_only(due, copies):
    """Up to then its peer may go on: what it has sent cannot be cancelled."""
    torrent = Torrent(0.01)
    torrent.read(due)
    torrent.sources[0].interval = 1.0
    torrent.add(0.06)
    torrent.urgent.request(NOW + 0.02)
    assert torrent.copies(0) == [copies] * BLOCKS


@pytest.mark.parametrize(("due", "copies"), [(0.05, 1), (0.02, 2)])
def test_that_a_peer_is_held_up_now_and_then_matters_only_to_a_reader_who_waits(due, copies):
    torrent = Torrent(0.01)
    torrent.read(due)
    torrent.sources[0].pause = 1.0
    torrent.add(0.03)
    torrent.urgent.request(NOW + 0.03)
    assert torrent.copies(0) == [copies] * BLOCKS


@pytest.mark.parametrize(("due", "asked"), [(0.5, BLOCKS // 2), (0.0, BLOCKS)])
def test_only_what_is_needed_now_is_asked_of_a_slower_peer_when_the_fast_one_has_no_room(due, asked):
    torrent = Torrent(0.01, 0.1)
    torrent.sources[0].room = BLOCKS // 2
    torrent.read(due)
    assert sum(count > 0 for count in torrent.copies(0)) == asked


def test_only_what_is_due_soon_stays_in_front_of_what_is_asked_for():
    torrent = Torrent(0.01)
    torrent.read(0.0, 0.5, 5.0)
    assert list(torrent.sources[0].spared) == [0, 1]
