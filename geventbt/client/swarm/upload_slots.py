"""How many peers to upload to at one time, by the uplink as it is measured. Pure.

Theory. A piece can be passed on when all of it is there, so what is sent to many at once arrives everywhere late: over
an uplink of 1 Mbit/s with eight slots a piece of 256 KiB takes 17 seconds, in which no receiver has anything to offer.
With fewer, fuller slots the first receivers pass it on meanwhile. So a full uplink is divided into slots of a certain
rate. libtorrent's rate-based choker aims at the same: it opens slots as long as the next one gets its least rate.

The rate alone does not tell that the uplink is full: eight receivers that take 50 kB/s each, as they have other
sources, take 400 kB/s of any uplink, and seven take 350. So each change of the number is an experiment as well. Where
the rate has followed the number, by more than half of what the slots are worth, the receivers are the limit: a slot is
worth what they take, and the number is doubled in the next round. Where it has not, the uplink is full at that rate.
This is found out anew when the rate falls, and every few minutes.

A number that proves too small is not left to the rounds: it grows within a second where each slot has its rate, and
where nothing is left to send while a choked peer is interested.
"""

from __future__ import annotations

import math
from collections import deque

from geventbt import limits

_SAMPLES = 9
"""Counts of uploaded bytes, one a second, that the rate of a round is measured over: most of the last round."""
_LESS, _FALLEN = 0.8, 0.5
"""A smaller number is tried when it is less than this part of what there are, and the uplink no longer taken for full
when it sends less than this part of what it did."""
_CERTAIN = 18
"""Rounds until a half of the slots is tried, where each takes little."""


class UploadSlots:
    """The number of upload slots that are in use.

    Args:
        most: the number that there may be; None for as many as the uplink feeds.
        follows_uplink: whether their number follows the uplink; else there are always as many as there may be.

    Attributes:
        most: see above.
    """

    def __init__(self, most: int | None, *, follows_uplink: bool = True) -> None:
        self.most = most
        self._follows_uplink = follows_uplink
        self._count = self._at_most(limits.FIRST_UPLOAD_SLOTS) if follows_uplink else most
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)
        # The number and the rate before the last round, if it has changed the number.
        self._before: tuple[int, float] | None = None
        # The rate at which the uplink is full: infinite where the receivers are the limit, None where it is not known.
        self._uplink: float | None = None
        self._slot_rate: float = limits.UPLOAD_SLOT_RATE
        self._rounds = 0

    @property
    def count(self) -> int | None:
        """The number of slots; None for no limit."""
        return self._count

    def sample(self, now: float, uploaded: int) -> None:
        """Note the bytes that were uploaded until now; to be called once a second."""
        self._samples.append((now, uploaded))
        if self._follows_uplink and self._count and len(self._samples) > 1:
            fed = int(self._rate(since=-2) / limits.UPLOAD_SLOT_RATE)
            self._count = max(self._count, self._at_most(fed))

    def on_idle(self) -> None:
        """Note that nothing is left to send, while a choked peer is interested."""
        if self._follows_uplink and self._count:
            self._count = self._at_most(self._count + 1)

    def on_round(self, wanting: int) -> None:
        """Note that a round of choking begins, and that there is more to send than the uplink takes.

        Args:
            wanting: how many peers are interested.
        """
        if not self._follows_uplink or not self._count or not wanting or len(self._samples) < _SAMPLES:
            return
        rate, used = self._rate(since=0), min(self._count, wanting)
        if not rate:
            return
        self._learn(used, rate)
        wanted = max(1, self._at_most(min(self._wanted(used, rate), wanting)))
        self._before = None
        if wanted > self._count or wanted <= _LESS * used:
            self._before = used, rate
            self._count = wanted
            self._rounds = 0

    def _learn(self, used: int, rate: float) -> None:
        """Judge by what the last change has done to the rate what limits it."""
        self._rounds += 1
        if self._before is None:
            if self._uplink is not None and rate < _FALLEN * self._uplink:
                self._uplink = math.inf
            return
        used_before, rate_before = self._before
        half = rate_before * (1 + used / used_before) / 2
        has_followed = used != used_before and (rate > half) == (used > used_before)
        self._uplink = math.inf if has_followed else rate
        taken = min(limits.UPLOAD_SLOT_RATE, rate / used)
        if has_followed:
            self._slot_rate = taken
        elif used < used_before:
            # Fewer take it all, and perhaps even more each.
            self._slot_rate = max(self._slot_rate, taken)

    def _wanted(self, used: int, rate: float) -> int:
        takes_little = rate < _LESS * used * limits.UPLOAD_SLOT_RATE
        if takes_little and self._rounds >= _CERTAIN:
            return used // 2
        if self._uplink == math.inf:
            return 2 * used
        if self._uplink is None and not takes_little:
            return used + max(1, used // 3)
        return round(rate / self._slot_rate)

    def _rate(self, since: int) -> float:
        (begun, before), (now, uploaded) = self._samples[since], self._samples[-1]
        return max(0, uploaded - before) / (now - begun) if now > begun else 0.0

    def _at_most(self, count: int) -> int:
        return count if self.most is None else min(count, self.most)
