"""`Losses`: the files that were found gone, cut or changed, so that a thread learns of what another one has found."""

from __future__ import annotations

from collections.abc import Iterable

from geventbt.concurrency.native import new_lock


class Losses:
    """Losses of files, counted. Its methods may be called from several threads at once.

    Attributes:
        count: how many there have been.
    """

    def __init__(self) -> None:
        self.count = 0
        self._last: dict[int, int] = {}
        self._lock = new_lock()

    def note(self, files: Iterable[int]) -> None:
        """Note that files were lost, by their indices. Before what they had is distrusted: see `since`."""
        with self._lock:
            self.count += 1
            self._last.update(dict.fromkeys(files, self.count))

    def since(self, count: int) -> set[int]:
        """The files that were lost after the first `count` losses.

        What was trusted before this call, and is of none of them, is distrusted by a later loss.
        """
        if self.count == count:
            return set()
        with self._lock:
            return {index for index, last in self._last.items() if last > count}
