"""How fast a file is read by who has all that it needs: what is to be fetched ahead follows it. Pure.

A player takes a second of a film in a second, a copying program all that there is. What either waits for us says
nothing of its own speed, so only the time between its reads counts.
"""

from __future__ import annotations

from geventbt import limits

_MEMORY = 5.0
"""Seconds between reads after which what was before counts for half."""
_PACED = 1.0
"""Seconds between reads, in all, after which a rate is known."""
_INFINITE = float("inf")


class ReadingRate:
    """The rate of one reader.

    Attributes:
        readahead: bytes to fetch ahead of it.
    """

    def __init__(self) -> None:
        self.readahead = limits.FIRST_READAHEAD
        self._bytes = 0.0
        self._seconds = 0.0

    def restart(self) -> None:
        """Look ahead a little only: it reads at another place. A player goes on there at the rate that is known."""
        if self._seconds < _PACED:
            self._bytes = self._seconds = 0.0
            self.readahead = limits.FIRST_READAHEAD
        else:
            self.readahead = max(limits.MIN_READAHEAD, min(int(self.rate), limits.MAX_READAHEAD))

    def on_read(self, count: int) -> None:
        """Note that bytes were read."""
        self._bytes += count

    def on_pause(self, seconds: float) -> None:
        """Note that time has passed between two reads."""
        self._seconds += seconds
        if self._seconds > _MEMORY:
            self._seconds /= 2
            self._bytes /= 2

    def read_on(self) -> None:
        """Look further ahead: twice as far, but no further than it reads in `limits.READAHEAD_TIME`."""
        most = min(limits.MAX_READAHEAD, self.rate * limits.READAHEAD_TIME)
        self.readahead = max(limits.MIN_READAHEAD, int(min(2 * self.readahead, most)))

    @property
    def rate(self) -> float:
        """Bytes a second; infinite where it has not paused yet."""
        return self._bytes / self._seconds if self._bytes and self._seconds else _INFINITE
