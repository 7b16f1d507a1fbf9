"""The share of a turn of the event loop that all wires of a hub may take for what they receive."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

from geventbt import limits


class ReadingTurn:
    """Runs readers until the time of the turn is spent, and those that come too late first in the next turn.

    One read is short, but fifty peers that send only what costs us the most would hold up everything else in the hub
    for the sum of theirs. A reader that waits costs nothing until there is time for it: there may be thousands.
    """

    __slots__ = ("_began_at", "_left", "_timer", "_waiting")

    def __init__(self) -> None:
        # The time of the loop stands still in each of its turns.
        self._began_at = 0.0
        self._left = limits.TURN
        # In the order in which they came.
        self._waiting: OrderedDict[Callable[[], None], None] = OrderedDict()
        self._timer: Any = None

    def run(self, loop: Any, read: Callable[[], None]) -> None:
        """Call a reader now, or in the next turn of the loop, which is the hub's."""
        if not self.has_time(loop):
            self._wait(loop, read)
            return
        started = perf_counter()
        read()
        self._left -= perf_counter() - started

    def has_time(self, loop: Any) -> bool:
        """Whether the time of this turn of the loop is not spent yet."""
        now = loop.now()
        if now != self._began_at:
            self._began_at = now
            self._left = limits.TURN
        return self._left > 0

    def charge(self, seconds: float) -> None:
        """Account for what is going to be done because of what was read."""
        self._left -= seconds

    def forget(self, read: Callable[[], None]) -> None:
        """Do not call a reader that waits for the next turn."""
        self._waiting.pop(read, None)

    def _wait(self, loop: Any, read: Callable[[], None]) -> None:
        self._waiting[read] = None
        if self._timer is None:
            # A callback would run in this very turn.
            self._timer = loop.timer(0.0)
            self._timer.start(self._run_waiting, loop)

    def _run_waiting(self, loop: Any) -> None:
        self._timer.close()
        self._timer = None
        while self._waiting and self.has_time(loop):
            read, _ = self._waiting.popitem(last=False)
            self.run(loop, read)
        if self._waiting and self._timer is None:
            self._timer = loop.timer(0.0)
            self._timer.start(self._run_waiting, loop)


# A turn refers to no hub, which would keep it alive.
_turns: WeakKeyDictionary[Any, ReadingTurn] = WeakKeyDictionary()


def turn_of(hub: Any) -> ReadingTurn:
    """The turn of a hub."""
    turn = _turns.get(hub)
    if turn is None:
        turn = _turns[hub] = ReadingTurn()
    return turn
