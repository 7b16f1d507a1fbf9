"""How many requests one peer is given at a time, and when its silence has become too long. Pure.

The window. A peer is kept busy when more is asked of it than is on its way: the product of its speed and the delay. We
ask for what it delivers in three seconds, as libtorrent does (`request_queue_time`): more than any round trip and turn
of a busy seed, and for a peer of 20 kB/s still only four blocks. The speed is not known at first, so the window grows
with each block that comes, which doubles it each round trip, until the speed grows no more (TCP's and libtorrent's slow
start). Any peer that is faster than 2.7 MB/s ends at our bound of 500.

While a reader waits, or may soon, we ask for less: what keeps the peer busy. That is a round trip and a quarter, 0.05 s
and the longest pause of late ahead, by the best speed that was seen lately. What it seeks is then not behind much, also
with a peer that has written to its socket what we cancel. A packet that is lost holds up for a round trip what comes
behind it: a peer that only sends on when we ask would stand still as long again. And a window that is too small makes
pauses, and becomes larger. By the best speed, as a smaller window must not be taken for a slower peer, or it would
become smaller and smaller. A peer is only counted on for what comes in spite of such a pause.

The patience. Any byte of a block that was asked for is a sign of life. A peer snubs us when there is none for longer
than its pauses are wont to be: their mean and deviation are followed as those of round trips are in RFC 6298, over the
one pause that ends each second of waiting. That is every pause of more than a second; the many short ones inside a
burst do not hide it. A snubbed peer has one request at a time, and twice the patience after each timeout (5.5); its
next byte ends that, what was learned of its pauses is forgotten, and another slow start begins. Where a peer may have
dropped all without a word, a silence that a request after the timeout ended is no pause of its own (Karn's algorithm);
a late block shows that it was.

The ceiling. A peer that rejects requests has a shorter queue than we thought: what it had left to answer then is the
most that it gets. An eighth more is tried each second, as its queue may have grown. Without the fast extension it drops
requests without a word, and each costs a while until that is noticed: more is tried later each time.
"""

from __future__ import annotations

import math

from geventbt import limits
from geventbt.client.pieces.delivery import Delivery

_SAMPLE = 1.0
"""Seconds of waiting for blocks that a speed is measured over."""
MAX_CAUTION = 64
"""Seconds for which no more is requested from a peer that drops requests, at the most."""
_BEST_KEPT = 0.98
"""The part of the best speed that is left of it after each sample."""
_PAUSE_KEPT = 0.8
"""The part of the longest pause that is left of it after each sample."""
_DRY_TRIPS = 2.5
"""Round trips that the rest of its requests may take a peer that is to look for others: blocks come in bursts."""
_READER_TRIPS = 1.25
"""Round trips that are asked for ahead while there is a reader."""
_PESSIMISM = 2.0
"""How many times as long as it is late already a peer is expected to be late, where a reader waits for it."""
_ANSWERED = 1.0
"""Seconds after which what was cancelled has come, or never will."""
_UNKNOWN_DELAY, _UNKNOWN_INTERVAL = 0.1, 0.5
"""Seconds that a peer of which nothing is known is thought to need for an answer, and for each block."""
_SHORT, _SHORT_PAUSES = 0.25, 3
"""The part of the mean pause that is much shorter, and how many such pauses in a row show another mean."""
_GROWTH = 1.1
"""A speed that has grown by less since the last sample is the peer's own, and no longer our window's."""


class RequestWindow:
    """The requests that are to be outstanding with one peer.

    The clock only runs while there are requests to be answered: between `on_requests`, and blocks that leave none
    pending or `on_idle`. All times are seconds of one monotonic clock.
    """

    __slots__ = (
        "_active",
        "_asked",
        "_best_rate",
        "_blocks",
        "_came_late",
        "_cancelled_at",
        "_caution",
        "_ceiling",
        "_committed",
        "_delay",
        "_deviation",
        "_hold",
        "_is_first",
        "_is_late",
        "_is_regular",
        "_last",
        "_longest",
        "_may_come_late",
        "_pause",
        "_rate",
        "_rejects",
        "_short_pauses",
        "_silence",
        "_since",
        "_size",
        "_slow_start",
        "_snubbed",
        "_waiting",
        "timeout",
    )

    def __init__(self, *, rejects: bool = True) -> None:
        self.timeout = limits.FIRST_SNUB_TIMEOUT
        """Seconds without a sign of life after which the peer has snubbed us."""
        self._size = limits.FIRST_REQUESTS
        self._ceiling = limits.REQUESTS
        # Samples for which the ceiling stays after the next drop, and after the last one.
        self._caution = 1
        self._hold = 0
        self._slow_start = True
        self._rate = self._best_rate = 0.0
        self._blocks = 0
        self._active = 0.0
        # The least time from a request, where no other one was pending, to the first byte.
        self._delay: float | None = None
        self._is_first = False
        self._asked = self._cancelled_at = float("-inf")
        self._came_late = self._may_come_late = self._committed = 0
        self._waiting = False
        # The longest pause of late between bytes, and whether nothing else came in the one that is going on.
        self._longest = 0.0
        self._is_regular = True
        # The last sign of life, and when the patience began to run: then, or at the last timeout.
        self._last = self._since = 0.0
        self._pause: float | None = None
        self._deviation = 0.0
        self._short_pauses = 0
        self._snubbed = False
        # Whether it rejects what it drops. Where it does not: whether it has answered after a timeout what it was asked
        # before, and the silence before that timeout.
        self._rejects = rejects
        self._is_late = False
        self._silence = 0.0

    def on_requests(self, now: float, owed: int = 0) -> None:
        """Note that requests were sent.

        Args:
            now: the time.
            owed: how many answers to what was cancelled are owed: one of them may come first.
        """
        if not self._waiting:
            self._waiting = True
            self._is_first = not owed
            self._last = self._since = self._asked = now

    def on_cancel(self, kept: int, count: int, now: float) -> None:
        """Note that requests were cancelled, to have others in front.

        Args:
            kept: how many of the first were not, as they would come anyway.
            count: how many were.
            now: the time.
        """
        self._came_late, self._may_come_late = kept, count
        self._cancelled_at = now

    def ghosts(self, owed: int, now: float) -> int:
        """How many blocks may come in front of those that are pending, although they were cancelled.

        Args:
            owed: how many answers to what was cancelled are owed. Some peers never answer.
            now: the time.
        """
        return owed if now < self._cancelled_at + _ANSWERED + owed * self._interval else 0

    def on_late_block(self) -> None:
        """Note that a block came that was cancelled: what a peer has written to its socket is not cancelled."""
        self._is_regular = False
        if self._may_come_late:
            self._may_come_late -= 1
            self._came_late += 1
            self._committed = max(self._committed, self._came_late)
        if self._snubbed:
            self._is_late = True
        elif self._silence:
            self._learn_first_pause(self._silence)
            self._silence = 0.0

    def on_bytes(self, now: float) -> None:
        """Note that a part of a block came that we had asked for."""
        pause = self._note_life(now)
        self._active += pause
        if pause >= _SAMPLE:
            self._learn_pause(pause)

    def on_blocks(self, count: int, pending: int, now: float) -> None:
        """Note that blocks came; once for all of them that were read together.

        Args:
            count: how many blocks we had asked for, at least 1.
            pending: how many requests are unanswered still.
            now: the time.
        """
        pause = self._note_life(now)
        self._active += pause
        self._blocks += count
        self._waiting = pending > 0
        if self._slow_start:
            self._size = min(self._size + count, limits.REQUESTS)
        if self._active >= _SAMPLE:
            self._end_sample(pause)

    def on_idle(self, now: float) -> None:
        """Note that nothing is to be expected: the peer chokes us or rejected what was pending, or we do not read."""
        # A peer that chokes us after a long silence has snubbed us all the same.
        if self.is_overdue(now):
            self.on_timeout(now)
        self._waiting = False

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

    def size(self, reqq: int, now: float, *, is_read: bool = False) -> int:
        """How many requests may be outstanding now, at least 1.

        Args:
            reqq: how many the peer says it takes (BEP 10), or `limits.DEFAULT_REQQ`.
            now: the time.
            is_read: whether there is a reader.
        """
        if self.snubbed(now):
            return 1
        size = min(self._size, self._ceiling, reqq)
        if is_read and self._speed:
            ahead = limits.READER_QUEUE_TIME + _READER_TRIPS * self.delay + self._longest
            size = min(size, max(limits.MIN_REQUESTS, math.ceil(max(self._speed, self._best_rate) * ahead)))
        return max(1, size)

    def urgent_size(self, reqq: int, now: float) -> int:
        """How many requests may be outstanding if a reader waits for the last ones: half a window more, where that is
        the soonest, but few from a peer that may turn out to be slow."""
        if not self._speed:
            return limits.FIRST_REQUESTS
        return min(reqq, 3 * self.size(reqq, now, is_read=True) // 2)

    def delivery(self, pending: int, now: float, patience: float = 0.0) -> Delivery:
        """When it would deliver what it is asked for now, behind `pending` other requests.

        A peer that is silent for longer than it should be is expected to be so for some times as long again.

        Args:
            pending: how many there are.
            now: the time.
            patience: seconds from now to the grace of the delivery.
        """
        # What is on its way comes while the request travels.
        answer = max(self.delay, pending * self._interval)
        first = now + self._late(now) + answer + self._interval + self._longest
        return Delivery(first, self._interval, now + patience)

    def expected(self, place: int, now: float) -> float:
        """When it will have delivered what it was asked for already, behind `place` other requests."""
        answer = max(0.0, self._asked + self.delay - now)
        return now + self._late(now) + answer + (place + 1) * self._interval

    def _late(self, now: float) -> float:
        usual = self._interval + (self.delay if self._last == self._asked else self.delay / 2)
        return _PESSIMISM * max(0.0, now - self._last - usual) if self._waiting else 0.0

    def runs_dry(self, pending: int) -> bool:
        """Whether the peer may have sent all that is pending before other requests reach it, or soon after."""
        return pending * self._interval <= _DRY_TRIPS * self.delay

    @property
    def under_way(self) -> int:
        """How many of the pending blocks would come although they are cancelled."""
        return max(self._committed, math.ceil(self.delay / self._interval))

    @property
    def delay(self) -> float:
        """Seconds from a request to the first byte of its answer, where no other one is pending."""
        return _UNKNOWN_DELAY if self._delay is None else self._delay

    @property
    def _interval(self) -> float:
        return 1 / self._speed if self._speed else _UNKNOWN_INTERVAL

    @property
    def _speed(self) -> float:
        """Blocks a second; 0 if it is not known."""
        if self._rate or not self._active:
            return self._rate
        return self._blocks / max(self._active - self.delay, self._active / 4)

    def snubbed(self, now: float) -> bool:
        """Whether the peer has left requests unanswered for longer than is usual for it, and sent nothing since."""
        return self._snubbed or self.is_overdue(now)

    def is_overdue(self, now: float) -> bool:
        """Whether the patience is at its end: `on_timeout` is to be called, and what was asked for asked of others."""
        return self._waiting and now - self._since > self.timeout

    def silence(self, now: float) -> float:
        """Seconds for which the peer has left requests unanswered; 0 if there are none."""
        return now - self._since if self._waiting else 0.0

    def on_timeout(self, now: float) -> None:
        """Have twice the patience from now on."""
        self._snubbed = True
        self._since = now
        self.timeout = min(2 * self.timeout, limits.MAX_SNUB_TIMEOUT)
        # As TCP does after a timeout: what was known of its speed is worth nothing.
        self._slow_start = True
        self._size = 1
        self._rate = self._best_rate = 0.0

    def _note_life(self, now: float) -> float:
        """Note a sign of life. Returns the seconds that it has been waited for."""
        pause = now - self._last if self._waiting else 0.0
        if self._is_regular and self._last != self._asked:
            self._longest = max(self._longest, pause)
        self._is_regular = True
        self._last = self._since = now
        if self._is_first:
            self._is_first = False
            self._delay = pause if self._delay is None else min(self._delay, pause)
        if self._snubbed:
            self._snubbed = False
            if self._rejects or self._is_late:
                self._learn_first_pause(pause)
            else:
                # All may have been dropped, and this be the answer to another request.
                self._silence, pause = pause, 0.0
            self._is_late = False
        return pause

    def _end_sample(self, pause: float) -> None:
        rate = self._blocks / self._active
        if rate < self._rate * _GROWTH:
            self._slow_start = False
        # A faster peer is followed at once, a slower one by halves: a pause is not yet a slower peer.
        self._rate = rate if rate > self._rate else (rate + self._rate) / 2
        self._best_rate = max(self._rate, self._best_rate * _BEST_KEPT)
        self._longest *= _PAUSE_KEPT
        self._committed -= self._committed > 0
        if not self._slow_start:
            wanted = math.ceil(self._rate * limits.REQUEST_QUEUE_TIME)
            self._size = max(limits.MIN_REQUESTS, min(wanted, limits.REQUESTS))
        self._learn_pause(pause)
        if self._hold:
            self._hold -= 1
        else:
            self._ceiling = min(self._ceiling + max(1, self._ceiling >> 3), limits.REQUESTS)
        self._blocks, self._active = 0, 0.0

    def _learn_first_pause(self, pause: float) -> None:
        self._pause = None
        self._learn_pause(pause)

    def _learn_pause(self, pause: float) -> None:
        """Follow the mean and the deviation of pauses, and derive the timeout (RFC 6298, 2.2 to 2.5).

        Twice the mean is the least, so that a peer as regular as a clock may be late once. Several pauses in a row that
        are much shorter than the mean show that it was a stall, which is forgotten.
        """
        is_short = self._pause is not None and pause < _SHORT * self._pause
        self._short_pauses = self._short_pauses + 1 if is_short else 0
        if self._pause is None or self._short_pauses == _SHORT_PAUSES:
            self._pause, self._deviation = pause, pause / 2
        else:
            self._deviation += (abs(self._pause - pause) - self._deviation) / 4
            self._pause += (pause - self._pause) / 8
        patience = self._pause + max(4 * self._deviation, self._pause)
        self.timeout = min(max(patience, limits.MIN_SNUB_TIMEOUT), limits.MAX_SNUB_TIMEOUT)
