"""The share of a turn of the loop that reading may take, with a loop and readers that are under our control."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import pytest

from geventbt import limits
from geventbt.wire.transports.turn import ReadingTurn


class Loop:
    """A loop whose turns begin when it is told so."""

    def __init__(self) -> None:
        self.time = 1.0
        self.timers: list[Any] = []

    def now(self) -> float:
        return self.time

    def timer(self, seconds: float) -> Loop:
        return self

    def start(self, function: Any, *args: Any) -> None:
        self.timers.append((function, args))

    def close(self) -> None:
        """A timer is closed when it has fired."""

    def turn(self) -> None:
        self.time += 0.001
        timers, self.timers = self.timers, []
        for function, args in timers:
            function(*args)


def busy(seconds: float) -> None:
    until = perf_counter() + seconds
    while perf_counter() < until:
        pass


@pytest.fixture
def loop() -> Loop:
    return Loop()


def test_readers_run_at_once_while_there_is_time(loop):
    turn, calls = ReadingTurn(), []
    for name in "abc":
        turn.run(loop, lambda name=name: calls.append(name))
    assert calls == ["a", "b", "c"]
    assert not loop.timers


def test_readers_that_come_too_late_are_the_first_of_the_next_turns(loop):
    turn, calls = ReadingTurn(), []

    def reader(name):
        def read():
            calls.append(name)
            busy(limits.TURN)

        return read

    readers = [reader(name) for name in "abc"]
    for _ in range(2):
        for read in readers:
            turn.run(loop, read)
    assert calls == ["a"], "nor does one wait twice"
    loop.turn()
    assert calls == ["a", "b"]
    for read in readers:
        turn.run(loop, read)
    loop.turn()
    assert calls[:3] == ["a", "b", "c"]


def test_what_is_charged_counts_as_spent(loop):
    turn, calls = ReadingTurn(), []
    turn.run(loop, lambda: turn.charge(limits.TURN))
    turn.run(loop, lambda: calls.append("late"))
    assert not calls
    loop.turn()
    assert calls == ["late"]


def test_a_reader_that_is_forgotten_does_not_run(loop):
    turn, calls = ReadingTurn(), []

    def late():
        calls.append("late")

    turn.run(loop, lambda: turn.charge(limits.TURN))
    turn.run(loop, late)
    turn.forget(late)
    loop.turn()
    assert not calls


def test_readers_that_wait_are_not_asked_while_there_is_no_time(loop):
    turn, calls = ReadingTurn(), []
    turn.run(loop, lambda: turn.charge(limits.TURN))
    for name in "abc":
        turn.run(loop, lambda name=name: (calls.append(name), turn.charge(limits.TURN)))
    for expected in ("a", "ab", "abc", "abc"):
        loop.turn()
        assert "".join(calls) == expected
    assert not loop.timers


def test_time_is_spent_in_one_turn_and_there_again_in_the_next(loop):
    turn = ReadingTurn()
    assert turn.has_time(loop)
    turn.charge(limits.TURN)
    assert not turn.has_time(loop)
    loop.turn()
    assert turn.has_time(loop)
