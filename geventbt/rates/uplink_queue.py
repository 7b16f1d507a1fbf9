"""How much may be given to the system to send, so that no long queue stands in front of our uplink. Pure.

Theory. What is under way beyond what the line holds waits in front of the uplink, for as long as it takes to send it at
the uplink's rate (Little's law). TCP fills that queue: CUBIC always, BBR while a connection begins, and where
acknowledgements come in bursts. Our own requests and acknowledgements wait in it as well, so what we download is late;
and so does all that others at home send (Gettys and Nichols, "Bufferbloat", 2011). *Measured*, uneven leechers over an
emulated network: one of 1 Mbit/s had half a second of queue and more in 4 to 6 of 30 seconds, now in less than 3; those
that came last had been unchoked by ten others for a second and a half, while their requests waited.

So blocks wait in us instead. What all our connections have in common is our uplink: where each that was heard of lately
meets a queue, the uplink has it, and what is acknowledged is its rate. Then the system is given no more than the uplink
sends in a little time, which leaves it busy. uTP needs none of that: its congestion control does the same (BEP 29).

The delay may also be elsewhere, where the acknowledgements of all peers wait in uplinks of their own. Then giving less
would send less, and less again. So nothing is held back where the rate has fallen well below the best of late; and now
and then for a while, to learn what it is without.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

from geventbt import limits
from geventbt.net.tcp_path import TcpPath

_QUEUE_TIME = 0.3
"""Seconds of queue from which on less is given to the system."""
_AHEAD_TIME = 0.6
"""Seconds in which the uplink sends what may be under way then: far peers need as much without any queue."""
_LEAST = 3 * limits.BLOCK
"""Bytes that may be under way at any rate."""
_WITNESSES, _HEARD_TIME = 3, 0.5
"""How many connections must meet a queue, and the seconds within which they must have been heard of."""
_SAMPLE, _LEAST_SAMPLE = 1.0, 0.4
"""Seconds that a rate is measured over, and at the least."""
_MEMORY, _KEPT = 30.0, 0.6
"""Seconds for which the best rate counts, and the part of it below which nothing is held back."""
_HOLDS, _RESTS = 20.0, 4.0
"""Seconds for which blocks are held back at the most, and for which they then are not."""


class UplinkQueue:
    """The queue in front of the uplink.

    Attributes:
        room: bytes that may be given to the system before the next look; None for no limit.
    """

    def __init__(self) -> None:
        self.room: int | None = None
        self._acknowledged: dict[object, int] = {}
        self._total = 0
        # The times of looks, with the bytes that had been acknowledged by then, and with the rates.
        self._totals: deque[tuple[float, int]] = deque()
        self._rates: deque[tuple[float, float]] = deque()
        self._held_since = -math.inf

    def look(self, paths: Mapping[object, TcpPath], now: float) -> None:
        """Look at the connections that are sent to, several times a second.

        Args:
            paths: those of TCP.
            now: the time.
        """
        rate = self._rate(paths, now)
        best = self._best(rate, now)
        is_full = self._queue_time(paths) > _QUEUE_TIME and rate >= max(1.0, _KEPT * best)
        if not is_full or self._rests(now):
            self.room = None
            return
        under_way = sum(path.under_way for path in paths.values())
        self.room = max(_LEAST, int(best * _AHEAD_TIME)) - under_way

    def give(self, size: int) -> None:
        """Note that bytes are given to the system."""
        if self.room is not None:
            self.room -= size

    def _rate(self, paths: Mapping[object, TcpPath], now: float) -> float:
        """Bytes a second that are acknowledged; 0 while it is not known."""
        before = self._acknowledged
        self._acknowledged = {key: path.acknowledged for key, path in paths.items()}
        self._total += sum(count - before.get(key, count) for key, count in self._acknowledged.items())
        totals = self._totals
        totals.append((now, self._total))
        while now - totals[0][0] > _SAMPLE:
            totals.popleft()
        then, total = totals[0]
        return (self._total - total) / (now - then) if now - then >= _LEAST_SAMPLE else 0.0

    def _best(self, rate: float, now: float) -> float:
        """The best rate of late. Only those are kept that no later one exceeds."""
        rates = self._rates
        while rates and rates[-1][1] <= rate:
            rates.pop()
        rates.append((now, rate))
        while now - rates[0][0] > _MEMORY:
            rates.popleft()
        return rates[0][1]

    def _queue_time(self, paths: Mapping[object, TcpPath]) -> float:
        """Seconds of queue that all connections meet."""
        queues = [path.queue_time for path in paths.values() if path.silence < _HEARD_TIME]
        return min(queues) if len(queues) >= _WITNESSES else 0.0

    def _rests(self, now: float) -> bool:
        """Whether nothing is held back at the moment, although the uplink is full."""
        if now - self._held_since > _HOLDS + _RESTS:
            self._held_since = now
        return now - self._held_since > _HOLDS
