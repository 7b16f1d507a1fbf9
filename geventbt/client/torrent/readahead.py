"""Read-ahead of the readers of a torrent, as deadlines of pieces. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping

_MAX_DRIFT, _MAX_DRIFT_PART = 0.25, 0.25
"""Seconds by which a reader may be ahead of its deadlines, or behind them, before they are set anew; or the part of the
time until then, for what is far ahead."""


class Readahead:
    """The pieces ahead of each reader. A piece that several need is due when the first of them needs it."""

    def __init__(self) -> None:
        self._windows: dict[Hashable, dict[int, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._windows)

    def move(self, reader: Hashable, pieces: Mapping[int, float], now: float) -> tuple[set[int], set[int]]:
        """Note that a reader needs these pieces, and no others any more.

        A piece that it needed before keeps its deadline, unless it is needed now, or the reader is faster or slower
        than was thought: most moves change little.

        Args:
            reader: the key of the reader.
            pieces: for each piece the seconds until it is needed, in this order; none when it needs nothing more.
            now: the time in seconds.

        Returns:
            The pieces whose deadline has changed, and those that no reader needs any more.
        """
        before = self._windows.pop(reader, {})
        drifts = ((before[piece] - now - seconds, seconds) for piece, seconds in pieces.items() if piece in before)
        keeps = not any(abs(drift) > _MAX_DRIFT and abs(drift) > _MAX_DRIFT_PART * seconds for drift, seconds in drifts)
        window: dict[int, float] = {}
        due = now
        for piece, seconds in pieces.items():
            # Never before those that come first.
            due = max(due, before[piece] if keeps and seconds and piece in before else now + seconds)
            window[piece] = due
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
