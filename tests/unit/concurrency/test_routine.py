"""Work that is done now and then."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import gevent
import pytest
from gevent.event import Event

from geventbt.concurrency.routine import Routine, has_routines

Work = Callable[[], float | None]


@pytest.fixture
def routine() -> Iterator[Callable[[Work], Routine]]:
    made: list[Routine] = []

    def make(work: Work) -> Routine:
        made.append(Routine("test", work))
        return made[-1]

    yield make
    for each in made:
        each.stop()
    assert not has_routines(gevent.get_hub())


class Rounds:
    """Work that counts how often it is done, and wants to be done again after some time."""

    def __init__(self, *waits: float | None) -> None:
        self._waits = list(waits)
        self.done = 0
        self.changed = Event()

    def __call__(self) -> float | None:
        self.done += 1
        self.changed.set()
        return self._waits.pop(0) if self._waits else None

    def await_done(self, count: int) -> None:
        while self.done < count:
            assert self.changed.wait(10)
            self.changed.clear()


def test_it_works_at_the_times_that_it_names_and_holds_no_greenlet_in_between(
    routine: Callable[[Work], Routine],
) -> None:
    rounds = Rounds(0.01, 0.0, None)
    each = routine(rounds)
    each.start()
    rounds.await_done(3)
    assert (each.greenlet, each.is_started) == (None, True)


def test_it_works_when_it_is_woken(routine: Callable[[Work], Routine]) -> None:
    rounds = Rounds(1000.0)
    each = routine(rounds)
    each.wake()
    each.start(1000)
    gevent.sleep(0)
    assert rounds.done == 0
    each.wake()
    rounds.await_done(1)
    each.wake()
    rounds.await_done(2)


def test_it_works_once_more_when_it_was_woken_meanwhile(routine: Callable[[Work], Routine]) -> None:
    goes_on, begun = Event(), []

    def work() -> None:
        begun.append(1)
        goes_on.wait()

    each = routine(work)
    each.start()
    gevent.sleep(0)
    each.wake()
    each.wake()
    assert begun == [1]
    goes_on.set()
    gevent.sleep(0)
    gevent.sleep(0)
    assert begun == [1, 1]


def test_stopping_ends_what_is_under_way_and_what_is_to_come(routine: Callable[[Work], Routine]) -> None:
    ended = []

    def work() -> None:
        try:
            gevent.sleep(1000)
        finally:
            ended.append(1)

    each = routine(work)
    each.start()
    gevent.sleep(0)
    assert has_routines(gevent.get_hub())
    each.stop()
    assert ended == [1]
    each.wake()
    gevent.sleep(0)
    assert (each.greenlet, each.is_started, ended) == (None, False, [1])


def test_it_may_stop_itself_and_be_started_again(routine: Callable[[Work], Routine]) -> None:
    rounds = Rounds()

    def work() -> float | None:
        each.stop()
        rounds()
        return 0.0

    each = routine(work)
    each.start()
    rounds.await_done(1)
    gevent.sleep(0)
    assert (rounds.done, each.is_started) == (1, False)
    each.start()
    rounds.await_done(2)


def test_after_an_exception_it_waits_to_be_woken(
    routine: Callable[[Work], Routine], capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    def work() -> float | None:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError
        return None

    each = routine(work)
    each.start()
    gevent.sleep(0)
    gevent.sleep(0)
    assert calls == [1]
    each.wake()
    gevent.sleep(0)
    assert calls == [1, 1]
    assert "ValueError" in capsys.readouterr().err
