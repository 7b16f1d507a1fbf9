"""For how many seconds ahead one peer is asked. Pure.

Theory. A peer is kept busy when what is asked of it lasts for a round trip. What is asked beyond that is promised to a
peer that may become slow, or choke us, while others run idle; and when little is missing it is asked for twice. So a
second is enough, and a round trip and a quarter where that is longer. *Measured*, over an emulated network: 24 uneven
leechers are done in 1.64 times the bound with a second, and in 1.75 with three; eight equal ones in 1.22 and 1.24.

But an answer may take longer than a second: over a line whose queue is full, or of a busy seed. Then what is asked for
is not enough, the speed falls, and with the speed what is asked for, again and again. So where the speed has fallen to
six tenths of what it was, three seconds are asked for during the next ones, as libtorrent does always, and as long as
the speed comes back: then it was because of us. A peer without the fast extension is asked for three seconds always: it
drops requests without a word, which is seen by what comes behind them.
"""

from __future__ import annotations

from geventbt import limits

_TRIPS = 1.25
"""Round trips that are asked for ahead at the least."""
_FALLEN = 0.6
"""The part of the speed of before at which it may have fallen because of us."""
_LONG = 4
"""Samples in which more is asked for then, at the least."""


class RequestTime:
    """The time for which one peer is asked.

    Args:
        rejects: whether the peer rejects what it drops.

    Attributes:
        seconds: in which the peer delivers what is to be asked of it.
    """

    __slots__ = ("_before", "_least", "_left", "seconds")

    def __init__(self, *, rejects: bool = True) -> None:
        self._least = limits.MIN_REQUEST_TIME if rejects else limits.MAX_REQUEST_TIME
        self.seconds = limits.MAX_REQUEST_TIME
        self._before = 0.0
        self._left = 0

    def on_sample(self, rate: float, delay: float) -> None:
        """Note the speed; to be called each second of waiting for blocks, when it grows no more by itself.

        Args:
            rate: blocks a second.
            delay: seconds of a round trip.
        """
        if self._left:
            # It goes on while the speed comes back.
            self._left = max(self._left - 1, int(rate > self._before))
            self._before = rate
        elif rate < _FALLEN * self._before:
            self._left, self._before = _LONG, rate
        else:
            self._before = max(rate, self._before)
        least = min(max(self._least, _TRIPS * delay), limits.MAX_REQUEST_TIME)
        self.seconds = limits.MAX_REQUEST_TIME if self._left else least

    def forget(self) -> None:
        """Forget the speed."""
        self._before, self._left = 0.0, 0
