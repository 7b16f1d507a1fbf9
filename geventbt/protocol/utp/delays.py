"""How long packets take: the round trip (RFC 6298), and how much of it they spend in queues (RFC 6817)."""

from __future__ import annotations

from collections import deque

from geventbt import limits

_RECENT = 3
"""Samples of which the least counts: a packet may be late for other reasons than a queue."""


class RoundTrip:
    """The smoothed round trip time, and the timeout that follows from it.

    Attributes:
        smoothed: seconds; None before the first sample.
    """

    __slots__ = ("_backoff", "_variance", "smoothed")

    def __init__(self) -> None:
        self.smoothed: float | None = None
        self._variance = 0.0
        self._backoff = 0

    def add(self, sample: float) -> None:
        """Take the time between a packet and its acknowledgement."""
        self._backoff = 0
        if self.smoothed is None:
            self.smoothed = sample
            self._variance = sample / 2
        else:
            self._variance += (abs(self.smoothed - sample) - self._variance) / 4
            self.smoothed += (sample - self.smoothed) / 8

    @property
    def timeout(self) -> float:
        """Seconds after which a packet that is not acknowledged is sent again; doubled by `back_off`."""
        base = limits.UTP_FIRST_TIMEOUT
        if self.smoothed is not None:
            base = max(limits.UTP_MIN_TIMEOUT, self.smoothed + 4 * self._variance)
        return float(min(base * 2**self._backoff, limits.UTP_MAX_TIMEOUT))

    def back_off(self) -> None:
        """Wait twice as long next time."""
        self._backoff += 1


class QueueMeter:
    """Estimates how long packets wait in queues on their way: what they take above the least that they ever took.

    The one-way delay tells of our direction alone, but of two clocks, which may drift apart; the round trip is of one
    clock, but of both directions. A queue of ours is in both, so that the lesser of the two is right where one is not.
    """

    __slots__ = ("_one_way", "_recent", "_round_trip", "_unwrapped")

    def __init__(self) -> None:
        self._one_way = _Minimum()
        self._round_trip = _Minimum()
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._unwrapped: int | None = None

    def add(self, difference: int, round_trip: float | None, now: float) -> None:
        """Take what an acknowledgement tells.

        Args:
            difference: of the clocks, as the peer's packet has it: 32 bits, in microseconds.
            round_trip: seconds of the packet that is acknowledged; None if it was sent twice.
            now: the time.
        """
        before = difference if self._unwrapped is None else self._unwrapped
        self._unwrapped = before + ((difference - before + 0x80000000) & 0xFFFFFFFF) - 0x80000000
        queued = self._one_way.above(self._unwrapped / 1e6, now)
        if round_trip is not None:
            queued = min(queued, self._round_trip.above(round_trip, now))
        self._recent.append(queued)

    @property
    def is_known(self) -> bool:
        """Whether there was a sample."""
        return bool(self._recent)

    @property
    def least_round_trip(self) -> float:
        """Seconds of a round trip without queues; 0 before anything is known."""
        return self._round_trip.least

    @property
    def queued(self) -> float:
        """Seconds in queues, of late; 0 before anything is known."""
        return min(self._recent, default=0.0)


class _Minimum:
    """The least of some minutes: of each minute, as routes change."""

    __slots__ = ("_minutes", "_until")

    def __init__(self) -> None:
        self._minutes: deque[float] = deque(maxlen=limits.UTP_DELAY_MINUTES)
        self._until = 0.0

    @property
    def least(self) -> float:
        """The least of all samples; 0 without one."""
        return min(self._minutes, default=0.0)

    def above(self, sample: float, now: float) -> float:
        """Take a sample. Returns by how much it is above the least."""
        if now >= self._until:
            self._until = now + 60.0
            self._minutes.append(sample)
        elif sample < self._minutes[-1]:
            self._minutes[-1] = sample
        return sample - self.least
