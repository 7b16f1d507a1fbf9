"""How fast and how evenly one peer delivers, and so when a block will be here. Pure.

The clock only runs while there are requests to be answered. After a delay the first block comes, then one an interval.
The delay is a round trip, measured where nothing else could come first. The speed is that of each second of waiting: a
faster peer is followed at once, a slower one by halves, as a pause is not yet a slower peer.

A packet that is lost holds up for a round trip what comes behind it, so the longest pause of late is followed as well.
A peer that is to be asked is only counted on for what comes in spite of such a pause. What was asked for already is
expected without it, but at worst: most of the time there is none, and when one ends, what has arrived behind it comes
at once. Only a peer that is silent for longer than it should be is expected to be so for twice as long again.
"""

from __future__ import annotations

from geventbt.client.pieces.delivery import Delivery

SAMPLE = 1.0
"""Seconds of waiting for blocks that a speed is measured over."""
_BEST_KEPT = 0.98
"""The part of the best speed that is left of it after each sample."""
_PAUSE_KEPT = 0.8
"""The part of the longest pause that is left of it after each sample."""
_GROWTH = 1.1
"""A speed that has grown by less since the last sample is the peer's own, and no longer our window's."""
_DRY_TRIPS = 2.5
"""Round trips that the rest of its requests may take a peer that is to look for others: blocks come in bursts."""
_PESSIMISM = 2.0
"""How many times as long as it is late already a peer is expected to be late."""
_UNKNOWN_DELAY, _UNKNOWN_INTERVAL = 0.1, 0.5
"""Seconds that a peer of which nothing is known is thought to need for an answer, and for each block."""


class Pace:
    """The pace of one peer. All times are seconds of one monotonic clock.

    Attributes:
        is_waiting: whether there are requests to be answered.
        last: the last sign of life, or when the waiting began.
        active: seconds of waiting in this sample.
        best_rate: blocks a second, the most of late.
        longest: the longest pause of late between bytes, in seconds.
    """

    __slots__ = (
        "_asked",
        "_blocks",
        "_delay",
        "_is_even",
        "_is_first",
        "_rate",
        "active",
        "best_rate",
        "is_waiting",
        "last",
        "longest",
    )

    def __init__(self) -> None:
        self.is_waiting = False
        self.last = self._asked = float("-inf")
        self.active = self.best_rate = self.longest = 0.0
        self._rate = 0.0
        self._blocks = 0
        # The least time from a request, where no other one was pending, to the first byte.
        self._delay: float | None = None
        self._is_first = False
        # Whether the pause that is going on is one between bytes in which nothing else came.
        self._is_even = False

    # ------------------------------------------------------------------ what happens

    def on_requests(self, now: float, owed: int) -> None:
        """Note that requests were sent; see `RequestWindow.on_requests`."""
        if not self.is_waiting:
            self.is_waiting = True
            self._is_first = not owed
            self._is_even = False
            self.last = self._asked = now

    def on_blocks(self, count: int, pending: int, now: float) -> float:
        """Note that blocks came, and how many requests are pending still. Returns the seconds since the last sign."""
        pause = now - self.last if self.is_waiting else 0.0
        self.is_waiting = pending > 0
        self.last = now
        self.active += pause
        self._blocks += count
        if not self._is_even:
            self._end_first_pause(pause)
        elif pause > self.longest:
            self.longest = pause
        return pause

    def on_bytes(self, now: float) -> float:
        """Note that a part of a block came. Returns the seconds since the last sign of life."""
        return self.on_blocks(0, self.is_waiting, now)

    def on_late_block(self) -> None:
        """Note that a block came that is not awaited."""
        self._is_even = False

    def on_idle(self) -> None:
        """Note that there is nothing to wait for."""
        self.is_waiting = False

    def skip(self, now: float) -> None:
        """Forget the pause that is going on: it says nothing of the peer."""
        self.last = now
        self._is_first = self._is_even = False

    def forget(self) -> None:
        """Forget the speed."""
        self._rate = self.best_rate = 0.0

    def _end_first_pause(self, pause: float) -> None:
        self._is_even = True
        if self._is_first:
            self._is_first = False
            self._delay = pause if self._delay is None else min(self._delay, pause)

    def end_sample(self) -> bool:
        """Begin another sample. Returns whether the peer has become faster with it."""
        rate, before = self._blocks / self.active, self._rate
        self._rate = rate if rate > before else (rate + before) / 2
        self.best_rate = max(self._rate, self.best_rate * _BEST_KEPT)
        self.longest *= _PAUSE_KEPT
        self._blocks, self.active = 0, 0.0
        return rate >= before * _GROWTH

    # ------------------------------------------------------------------ what is known

    @property
    def delay(self) -> float:
        """Seconds from a request to the first byte of its answer, where no other one is pending."""
        return _UNKNOWN_DELAY if self._delay is None else self._delay

    @property
    def rate(self) -> float:
        """Blocks a second; 0 if it is not known."""
        if self._rate or not self.active:
            return self._rate
        return self._blocks / max(self.active - self.delay, self.active / 4)

    @property
    def interval(self) -> float:
        """Seconds from each block to the next."""
        rate = self.rate
        return 1 / rate if rate else _UNKNOWN_INTERVAL

    def silence(self, now: float) -> float:
        """Seconds since the last sign of life; 0 if there is nothing to wait for."""
        return now - self.last if self.is_waiting else 0.0

    def delivery(self, pending: int, now: float, patience: float = 0.0) -> Delivery:
        """When the peer would deliver what it is asked for now, behind `pending` other requests.

        Args:
            pending: how many there are.
            now: the time.
            patience: seconds from now to the grace of the delivery.
        """
        # What is on its way comes while the request travels.
        answer = max(self.delay, pending * self.interval)
        first = now + self._lateness(now) + answer + self.interval + self.longest
        return Delivery(first, self.interval, now + patience)

    def expected(self, place: int, now: float, *, at_worst: bool = False) -> float:
        """When the peer will have delivered what it was asked for already, behind `place` other requests.

        Args:
            place: how many there are.
            now: the time.
            at_worst: whether it is held up once more, as it was of late.
        """
        answer = max(0.0, self._asked + self.delay - now)
        pause = self.longest if at_worst else 0.0
        return now + self._lateness(now) + answer + (place + 1) * self.interval + pause

    def _lateness(self, now: float) -> float:
        usual = self.interval + (self.delay if self.last == self._asked else self.delay / 2)
        return _PESSIMISM * max(0.0, self.silence(now) - usual)

    def runs_dry(self, pending: int) -> bool:
        """Whether the peer may have sent all that is pending before other requests reach it, or soon after."""
        return pending * self.interval <= _DRY_TRIPS * self.delay
