"""How often something may be done: token buckets for packets and messages, of all and of each source. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)


class Allowance:
    """A token bucket: `burst` at once after a pause, and `rate` a second.

    Args:
        rate: a second; infinite for no limit.
        burst: at once.
        now: the time; the bucket is full then.
    """

    __slots__ = ("_burst", "_filled_at", "_left", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._filled_at = now

    def take(self, now: float, count: float = 1.0) -> bool:
        """Take `count` if there are as many. Returns whether there were."""
        if now > self._filled_at:
            self._left = min(self._burst, self._left + (now - self._filled_at) * self._rate)
            self._filled_at = now
        if self._left < count:
            return False
        self._left -= count
        return True

    def wait(self, now: float, count: float = 1.0) -> float:
        """Seconds until there are `count`."""
        missing = count - self._left - max(0.0, now - self._filled_at) * self._rate
        # A little more, or rounding would have its user try in vain again and again.
        return missing / self._rate + 1e-6 if missing > 0 else 0.0


class Allowances(Generic[_K]):
    """An allowance for each of many sources; the one that came first is forgotten when there are too many.

    Args:
        rate, burst: of each.
        most: how many are remembered.
    """

    def __init__(self, rate: float, burst: float, most: int) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        self._of: dict[_K, Allowance] = {}

    def __len__(self) -> int:
        return len(self._of)

    def take(self, source: _K, now: float) -> bool:
        """Take one of a source's; returns whether there was one."""
        return self._get(source, now).take(now)

    def wait(self, source: _K, now: float) -> float:
        """Seconds until there is one of a source's."""
        known = self._of.get(source)
        return known.wait(now) if known is not None else 0.0

    def _get(self, source: _K, now: float) -> Allowance:
        known = self._of.get(source)
        if known is None:
            if len(self._of) >= self._most:
                del self._of[next(iter(self._of))]
            known = self._of[source] = Allowance(self._rate, self._burst, now)
        return known
