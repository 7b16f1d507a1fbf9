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

A number that proves too small is not left to the rounds: it grows within two seconds where each slot has its rate, and
by a half at each look where what is sent meets no queue on its way: such connections are new, or far away, and do not
fill the uplink. *Measured*, uneven leechers over an emulated network: with five slots, one of 16 Mbit/s with round
trips of 0.2 s used a fourth of it in the three seconds after its first piece, and the half in the next three, while
ten others waited. With three looks a second in place of one all were done at 1.60 times the bound, before at 1.69.
Where nothing is left to send while a choked peer is interested, spare slots are opened until the next round.

Only the seconds in which there was more to send than the uplink took tell of it: the others tell of what was asked for.
*Measured*, uneven leechers over an emulated network: one with 1 Mbit/s and little to offer took its idle seconds for
those of the receivers, had 4 to 8 slots, and its own requests and acknowledgements were late behind what it sent.
"""

from __future__ import annotations

import math
from collections import deque

from geventbt import limits

_SAMPLES, _ENOUGH = 8, 4
"""Seconds of a busy uplink that the rate of a round is measured over at the most, and at least."""
_LESS, _FALLEN = 0.8, 0.5
"""A smaller number is tried when it is less than this part of what there are, and the uplink no longer taken for full
when it sends less than this part of what it did."""
_CERTAIN = 36
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
        self._spare = 0
        self._last = (0.0, 0, False)
        # The rates of the last busy seconds.
        self._rates: deque[float] = deque(maxlen=_SAMPLES)
        # The number and the rate before the last round, if it has changed the number.
        self._before: tuple[int, float] | None = None
        # The rate at which the uplink is full: infinite where the receivers are the limit, None where it is not known.
        self._uplink: float | None = None
        self._slot_rate: float = limits.UPLOAD_SLOT_RATE
        self._rounds = 0

    @property
    def count(self) -> int | None:
        """The number of slots; None for no limit."""
        return None if self._count is None else self._at_most(self._count + self._spare)

    @property
    def can_grow(self) -> bool:
        """Whether there may be more between two rounds."""
        return self._follows_uplink and bool(self._count) and self._count != self.most

    def sample(self, now: float, uploaded: int, *, is_busy: bool) -> None:
        """Note the bytes that were uploaded until now; to be called once a second.

        Args:
            now: seconds of a monotonic clock.
            uploaded: bytes.
            is_busy: whether there is more to send than the uplink takes.
        """
        (then, before, was_busy), self._last = self._last, (now, uploaded, is_busy)
        if not (was_busy and is_busy and now > then):
            return
        self._rates.append(max(0, uploaded - before) / (now - then))
        if self._follows_uplink and self._count and len(self._rates) > 1:
            # What has filled the buffers of the system in a second tells nothing.
            fed = int(min(self._rates[-1], self._rates[-2]) / limits.UPLOAD_SLOT_RATE)
            self._count = max(self._count, self._at_most(fed))

    def on_free_path(self) -> None:
        """Note that the uplink is not full, although there is something to send, while a choked peer is interested."""
        if self._follows_uplink and self._count:
            self._count = self._at_most(self._count + max(1, self._count // 2))

    def on_idle(self) -> bool:
        """Note that nothing is left to send, while a choked peer is interested. Returns whether there is one more."""
        before = self.count
        if self._follows_uplink and self._count:
            self._spare += 1
        return self.count != before

    def on_round(self, wanting: int) -> None:
        """Note that a round of choking begins.

        Args:
            wanting: how many peers are interested.
        """
        self._spare = 0
        if not self._follows_uplink or not self._count or not wanting or len(self._rates) < _ENOUGH:
            return
        # The upper median: `statistics` takes as long to load as twenty of our modules.
        rate, used = sorted(self._rates)[len(self._rates) // 2], min(self._count, wanting)
        self._rates.clear()
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

    def _at_most(self, count: int) -> int:
        return count if self.most is None else min(count, self.most)
