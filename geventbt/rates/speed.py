"""Bytes a second over the last few seconds."""

from __future__ import annotations

from collections import deque

WINDOW = 5
"""Seconds over which a speed is averaged."""


class SpeedMeter:
    """The speed of a transfer, from byte counts in buckets of one second."""

    __slots__ = ("_buckets", "_started")

    def __init__(self) -> None:
        self._buckets: deque[list[int]] | None = None
        self._started = 0.0

    def add(self, count: int, now: float) -> None:
        """Count bytes transferred at `now`, in seconds of the monotonic clock."""
        second = int(now)
        buckets = self._buckets
        if not buckets:
            # A wire that never transfers a block holds no buckets.
            self._buckets = deque([[second, count]], maxlen=WINDOW + 1)
            self._started = now
        elif buckets[-1][0] == second:
            buckets[-1][1] += count
        else:
            buckets.append([second, count])

    def speed(self, now: float) -> float:
        """Bytes a second, over at most `WINDOW` seconds."""
        if not self._buckets:
            return 0.0
        recent = sum(count for second, count in self._buckets if second > now - WINDOW)
        return recent / min(WINDOW, max(1.0, now - self._started))
