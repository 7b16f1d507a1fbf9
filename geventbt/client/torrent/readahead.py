"""Read-ahead of the readers of a torrent, as deadlines of pieces. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator


class Readahead:
    """The pieces ahead of each reader. A piece that several need is due when the first of them needs it."""

    def __init__(self) -> None:
        self._windows: dict[Hashable, dict[int, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._windows)

    def move(self, reader: Hashable, pieces: Iterable[int], now: float) -> tuple[set[int], set[int]]:
        """Note that a reader needs these pieces, one after the other, and no others any more.

        A piece that it needed before keeps its deadline: so the first piece stays ahead of those after it.

        Args:
            reader: the key of the reader.
            pieces: their indices, in order; none when it needs nothing more.
            now: the time in seconds.

        Returns:
            The pieces whose deadline has changed, and those that no reader needs any more.
        """
        before = self._windows.pop(reader, {})
        window = {piece: min(before.get(piece, now + place), now + place) for place, piece in enumerate(pieces)}
        if window:
            self._windows[reader] = window
        changed = {piece for piece in window.keys() | before.keys() if window.get(piece) != before.get(piece)}
        forgotten = {piece for piece in before.keys() - window.keys() if self.due(piece) is None}
        return changed - forgotten, forgotten

    def due(self, piece: int) -> float | None:
        """The deadline of a piece, or None if no reader needs it."""
        return min((window[piece] for window in self._windows.values() if piece in window), default=None)

    def deadlines(self, pieces: Iterable[int]) -> dict[int, float | None]:
        """The deadline of each of these pieces; see `due`."""
        return {piece: self.due(piece) for piece in pieces}

    def __iter__(self) -> Iterator[int]:
        """The pieces that any reader needs."""
        return iter(set().union(*self._windows.values()))
