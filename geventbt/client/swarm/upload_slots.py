"""How many peers to upload to at one time, by the uplink as it is measured. Pure.

Theory. A piece can be passed on when all of it is there, so what is sent to many at once arrives everywhere late: over
an uplink of 1 Mbit/s with eight slots a piece of 256 KiB takes 17 seconds, in which no receiver has anything to offer.
With fewer, fuller slots the first receivers pass it on meanwhile. An uplink must not run dry, though: one peer may have
nothing to ask for, or be limited by its distance. So a slot is to have a certain rate, and whenever nothing is left to
send while a choked peer is interested, one more is given.

libtorrent's rate-based choker aims at the same: it opens slots as long as the next one gets its least rate.
"""

from __future__ import annotations

from collections import deque

from geventbt import limits

_SAMPLES = 6
"""Counts of uploaded bytes, one a second, that the rate is measured over."""


class UploadSlots:
    """The number of upload slots that are in use.

    Args:
        most: the number that there may be; None for no limit, which leaves nothing to decide.
        follows_uplink: whether their number follows the uplink; else there are always as many as there may be.

    Attributes:
        most: see above.
    """

    def __init__(self, most: int | None, *, follows_uplink: bool = True) -> None:
        self.most = most
        self._follows_uplink = follows_uplink and most is not None
        self._count = min(limits.FIRST_UPLOAD_SLOTS, most) if follows_uplink and most is not None else most
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)

    @property
    def count(self) -> int | None:
        """The number of slots; None for no limit."""
        return self._count

    def sample(self, now: float, uploaded: int) -> None:
        """Note the bytes that were uploaded until now; to be called once a second."""
        self._samples.append((now, uploaded))

    def on_idle(self) -> None:
        """Note that nothing is left to send, while a choked peer is interested."""
        if self._count is not None and self.most is not None:
            self._count = min(self._count + 1, self.most)

    def on_round(self) -> None:
        """Note that a round of choking begins, and that there is more to send than the uplink takes."""
        if self.most is None or not self._follows_uplink or len(self._samples) < _SAMPLES:
            return
        (begun, before), (now, uploaded) = self._samples[0], self._samples[-1]
        rate = max(0, uploaded - before) / (now - begun) if now > begun else 0.0
        self._count = max(min(1, self.most), min(self.most, round(rate / limits.UPLOAD_SLOT_RATE)))
