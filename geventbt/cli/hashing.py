"""Progress of hashing: a live bar on a terminal if rich is installed, otherwise a plain line every few seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TypeAlias

from geventbt.cli.text import counted, printable, say
from geventbt.cli.views import PLAIN_INTERVAL, is_live

Progress: TypeAlias = Callable[[int, int], None]

_REFRESH = 0.1


@contextmanager
def shown_progress(name: str, quiet: bool) -> Iterator[Progress]:
    """A callback for the number of pieces hashed and of all pieces, which shows them.

    Args:
        name: of the torrent.
        quiet: show nothing.
    """
    if quiet:
        yield lambda done, pieces: None
        return
    if is_live():
        with _live(name) as show:
            yield show
        return
    what = printable(name)
    yield _throttled(PLAIN_INTERVAL, lambda done, pieces: say(f"{what}: hashed {done} of {counted(pieces, 'piece')}"))


def _throttled(interval: float, show: Progress) -> Progress:
    """Call `show` at most once per interval, and at the end."""
    following = monotonic() + interval

    def show_throttled(done: int, pieces: int) -> None:
        nonlocal following
        now = monotonic()
        if now >= following or done == pieces:
            following = now + interval
            show(done, pieces)

    return show_throttled


@contextmanager
def _live(name: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed} of {task.total} pieces"),
    )
    with Bar(*columns, console=Console(stderr=True), auto_refresh=False) as bar:
        # Hidden until the number of pieces is known.
        task = bar.add_task(printable(name)[:40], total=None, visible=False)

        def show(done: int, pieces: int) -> None:
            bar.update(task, completed=done, total=pieces, visible=True)
            bar.refresh()

        yield _throttled(_REFRESH, show)
