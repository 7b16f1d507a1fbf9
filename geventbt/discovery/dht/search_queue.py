"""`SearchQueue`: the order in which those who are in no hurry search, a few at one time. Pure."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice


class SearchQueue:
    """Places for searches. The others wait without a greenlet, and are woken in their order.

    Args:
        places: how many may search at one time.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: dict[Callable[[], None], None] = {}

    def enter(self, wake: Callable[[], None]) -> bool:
        """Take a place, if there is one and no other has waited for it longer; `leave` is to follow.

        Args:
            wake: is called once where there is none, when it should be tried again.
        """
        self._waiting.setdefault(wake)
        if wake not in islice(self._waiting, self._free):
            return False
        del self._waiting[wake]
        self._free -= 1
        return True

    def leave(self) -> None:
        """Give a place to the next one."""
        self._free += 1
        self._wake_next()

    def give_up(self, wake: Callable[[], None]) -> None:
        """Wait no longer."""
        if wake in self._waiting:
            del self._waiting[wake]
            self._wake_next()

    def _wake_next(self) -> None:
        for wake in list(islice(self._waiting, self._free)):
            wake()
