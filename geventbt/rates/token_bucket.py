"""A rate in bytes a second: a bucket that fills with time, and from which senders and requesters take. Pure.

How it is shared is in `fair_rate.py`, and the greenlets that wait for it in `throttle.py`.
"""

from __future__ import annotations

import math

from geventbt import limits


class RateLimit:
    """A token bucket: at most `rate` bytes a second, and a burst after a pause.

    Times are seconds of one monotonic clock; a time before the last one counts as the last one.

    Args:
        rate: bytes a second, 0 for none at all, or None for no limit.
        now: the time; the bucket is full then.

    Raises:
        ValueError: for a rate below 0.
    """

    __slots__ = ("_filled_at", "_rate", "_tokens")

    def __init__(self, rate: int | None, now: float) -> None:
        self._rate = _checked(rate)
        self._filled_at = now
        self._tokens = float(self.burst)

    @property
    def rate(self) -> int | None:
        """Bytes a second, or None for no limit."""
        return self._rate

    @property
    def burst(self) -> int:
        """Bytes that are available at once after a pause: a quarter of a second's, and at least two blocks; none at a
        rate of 0."""
        if self._rate == 0:
            return 0
        return max(2 * limits.BLOCK, int((self._rate or 0) * limits.RATE_BURST))

    def set_rate(self, rate: int | None, now: float) -> None:
        """Change the rate; bytes that are available stay so, up to the new burst.

        Raises:
            ValueError: for a rate below 0.
        """
        rate = _checked(rate)
        self._fill(now)
        self._rate = rate
        self._tokens = min(self._tokens, self.burst)

    def take(self, count: int, now: float) -> int:
        """Take up to `count` bytes.

        Returns:
            The number of bytes taken, which may be 0.

        Raises:
            ValueError: for a count below 0.
        """
        if count < 0:
            raise ValueError(f"cannot take {count} bytes of a rate: must be 0 or more")
        if self._rate is None:
            return count
        self._fill(now)
        taken = min(count, max(0, int(self._tokens)))
        self._tokens -= taken
        return taken

    def available(self, now: float) -> int | None:
        """The number of bytes that `take` would give now, or None for any number."""
        if self._rate is None:
            return None
        self._fill(now)
        return max(0, int(self._tokens))

    def give_back(self, count: int) -> None:
        """Return bytes that were taken and not used."""
        self._tokens = min(self._tokens + count, self.burst)

    def affords(self, count: int, now: float) -> bool:
        """Whether `count` bytes are available. For who waits for more than a burst, more than a burst is saved."""
        if self._rate is None:
            return True
        self._fill(now, max(count, self.burst))
        return self._tokens >= count

    def wait_for(self, count: int, now: float) -> float:
        """Seconds until `affords(count)`, if nothing is taken before; infinite at a rate of 0."""
        if self.affords(count, now):
            return 0.0
        return (count - self._tokens) / self._rate if self._rate else math.inf

    def _fill(self, now: float, most: int = 0) -> None:
        passed = now - self._filled_at
        if passed > 0:
            self._filled_at = now
            filled = self._tokens + passed * (self._rate or 0)
            self._tokens = max(self._tokens, min(filled, most or self.burst))


def _checked(rate: int | None) -> int | None:
    if rate is not None and rate < 0:
        raise ValueError(f"a rate of {rate} bytes a second: must be 0 or more, or None for no limit")
    return rate
