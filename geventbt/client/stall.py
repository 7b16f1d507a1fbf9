"""Timeouts of a download: of all of it, and of a time in which nothing comes."""

from __future__ import annotations

import math
from time import monotonic

from geventbt.client.stall_watch import StallWatch
from geventbt.client.torrent.active_torrent import ActiveTorrent
from geventbt.errors import DownloadTimeout

_LOOK = 0.25
"""Seconds between two looks at a download that may stall."""


def wait_complete(torrent: ActiveTorrent, timeout: float | None, stall_timeout: float | None) -> None:
    """Block until a torrent is complete.

    Args:
        torrent: the torrent.
        timeout: seconds for all of it; None for no limit.
        stall_timeout: seconds without any progress; None for no limit.

    Raises:
        DownloadTimeout: one of them is over.
        GeventBTError: see `ActiveTorrent.wait`.
    """
    started = monotonic()
    ends = math.inf if timeout is None else started + timeout
    watch = StallWatch(stall_timeout, started)
    while not torrent.wait(_next_wait(ends - monotonic(), stall_timeout)):
        now = monotonic()
        watch.note(torrent.progress, now)
        if now >= ends:
            raise DownloadTimeout(f"not complete within {timeout:g} s: {_so_far(torrent)}")
        if watch.is_stalled(now):
            raise DownloadTimeout(f"nothing received for {stall_timeout:g} s: {_so_far(torrent)}")


def _next_wait(left: float, stall_timeout: float | None) -> float | None:
    """Seconds until the next look; None for no need to look."""
    look = math.inf if stall_timeout is None else min(_LOOK, stall_timeout)
    seconds = min(max(left, 0.0), look)
    return None if math.isinf(seconds) else seconds


def _so_far(torrent: ActiveTorrent) -> str:
    """The state of a download, and what may be the cause of its standstill."""
    progress = torrent.progress
    done = f"{progress.done} of {progress.wanted} bytes" if progress.wanted else f"state {progress.state!r}"
    errors = [f"{url}: {tracker.error}" for url, tracker in torrent.trackers.items() if tracker.error]
    causes = [progress.waiting_for] if progress.waiting_for else errors
    return "; ".join([f"{done}, {progress.peers} peers", *causes])
