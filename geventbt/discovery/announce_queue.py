"""`AnnounceQueue`: how many announces are under way at one time. Pure.

A client that starts has something to say to its trackers and to the DHT for each of a thousand torrents. Said at once,
that is a thousand connections to one tracker, which takes it for an attack, and a thousand greenlets and sockets here.
The bound for each tracker keeps one that is slow or dead from holding up the others; those that wait cost no greenlet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


class AnnounceQueue:
    """Places for announces, given in the order in which they are asked for. What announces is known by its `wake`.

    Args:
        of_tracker: announces to one tracker at one time.
        in_all: announces to all of them.
    """

    def __init__(self, of_tracker: int, in_all: int) -> None:
        self._of_tracker = of_tracker
        self._in_all = in_all
        self._taken: Counter[str] = Counter()
        self._waiting: dict[Callable[[], None], str] = {}
        self._granted: dict[Callable[[], None], str] = {}

    def enter(self, wake: Callable[[], None], tracker: str = "") -> bool:
        """Take a place for an announce, to be given back by `leave`; where there is none, wait to be woken.

        Args:
            wake: is called when there is a place, which is to be asked for again then. Must not block.
            tracker: names the tracker.

        Returns:
            Whether there is a place.
        """
        if self._granted.get(wake) == tracker:
            del self._granted[wake]
            return True
        if self._waiting.get(wake) == tracker:
            return False
        self.withdraw(wake)
        if not self._has_room(tracker):
            self._waiting[wake] = tracker
            return False
        self._taken[tracker] += 1
        return True

    def leave(self, tracker: str = "") -> None:
        """Give a place back: the next one that can use it has it, and is woken."""
        self._taken[tracker] -= 1
        if not self._taken[tracker]:
            del self._taken[tracker]
        for wake, wanted in self._waiting.items():
            if self._has_room(wanted):
                del self._waiting[wake]
                self._taken[wanted] += 1
                self._granted[wake] = wanted
                wake()
                return

    def withdraw(self, wake: Callable[[], None]) -> None:
        """Wait no more, and give back a place that is not used."""
        self._waiting.pop(wake, None)
        granted = self._granted.pop(wake, None)
        if granted is not None:
            self.leave(granted)

    def _has_room(self, tracker: str) -> bool:
        return self._taken[tracker] < self._of_tracker and self._taken.total() < self._in_all
