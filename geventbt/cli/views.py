"""Views of a running torrent: live on a terminal where rich is installed, a plain line every few seconds elsewhere,
JSON for programs."""

from __future__ import annotations

import argparse
import os
import sys
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from geventbt.cli.progress import describe, peer_line, tracker_errors, tracker_lines
from geventbt.cli.text import say

if TYPE_CHECKING:
    import geventbt

FIRST_LINE, PLAIN_INTERVAL, SEEDING_INTERVAL, JSON_INTERVAL = 1.0, 3.0, 60.0, 1.0
NEEDS_RICH = "for a live view of the progress: pip install 'geventbt[cli]' (or give -q)"


class View(Protocol):
    """Shows the progress of a torrent until it is closed."""

    def update(self, torrent: geventbt.ActiveTorrent) -> None:
        """Show the current state."""

    def close(self) -> None:
        """End the view."""


class NoView:
    """Shows nothing."""

    def update(self, torrent: geventbt.ActiveTorrent) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class PlainView:
    """A line every few seconds on standard error; less often while it only seeds.

    Args:
        verbose: with a line for each peer, and for each tracker that does not answer.
    """

    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose
        self._started = self._last = monotonic()

    def update(self, torrent: geventbt.ActiveTorrent) -> None:
        now = monotonic()
        interval = SEEDING_INTERVAL if torrent.state == "seeding" else PLAIN_INTERVAL
        if now - self._last < (FIRST_LINE if self._last == self._started else interval):
            return
        self._last = now
        lines = [describe(torrent)]
        if self._verbose:
            lines += [*map(peer_line, torrent.peers), *tracker_lines(torrent)]
        say("\n".join(lines))

    def close(self) -> None:
        """Nothing is left open."""


class JsonView:
    """The event ``progress`` once a second, and a last time at the end.

    Args:
        verbose: with the peers.
    """

    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose
        self._next = monotonic()
        self._latest: geventbt.ActiveTorrent | None = None

    def update(self, torrent: geventbt.ActiveTorrent) -> None:
        self._latest = torrent
        if monotonic() >= self._next:
            self._next = monotonic() + JSON_INTERVAL
            self._emit(torrent)

    def close(self) -> None:
        if self._latest is not None:
            self._emit(self._latest)

    def _emit(self, torrent: geventbt.ActiveTorrent) -> None:
        from geventbt.cli.json_lines import emit, peer_fields, progress_fields

        fields = {**progress_fields(torrent.progress), "tracker_errors": tracker_errors(torrent)}
        if self._verbose:
            fields["connections"] = [peer_fields(peer) for peer in torrent.peers]
        emit("progress", **fields)


def make_view(arguments: argparse.Namespace) -> View:
    """The view that the options `quiet`, `verbose` and `json` ask for, or the best one that standard error supports."""
    if arguments.quiet:
        return NoView()
    if arguments.json:
        return JsonView(arguments.verbose)
    if is_live():
        from geventbt.cli.live import LiveView

        return LiveView(arguments.verbose)
    return PlainView(arguments.verbose)


def is_live() -> bool:
    """Whether standard error can show a live view. Prints a hint if only rich is missing."""
    if sys.stderr is None or not sys.stderr.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
        return False
    try:
        import rich  # noqa: F401
    except ImportError:
        say(NEEDS_RICH)
        return False
    return True
