"""How far a download is: a live bar on a terminal, where rich is installed; else a plain line every few seconds."""

from __future__ import annotations

import sys
from time import monotonic
from typing import Any, Protocol

from geventbt.cli.text import human_size, human_time, printable

FIRST_LINE, PLAIN_INTERVAL = 1.0, 3.0


class View(Protocol):
    """Shows a torrent until it is closed."""

    def update(self, torrent: Any) -> None:
        """Show where a `geventbt.ActiveTorrent` is now."""

    def close(self) -> None:
        """Show no more."""


class NoView:
    """Shows nothing."""

    def update(self, torrent: Any) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class PlainView:
    """A line every few seconds on standard error."""

    def __init__(self) -> None:
        self._next = monotonic() + FIRST_LINE

    def update(self, torrent: Any) -> None:
        if monotonic() < self._next:
            return
        self._next = monotonic() + PLAIN_INTERVAL
        print(describe(torrent), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing is left open."""


class LiveView:
    """A bar with bytes, speed, time left and peers, on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[status]}", markup=False),
            console=Console(stderr=True),
            auto_refresh=False,
        )
        self._task: Any = None
        self._progress.start()

    def update(self, torrent: Any) -> None:
        progress = torrent.progress
        if self._task is None:
            self._task = self._progress.add_task("", total=None, status="")
        self._progress.update(
            self._task,
            description=printable(torrent.name)[:40],
            total=progress.wanted or None,
            completed=progress.done,
            status=status(progress),
        )
        self._progress.refresh()

    def close(self) -> None:
        self._progress.stop()


def make_view(quiet: bool) -> View:
    """The best view that standard error has room for."""
    if quiet:
        return NoView()
    if sys.stderr.isatty():
        try:
            return LiveView()
        except ImportError:
            pass
    return PlainView()


def status(progress: Any) -> str:
    """Bytes, speed, time left and peers, of a `geventbt.Progress`."""
    if progress.state == "checking":
        return f"checking {progress.checked} of {progress.pieces} pieces" if progress.pieces else "checking"
    if progress.state == "metadata":
        return "fetching the metadata"
    if not progress.peers and progress.done < progress.wanted:
        return "connecting"
    left = progress.seconds_left
    return (
        f"{human_size(progress.done)} of {human_size(progress.wanted)}, {human_size(progress.download_speed)}/s"
        f"{f', {human_time(left)} left' if left else ''}, {progress.peers} peers"
    )


def describe(torrent: Any) -> str:
    """One line about a `geventbt.ActiveTorrent`."""
    return f"{printable(torrent.name)}: {status(torrent.progress)}"
