"""What the readers of a torrent are going to need next: the deadlines that follow from it. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator


class Windows:
    """The pieces ahead of each reader. A piece that several need is due when the first of them needs it."""

    def __init__(self) -> None:
        self._windows: dict[Hashable, dict[int, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._windows)

    def move(self, reader: Hashable, pieces: Iterable[int], now: float) -> tuple[set[int], set[int]]:
        """A reader needs these pieces, one after the other, and no others any more.

        What it needed before is due as before: only that keeps the first piece ahead of those behind it.

        Args:
            reader: who; any key.
            pieces: by number; none when it needs nothing more.
            now: the time.

        Returns:
            The pieces that are due at another time than before, and those that nobody needs any more.
        """
        before = self._windows.pop(reader, {})
        window = {piece: min(before.get(piece, now + place), now + place) for place, piece in enumerate(pieces)}
        if window:
            self._windows[reader] = window
        changed = {piece for piece in window.keys() | before.keys() if window.get(piece) != before.get(piece)}
        forgotten = {piece for piece in before.keys() - window.keys() if self.due(piece) is None}
        return changed - forgotten, forgotten

    def due(self, piece: int) -> float | None:
        """When a piece is needed, or None if nobody needs it."""
        return min((window[piece] for window in self._windows.values() if piece in window), default=None)

    def __iter__(self) -> Iterator[int]:
        """The pieces that anybody needs."""
        return iter(set().union(*self._windows.values()))
