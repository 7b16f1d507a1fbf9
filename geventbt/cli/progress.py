"""How far a download is: a live bar on a terminal, where rich is installed; else a plain line every few seconds."""

from __future__ import annotations

import sys
from time import monotonic
from typing import Any, Protocol

from geventbt.cli.text import human_size, human_time, printable

PLAIN_INTERVAL = 3.0


class View(Protocol):
    """Shows a download until it is closed."""

    def update(self, job: Any) -> None:
        """Show where a `geventbt.Download` is now."""

    def close(self) -> None:
        """Show no more."""


class NoView:
    """Shows nothing."""

    def update(self, job: Any) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class PlainView:
    """A line every few seconds on standard error."""

    def __init__(self) -> None:
        self._next = 0.0

    def update(self, job: Any) -> None:
        if monotonic() < self._next:
            return
        self._next = monotonic() + PLAIN_INTERVAL
        print(describe(job), file=sys.stderr, flush=True)

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

    def update(self, job: Any) -> None:
        if self._task is None:
            self._task = self._progress.add_task(
                printable(job.torrent.name)[:40], total=job.torrent.geometry.length, status=""
            )
        self._progress.update(self._task, completed=job.verified, status=status(job))
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


def status(job: Any) -> str:
    """Bytes, speed, time left and peers, of a `geventbt.Download`."""
    total, speed = job.torrent.geometry.length, job.speed()
    if not job.wires and not job.finished:
        pieces = job.torrent.geometry.pieces
        return f"checking {job.checked} of {pieces} pieces" if job.checked < pieces else "connecting"
    left = f", {human_time((total - job.verified) / speed)} left" if speed else ""
    return f"{human_size(job.verified)} of {human_size(total)}, {human_size(speed)}/s{left}, {len(job.wires)} peers"


def describe(job: Any) -> str:
    """One line about a `geventbt.Download`."""
    return f"{printable(job.torrent.name)}: {status(job)}"
