"""How many requests one peer is given at a time, and when its silence has become too long. Pure.

The window. A peer is kept busy when more is asked of it than is on its way: the product of its speed and the delay. We
ask for what it delivers in three seconds, as libtorrent does (`request_queue_time`): more than any round trip and turn
of a busy seed, and for a peer of 20 kB/s still only four blocks. The speed is not known at first, so the window grows
with each block that comes, which doubles it each round trip, until the speed grows no more (TCP's and libtorrent's slow
start). Any peer that is faster than 2.7 MB/s ends at our bound of 500.

The patience. A peer snubs us when requests are unanswered for longer than its pauses are wont to be: their mean and
deviation are followed as those of round trips are in RFC 6298, over the one pause that ends each second of waiting.
That is every pause of more than a second; the many short ones inside a burst do not hide it. A snubbed peer has one
request at a time; its next block ends that, and another slow start begins.
"""

from __future__ import annotations

import math

from geventbt import limits

_SAMPLE = 1.0
"""Seconds of waiting for blocks that a speed is measured over."""
_GROWTH = 1.1
"""A speed that has grown by less since the last sample is the peer's own, and no longer our window's."""


class RequestWindow:
    """The requests that are to be outstanding with one peer.

    The clock only runs while there are requests to be answered: between `on_requests`, and blocks that leave none
    pending or `on_idle`. All times are seconds of one monotonic clock.
    """

    __slots__ = (
        "_active",
        "_blocks",
        "_deviation",
        "_last",
        "_pause",
        "_rate",
        "_size",
        "_slow_start",
        "_snubbed",
        "_waiting",
        "timeout",
    )

    def __init__(self) -> None:
        self.timeout = limits.FIRST_SNUB_TIMEOUT
        """Seconds without a block after which the peer has snubbed us."""
        self._size = limits.FIRST_REQUESTS
        self._slow_start = True
        self._rate = 0.0
        self._blocks = 0
        self._active = 0.0
        self._waiting = False
        self._last = 0.0
        self._pause: float | None = None
        self._deviation = 0.0
        self._snubbed = False

    def on_requests(self, now: float) -> None:
        """Note that requests were sent."""
        if not self._waiting:
            self._waiting = True
            self._last = now

    def on_blocks(self, count: int, pending: int, now: float) -> None:
        """Note that blocks came; once for all of them that were read together.

        Args:
            count: how many blocks we had asked for, at least 1.
            pending: how many requests are unanswered still.
            now: the time.
        """
        self._snubbed = False
        pause = now - self._last if self._waiting else 0.0
        self._active += pause
        self._blocks += count
        self._last = now
        self._waiting = pending > 0
        if self._slow_start:
            self._size = min(self._size + count, limits.REQUESTS)
        if self._active >= _SAMPLE:
            self._end_sample(pause)

    def on_idle(self, now: float) -> None:
        """Note that nothing is to be expected: the peer chokes us or rejected what was pending, or we do not read."""
        # A peer that chokes us after a long silence has snubbed us all the same.
        self.snubbed(now)
        self._waiting = False

    def size(self, reqq: int, now: float) -> int:
        """How many requests may be outstanding now, at least 1.

        Args:
            reqq: how many the peer says it takes (BEP 10), or `limits.DEFAULT_REQQ`.
            now: the time.
        """
        if self.snubbed(now):
            return 1
        return max(1, min(self._size, reqq))

    def snubbed(self, now: float) -> bool:
        """Whether the peer has left requests unanswered for longer than is usual for it, and sent nothing since."""
        if not self._snubbed and self._waiting and now - self._last > self.timeout:
            self._snubbed = True
            # As TCP does after a timeout: what was known of its speed is worth nothing.
            self._slow_start = True
            self._size = 1
            self._rate = 0.0
        return self._snubbed

    def _end_sample(self, pause: float) -> None:
        rate = self._blocks / self._active
        if rate < self._rate * _GROWTH:
            self._slow_start = False
        # A faster peer is followed at once, a slower one by halves: a pause is not yet a slower peer.
        self._rate = rate if rate > self._rate else (rate + self._rate) / 2
        if not self._slow_start:
            wanted = math.ceil(self._rate * limits.REQUEST_QUEUE_TIME)
            self._size = max(limits.MIN_REQUESTS, min(wanted, limits.REQUESTS))
        self._learn_pause(pause)
        self._blocks, self._active = 0, 0.0

    def _learn_pause(self, pause: float) -> None:
        """Follow the mean and the deviation of pauses, and derive the timeout (RFC 6298, 2.2 to 2.5).

        Twice the mean is the least, so that a peer as regular as a clock may be late once.
        """
        if self._pause is None:
            self._pause, self._deviation = pause, pause / 2
        else:
            self._deviation += (abs(self._pause - pause) - self._deviation) / 4
            self._pause += (pause - self._pause) / 8
        patience = self._pause + max(4 * self._deviation, self._pause)
        self.timeout = min(max(patience, limits.MIN_SNUB_TIMEOUT), limits.MAX_SNUB_TIMEOUT)
