"""Several ways to the same thing, begun one after another: the first that succeeds wins (RFC 8305)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import gevent
from gevent.queue import Empty, Queue

_T = TypeVar("_T")


class Attempt(Protocol[_T]):
    """One of the ways."""

    def open(self) -> _T:
        """Block until it has succeeded. Raises OSError where it fails."""

    def discard(self, opened: _T) -> None:
        """Close what was opened too late."""


def first_of(attempts: Sequence[Attempt[_T]], delay: float) -> tuple[_T, int]:
    """Begin attempts in their order, the next one as soon as one fails or is silent for a while, until one succeeds.

    Args:
        attempts: at least one.
        delay: seconds without an outcome after which the next one is begun as well.

    Returns:
        What was opened, and the index of the attempt.

    Raises:
        OSError: every one has failed; the error of the first.
        Exception: one has failed otherwise.
    """
    if len(attempts) == 1:
        return attempts[0].open(), 0
    race = _Race(attempts)
    try:
        return race.run(delay)
    finally:
        race.end()


class _Race(Generic[_T]):
    def __init__(self, attempts: Sequence[Attempt[_T]]) -> None:
        self._attempts = attempts
        self._greenlets: list[gevent.Greenlet] = []
        self._opened: dict[int, _T] = {}
        self._failures: dict[int, Exception] = {}
        self._outcomes: Queue = Queue()
        self._winner: int | None = None
        self._is_over = False

    def run(self, delay: float) -> tuple[_T, int]:
        last = len(self._attempts) - 1
        for index in range(last + 1):
            self._greenlets.append(gevent.spawn(self._run, index))
            while len(self._failures) <= index:
                try:
                    outcome = self._outcomes.get(timeout=None if index == last else delay)
                except Empty:
                    break
                if outcome in self._opened:
                    self._winner = outcome
                    return self._opened[outcome], outcome
                if not isinstance(self._failures[outcome], OSError):
                    raise self._failures[outcome]
        raise self._failures[0]

    def _run(self, index: int) -> None:
        try:
            opened = self._attempts[index].open()
        except Exception as error:
            self._failures[index] = error
        else:
            if self._is_over:
                # In the same turn of the loop, before it could be killed.
                self._attempts[index].discard(opened)
                return
            self._opened[index] = opened
        self._outcomes.put(index)

    def end(self) -> None:
        """Give up the attempts that still run, and close what the others have opened. Does not block: a timeout or a
        kill in the meantime would lose what has won."""
        self._is_over = True
        gevent.killall(self._greenlets, block=False)
        for index, opened in self._opened.items():
            if index != self._winner:
                self._attempts[index].discard(opened)
