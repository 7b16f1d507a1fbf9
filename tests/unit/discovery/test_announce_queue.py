"""The announces of a client that has a thousand torrents, in simulated time."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from geventbt.discovery.announce_queue import AnnounceQueue

OF_TRACKER, IN_ALL = 10, 25


class Simulation:
    """Torrents that announce to one tracker each, as often as its interval says.

    Args:
        seconds: that an announce to a tracker takes, by its name.
    """

    def __init__(self, seconds: dict[str, float]) -> None:
        self.now = 0.0
        self.queue = AnnounceQueue(OF_TRACKER, IN_ALL)
        self.seconds = seconds
        self.under_way: Counter[str] = Counter()
        self.peaks: Counter[str] = Counter()
        self.peak_in_all = 0
        self.done: list[tuple[str, float]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now + seconds, self._count, act))

    def run(self) -> None:
        while self._events:
            self.now, _, act = heapq.heappop(self._events)
            act()

    def times(self, tracker: str) -> list[float]:
        """When the announces to a tracker were done."""
        return [moment for name, moment in self.done if name == tracker]


class Announcer:
    """Announces once, as soon as it may."""

    def __init__(self, simulation: Simulation, tracker: str) -> None:
        self._simulation = simulation
        self._tracker = tracker

    def wake(self) -> None:
        self._simulation.after(0, self.announce)

    def announce(self) -> None:
        world = self._simulation
        if not world.queue.enter(self.wake, self._tracker):
            return
        world.under_way[self._tracker] += 1
        world.peaks[self._tracker] = max(world.peaks[self._tracker], world.under_way[self._tracker])
        world.peak_in_all = max(world.peak_in_all, world.under_way.total())
        world.after(world.seconds[self._tracker], self._end)

    def _end(self) -> None:
        world = self._simulation
        world.under_way[self._tracker] -= 1
        world.done.append((self._tracker, world.now))
        world.queue.leave(self._tracker)


def test_a_thousand_torrents_announce_within_the_bounds_and_none_is_forgotten() -> None:
    world = Simulation({"quick": 0.1, "slow": 2.0, "dead": 30.0, "other": 0.1})
    names = [random.Random(number).choice(list(world.seconds)) for number in range(1000)]
    for name in names:
        Announcer(world, name).wake()
    world.run()
    assert Counter(name for name, _ in world.done) == Counter(names)
    assert max(world.peaks.values()) == OF_TRACKER
    assert world.peak_in_all == IN_ALL
    # Of 250 torrents, 10 at one time for 30 s: what a tracker that is dead takes holds up none of the others.
    assert max(world.times("dead")) > 700
    assert max(world.times("slow")) < 60
    assert max(world.times("quick")) < 60


def test_the_first_that_waits_is_the_first_that_is_served() -> None:
    queue, served = AnnounceQueue(1, 9), list[int]()

    waiting: list[Callable[[], None]] = [partial(served.append, number) for number in range(4)]
    assert [queue.enter(wake, "a") for wake in waiting] == [True, False, False, False]
    assert queue.enter(partial(served.append, 9), "b")
    # One that asks again keeps its turn.
    assert not queue.enter(waiting[1], "a")
    queue.withdraw(waiting[2])
    queue.leave("a")
    assert served == [1]
    # Nobody takes the place of one that has been woken.
    assert not queue.enter(waiting[0], "a")
    assert queue.enter(waiting[1], "a")
    queue.leave("a")
    assert served == [1, 3]


def test_a_place_that_is_not_used_goes_to_the_next() -> None:
    world = Simulation({"a": 1.0})
    queue = AnnounceQueue(1, 1)
    first, second, third = (Announcer(world, "a").wake for _ in range(3))
    assert queue.enter(first, "a")
    assert not queue.enter(second, "a")
    assert not queue.enter(third, "a")
    queue.leave("a")
    queue.withdraw(second)
    assert queue.enter(third, "a")


def test_one_that_asks_for_another_place_than_it_was_woken_for_gives_that_back() -> None:
    world = Simulation({"a": 1.0, "b": 1.0})
    queue = AnnounceQueue(1, 9)
    first, second = Announcer(world, "a").wake, Announcer(world, "a").wake
    assert queue.enter(first, "a")
    assert not queue.enter(second, "a")
    queue.leave("a")
    assert queue.enter(second, "b")
    assert queue.enter(first, "a")


@pytest.mark.parametrize("numbers", [random.Random(seed).sample(range(60), 60) for seed in range(5)])
def test_those_that_are_withdrawn_at_any_time_leave_no_place_taken(numbers: list[int]) -> None:
    world = Simulation({"a": 0.5, "b": 1.0, "c": 7.0})
    announcers = [Announcer(world, "abc"[number % 3]) for number in range(60)]
    for number in numbers:
        announcers[number].wake()
        world.after(number / 10, lambda number=number: world.queue.withdraw(announcers[numbers[number]].wake))  # type: ignore[misc]
    world.run()
    queue = world.queue
    assert all(queue.enter(Announcer(world, name).wake, name) for name in "ab" for _ in range(OF_TRACKER))
    assert sum(queue.enter(Announcer(world, "c").wake, "c") for _ in range(IN_ALL)) == IN_ALL - 2 * OF_TRACKER
