"""How many requests one peer is given at a time. Pure.

The window. A peer is kept busy when more is asked of it than is on its way: the product of its speed and the delay. We
ask for what it delivers in a second or more; see `RequestTime`. The speed is not known at first, so the window grows
with each block that comes, which doubles it each round trip, until the speed grows no more (TCP's and libtorrent's slow
start). Any peer that is faster than 8 MB/s ends at our bound of 500. A peer that snubs us has one request at a time;
its next byte ends that, and another slow start begins.

While a reader waits, or may soon, we ask for less: what keeps the peer busy. That is a round trip and a quarter, 0.05 s
and the longest pause of late ahead, by the best speed that was seen lately. What it seeks is then not behind much, also
with a peer that has written to its socket what we cancel. A peer that only sends on when we ask would stand still for
as long again as a packet that is lost holds it up. And a window that is too small makes pauses, and becomes larger. By
the best speed, as a smaller window must not be taken for a slower peer, or it would become smaller and smaller.

The ceiling. A peer that rejects requests has a shorter queue than we thought: what it had left to answer then is the
most that it gets. An eighth more is tried each second, as its queue may have grown. Without the fast extension it drops
requests without a word, and each costs a while until that is noticed: more is tried later each time.
"""

from __future__ import annotations

import math

from geventbt import limits
from geventbt.client.swarm.cancelled_requests import CancelledRequests
from geventbt.client.swarm.pace import SAMPLE, Pace
from geventbt.client.swarm.patience import Patience
from geventbt.client.swarm.request_time import RequestTime

MAX_CAUTION = 64
"""Seconds for which no more is requested from a peer that drops requests, at the most."""
_READER_TRIPS = 1.25
"""Round trips that are asked for ahead while there is a reader."""


class RequestWindow:
    """The requests that are to be outstanding with one peer. Passes what happens on to its parts.

    Args:
        rejects: whether the peer rejects what it drops.

    Attributes:
        pace: when the peer delivers what it is asked for.
        patience: when it has been silent for too long.
        cancelled: what comes although it was cancelled.
    """

    __slots__ = ("_caution", "_ceiling", "_hold", "_size", "_slow_start", "_time", "cancelled", "pace", "patience")

    def __init__(self, *, rejects: bool = True) -> None:
        self.pace = Pace()
        self.patience = Patience(self.pace, rejects=rejects)
        self.cancelled = CancelledRequests(self.pace)
        self._time = RequestTime(rejects=rejects)
        self._size = limits.FIRST_REQUESTS
        self._slow_start = True
        self._ceiling = limits.REQUESTS
        # Samples for which the ceiling stays after the next drop, and after the last one.
        self._caution = 1
        self._hold = 0

    def on_requests(self, now: float, owed: int = 0) -> None:
        """Note that requests were sent.

        Args:
            now: the time.
            owed: how many answers to what was cancelled are owed: one of them may come first.
        """
        self.pace.on_requests(now, owed)

    def on_blocks(self, count: int, pending: int, now: float) -> None:
        """Note that blocks came; once for all of them that were read together.

        Args:
            count: how many blocks we had asked for, at least 1.
            pending: how many requests are unanswered still.
            now: the time.
        """
        pace = self.pace
        if self.patience.is_lost:
            self.patience.on_life(now)
        pause = pace.on_blocks(count, pending, now)
        if self._slow_start:
            self._size = min(self._size + count, limits.REQUESTS)
        if pace.active >= SAMPLE:
            self._end_sample(pause)

    def on_bytes(self, now: float) -> None:
        """Note that a part of a block came that we had asked for."""
        if self.patience.is_lost:
            self.patience.on_life(now)
        pause = self.pace.on_bytes(now)
        if pause >= SAMPLE:
            self.patience.learn(pause)

    def on_late_block(self) -> None:
        """Note that a block came that was cancelled, or given up."""
        self.pace.on_late_block()
        self.cancelled.on_late_block()
        self.patience.on_late_block()

    def on_idle(self, now: float) -> None:
        """Note that nothing is to be expected: the peer chokes us or rejected what was pending, or we do not read."""
        # A peer that chokes us after a long silence has snubbed us all the same.
        if self.patience.is_overdue(now):
            self.on_timeout(now)
        self.pace.on_idle()

    def on_rejects(self, pending: int) -> None:
        """Note that the peer has rejected requests, though it does not choke us.

        Args:
            pending: how many requests are unanswered still.
        """
        self._slow_start = False
        self._ceiling = max(limits.MIN_REQUESTS, min(self._ceiling, pending))

    def on_dropped(self, pending: int) -> None:
        """Note that the peer has dropped requests without a word; otherwise as `on_rejects`."""
        self.on_rejects(pending)
        self._hold = self._caution
        self._caution = min(2 * self._caution, MAX_CAUTION)

    def on_timeout(self, now: float) -> None:
        """Note that the patience is at its end: what was known of the speed is worth nothing, as after one of TCP."""
        self.patience.on_timeout(now)
        self.pace.forget()
        self._time.forget()
        self._slow_start = True
        self._size = 1

    def size(self, reqq: int, now: float, *, is_read: bool = False) -> int:
        """How many requests may be outstanding now, at least 1.

        Args:
            reqq: how many the peer says it takes (BEP 10), or `limits.DEFAULT_REQQ`.
            now: the time.
            is_read: whether there is a reader.
        """
        if self.patience.snubbed(now):
            return 1
        size = min(self._size, self._ceiling, reqq)
        pace = self.pace
        if is_read and (rate := pace.rate):
            ahead = limits.READER_QUEUE_TIME + _READER_TRIPS * pace.delay + pace.longest
            size = min(size, max(limits.MIN_REQUESTS, math.ceil(max(rate, pace.best_rate) * ahead)))
        return max(1, size)

    def urgent_size(self, reqq: int, now: float) -> int:
        """How many requests may be outstanding if a reader waits for the last ones: half a window more, where that is
        the soonest, but few from a peer that may turn out to be slow."""
        if not self.pace.rate:
            return limits.FIRST_REQUESTS
        return min(reqq, 3 * self.size(reqq, now, is_read=True) // 2)

    def _end_sample(self, pause: float) -> None:
        if not self.pace.end_sample():
            self._slow_start = False
        if not self._slow_start:
            self._time.on_sample(self.pace.rate, self.pace.delay)
            wanted = math.ceil(self.pace.rate * self._time.seconds)
            self._size = max(limits.MIN_REQUESTS, min(wanted, limits.REQUESTS))
        self.cancelled.fade()
        self.patience.learn(pause)
        if self._hold:
            self._hold -= 1
        else:
            self._ceiling = min(self._ceiling + max(1, self._ceiling >> 3), limits.REQUESTS)
