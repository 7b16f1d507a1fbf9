"""Views of running torrents: live on a terminal where rich is installed, a plain line every few seconds elsewhere,
JSON for programs."""

from __future__ import annotations

import argparse
import os
import sys
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from geventbt.cli.progress import describe, peer_line, source_lines, tracker_errors, web_seed_lines
from geventbt.cli.text import say

if TYPE_CHECKING:
    import geventbt

FIRST_LINE, PLAIN_INTERVAL, SEEDING_INTERVAL, JSON_INTERVAL = 1.0, 3.0, 60.0, 1.0
NEEDS_RICH = "for a live view of the progress: pip install 'geventbt[cli]' (or give -q)"


class View(Protocol):
    """Shows torrents until it is closed. Each has its own greenlet, which updates it. Subclass it to inherit the
    defaults, of a view that leaves nothing open and the result to others."""

    def update(self, torrent: geventbt.ActiveTorrent) -> None:
        """Show where a torrent is now."""

    def finish(self, torrent: geventbt.ActiveTorrent) -> None:
        """Show a torrent a last time, before its result is shown."""
        return

    def close(self) -> None:
        """End the view."""
        return


class NoView(View):
    """Shows nothing."""

    def update(self, torrent: geventbt.ActiveTorrent) -> None:
        """Nothing."""


class PlainView(View):
    """A line every few seconds on standard error; less often while it only seeds.

    Args:
        verbose: with a line for each peer, and for each source that peers are found by.
    """

    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose
        self._next: dict[bytes, float] = {}

    def update(self, torrent: geventbt.ActiveTorrent) -> None:
        now = monotonic()
        if now < self._next.setdefault(torrent.info_hash, now + FIRST_LINE):
            return
        interval = SEEDING_INTERVAL if torrent.state == "seeding" else PLAIN_INTERVAL
        self._next[torrent.info_hash] = now + interval
        lines = [describe(torrent)]
        if self._verbose:
            lines += [*map(peer_line, torrent.peers), *source_lines(torrent), *web_seed_lines(torrent)]
        say("\n".join(lines))


class JsonView:
    """The event ``progress`` once a second, and a last time at the end.

    Args:
        verbose: with the peers.
    """

    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose
        self._next: dict[bytes, float] = {}
        self._torrents: dict[bytes, geventbt.ActiveTorrent] = {}

    def update(self, torrent: geventbt.ActiveTorrent) -> None:
        self._torrents[torrent.info_hash] = torrent
        now = monotonic()
        if now >= self._next.get(torrent.info_hash, now):
            self._next[torrent.info_hash] = now + JSON_INTERVAL
            self._emit(torrent)

    def finish(self, torrent: geventbt.ActiveTorrent) -> None:
        self._emit(torrent)
        self._torrents.pop(torrent.info_hash, None)

    def close(self) -> None:
        for torrent in self._torrents.values():
            self._emit(torrent)

    def _emit(self, torrent: geventbt.ActiveTorrent) -> None:
        from geventbt.cli.json_lines import emit, peer_fields, progress_fields, sources_fields, web_seed_fields

        fields = {
            "info_hash": torrent.info_hash.hex(),
            **progress_fields(torrent.progress),
            "tracker_errors": tracker_errors(torrent),
            "error": None if torrent.error is None else str(torrent.error),
            "retry_in": None if torrent.retry_in is None else round(torrent.retry_in, 1),
            "sources": sources_fields(torrent),
            "web_seeds": [web_seed_fields(seed) for seed in torrent.web_seeds],
        }
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
