"""Whose turn it is at something that is shared: the order in which the waiting ones are served. Pure.

Start-time fair queuing (Goyal, Vin, Cheng, SIGCOMM 1996). Everyone has a clock that advances by what it gets, and the
one whose clock is furthest behind is next: so those that always want more get equal shares, of however different size
what they take at a time is. One that comes, or comes back, has its clock set to that of the one being served: what was
not used before is not made up for, and one that wants less than its share gets all that it wants.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_MIN_KEPT = 32
"""Clocks of keys that do not wait which are kept, however few wait."""


class FairQueue(Generic[K]):
    """Waiting keys, in the order in which they are to be served."""

    def __init__(self) -> None:
        self._clocks: dict[K, float] = {}
        self._time = 0.0
        self._amounts: dict[K, int] = {}

    def __len__(self) -> int:
        return len(self._amounts)

    def __contains__(self, key: object) -> bool:
        return key in self._amounts

    def __iter__(self) -> Iterator[K]:
        """The waiting keys, the next one first; equals in the order in which they came."""
        return iter(sorted(self._amounts, key=self._clocks.__getitem__))

    @property
    def first(self) -> K | None:
        """The key that is next, or None when none waits."""
        return min(self._amounts, key=self._clocks.__getitem__, default=None)

    def amount(self, key: K) -> int:
        """The amount that a waiting key needs."""
        return self._amounts[key]

    def enter(self, key: K, amount: int) -> None:
        """Wait, or wait for another amount than before.

        Args:
            key: who waits.
            amount: what it needs, at the least, when it is served.
        """
        if key not in self._amounts:
            self._clocks[key] = max(self._clocks.get(key, 0.0), self._time)
        self._amounts[key] = amount

    def leave(self, key: K) -> None:
        """Wait no more; without effect if the key does not wait."""
        self._amounts.pop(key, None)

    def charge(self, key: K, amount: float) -> None:
        """Note that a key has got something; it need not have waited. What is given back is a negative amount."""
        start = max(self._clocks.get(key, 0.0), self._time) if key not in self._amounts else self._clocks[key]
        self._clocks[key] = start + amount
        if amount > 0:
            self._time = max(self._time, start)
        if len(self._clocks) > 2 * len(self._amounts) + _MIN_KEPT:
            self._clocks = {
                each: clock for each, clock in self._clocks.items() if each in self._amounts or clock > self._time
            }
