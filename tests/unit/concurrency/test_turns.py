"""Greenlets that have much to do, and those that wait beside them."""

from __future__ import annotations

from collections import Counter
from time import perf_counter

import gevent

from geventbt import limits
from geventbt.concurrency.turns import in_turns, let_others_run


def work(seconds: float) -> None:
    """Hold the hub up."""
    ends = perf_counter() + seconds
    while perf_counter() < ends:
        pass


def test_timers_that_are_due_come_first() -> None:
    slices: list[int] = []

    def wait() -> None:
        gevent.sleep(0.002)
        seen.append(len(slices))

    seen: list[int] = []
    waiting = gevent.spawn(wait)
    gevent.sleep(0)
    for number in range(40):
        work(0.001)
        let_others_run()
        slices.append(number)
    waiting.join(5)
    assert seen[0] < 40


def test_many_greenlets_share_the_time_of_a_turn() -> None:
    loop = gevent.get_hub().loop
    began: Counter[float] = Counter()

    def go_on() -> None:
        for _ in range(3):
            let_others_run()
            # The time of the loop stands still in each of its turns.
            began[loop.now()] += 1
            work(0.002)

    gevent.joinall([gevent.spawn(go_on) for _ in range(40)], timeout=30, raise_error=True)
    assert began.total() == 120
    assert max(began.values()) <= limits.TURN / 0.002 + 1


def test_others_have_their_turns_between_items_that_take_long() -> None:
    given: list[int] = []
    seen: list[int] = []
    other = gevent.spawn(lambda: seen.append(len(given)))
    for item in in_turns(range(20)):
        given.append(item)
        work(0.001)
    other.join(5)
    assert given == list(range(20))
    assert seen[0] < 20


def test_they_go_on_in_the_order_in_which_they_came() -> None:
    seen: list[int] = []

    def go_on(number: int) -> None:
        for _ in range(3):
            let_others_run()
            seen.append(number)

    gevent.joinall([gevent.spawn(go_on, number) for number in range(5)], timeout=30)
    assert seen == [0, 1, 2, 3, 4] * 3


def test_one_that_is_killed_while_it_waits_holds_up_no_other() -> None:
    seen: list[str] = []

    def go_on(name: str) -> None:
        let_others_run()
        seen.append(name)

    killed, other = gevent.spawn(go_on, "killed"), gevent.spawn(go_on, "other")
    gevent.sleep(0)
    killed.kill()
    other.join(5)
    assert seen == ["other"]
