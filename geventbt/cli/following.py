"""Add torrents to the client of a command, and follow them to their end; shared by several commands."""

from __future__ import annotations

import argparse
import errno
import math
from collections.abc import Callable, Sequence
from contextlib import closing
from time import monotonic
from typing import Any, TypeAlias

import geventbt
from geventbt.cli.errors import DONE, TIMED_OUT, CommandError, OutputClosed
from geventbt.cli.json_lines import emit
from geventbt.cli.messages import code_and_text, what_happened, without_numbers
from geventbt.cli.progress import tracker_lines
from geventbt.cli.running import discovery_options, running_client
from geventbt.cli.sources import Source, check_reachable
from geventbt.cli.text import counted, human_time, printable, say
from geventbt.cli.views import View, make_view
from geventbt.client.stall_watch import StallWatch

Choice: TypeAlias = "Callable[[geventbt.Torrent], Sequence[int] | None]"
"""Selects the files of a torrent once it is known; None for all of them."""

REFRESH = 0.1
_LEAVE_TIMEOUT = 1.0
"""Seconds for telling trackers and peers that we leave, where the user waits for something that is there already."""
_NEEDS_THE_USER = (errno.EROFS, errno.EFBIG)
"""Faults of the disk that the client tries again after, and a command does not wait for."""


def web_seed_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of `add_source` for web seeds, of a command with `add_web_seeds`."""
    return {"web_seeds": False if arguments.no_web_seeds else arguments.web_seed}


class StallTimer:
    """A timeout for downloads that receive nothing, or nothing that the disk would take.

    Args:
        timeout: in seconds; None for no timeout.
    """

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._watch = StallWatch(timeout, monotonic())
        self._fault: geventbt.StorageError | None = None
        self._done = 0

    def note_fault(self, torrent: geventbt.ActiveTorrent, error: geventbt.StorageError) -> None:
        """Note that the disk has failed: until more is on it, nothing else counts as progress."""
        self._fault, self._done = error, torrent.progress.done

    def check(self, torrent: geventbt.ActiveTorrent) -> None:
        """Compare a torrent with the last call.

        Raises:
            CommandError: nothing has changed for the length of the timeout.
            StorageError: the disk has failed for the length of the timeout.
        """
        progress, now = torrent.progress, monotonic()
        if self._fault is not None:
            if progress.done <= self._done and progress.state != "seeding":
                if self._watch.is_stalled(now):
                    raise self._fault
                return
            self._fault = None
        self._watch.note(progress, now)
        if self._watch.is_stalled(now):
            what = "; ".join([counted(progress.peers, "peer"), *map(str.strip, tracker_lines(torrent))])
            raise CommandError(TIMED_OUT, f"nothing received for {self._timeout:g} seconds ({what})")


def add_source(
    client: geventbt.Client,
    source: Source,
    folder: str,
    choose: Choice,
    *,
    peers: Sequence[tuple[str, int]],
    trackers: Sequence[str],
    view: View,
    stall: StallTimer,
    **options: object,
) -> geventbt.ActiveTorrent:
    """Add a torrent to a client. Blocks until its metadata is known and its files are selected.

    Args:
        client: the client.
        source: the torrent, or a link to it.
        folder: the folder for its file or folder.
        choose: selects the files.
        peers: (host, port) of peers to connect to.
        trackers: announce URLs, beside its own.
        view: shows the progress.
        stall: the timeout.
        options: see `geventbt.Client.add`.

    Raises:
        CommandError: the link names no peer or tracker, a selected file does not exist, or the timeout is over.
        GeventBTError: see `geventbt.ActiveTorrent.wait`.
    """
    check_reachable(source, peers, trackers, dht=client.dht is not None)
    is_known = isinstance(source, geventbt.Torrent)
    # The files of a link are selected once they are known; until then none is.
    torrent = client.add(
        source,
        folder,
        peers=peers,
        trackers=trackers,
        files=choose(source) if isinstance(source, geventbt.Torrent) else (),
        fail_without_peers=True,
        **options,  # type: ignore[arg-type]
    )
    while torrent.metainfo is None and not torrent.wait(REFRESH):
        view.update(torrent)
        stall.check(torrent)
    if not is_known:
        metainfo = torrent.wait_metadata()
        chosen = choose(metainfo)
        torrent.select(range(len(metainfo.files)) if chosen is None else chosen)
    return torrent


def follow(torrent: geventbt.ActiveTorrent, view: View, stall: StallTimer) -> None:
    """Show a torrent until it is complete. Raises: see `ActiveTorrent.wait` and `StallTimer.check`."""
    disk = _DiskWatch(stall)
    while not disk.wait(torrent):
        view.update(torrent)
        stall.check(torrent)
    view.update(torrent)


class _DiskWatch:
    """Waits for a torrent, and for a disk that has failed it as long as that may pass.

    Args:
        stall: is to know of it.
    """

    def __init__(self, stall: StallTimer) -> None:
        self._stall = stall
        self._said = ""

    def wait(self, torrent: geventbt.ActiveTorrent) -> bool:
        """Block for a moment. Returns whether the torrent is complete, or raises what has failed it for good."""
        import gevent

        try:
            return torrent.wait(REFRESH)
        except geventbt.StorageError as error:
            retry_in = torrent.retry_in
            if retry_in is None or error.errno in _NEEDS_THE_USER:
                raise
            self._stall.note_fault(torrent, error)
            text = printable(without_numbers(what_happened(error)))
            if text != self._said:
                self._said = text
                next_try = f"next try in {human_time(retry_in)}, Ctrl-C to stop"
                say(f"geventbt: {printable(torrent.name)}: {text}; {next_try}")
            gevent.sleep(REFRESH)
            return False


def keep_seeding(torrent: geventbt.ActiveTorrent, view: View, *, seconds: float | None, ratio: float | None) -> float:
    """Show a complete torrent until a time is over or a ratio is reached; None for no limit.

    Returns:
        The ratio of bytes sent to bytes on disk.
    """
    import gevent

    ends = monotonic() + (math.inf if seconds is None else seconds)
    while (sent := ratio_of(torrent)) < (math.inf if ratio is None else ratio) and monotonic() < ends:
        view.update(torrent)
        gevent.sleep(REFRESH)
        torrent.wait(0)
    return sent


def ratio_of(torrent: geventbt.ActiveTorrent) -> float:
    """The ratio of bytes sent to bytes on disk."""
    progress = torrent.progress
    return progress.uploaded / progress.done if progress.done else 0.0


def run_each(sources: Sequence[Source], work: Callable[[Source], None], arguments: argparse.Namespace) -> int:
    """Do the same for several torrents at one time. One that fails is reported, and the others go on.

    Args:
        sources: the torrents.
        work: what to do with each, in a greenlet of its own.
        arguments: of the command.

    Returns:
        The exit code of the first one, in their order, that failed; 0 where none did.
    """
    import gevent

    def guarded(source: Source) -> int | BaseException:
        # An exception is returned, for gevent would print what a greenlet raises.
        try:
            work(source)
        except BaseException as error:
            return _tell_failed(error, source, arguments)
        return DONE

    jobs = [gevent.spawn(guarded, source) for source in sources]
    try:
        for job in gevent.iwait(jobs):
            if isinstance(job.value, BaseException):
                raise job.value
    finally:
        gevent.killall(jobs)
    return next((job.value for job in jobs if job.value), DONE)


def _tell_failed(error: BaseException, source: Source, arguments: argparse.Namespace) -> int | BaseException:
    """Tell of a torrent that failed. Returns its exit code, or the error where that is not of this torrent alone."""
    known = code_and_text(error, arguments) if isinstance(error, Exception) else None
    if known is None or isinstance(error, (BrokenPipeError, OutputClosed)):
        return error
    code, text = known
    name = source.name or source.swarm_hash.hex()
    if arguments.json:
        emit("error", info_hash=source.swarm_hash.hex(), code=code, message=text)
    say(f"geventbt: {printable(name)}: {text}")
    return code


def fetch_torrent(magnet: geventbt.Magnet, arguments: argparse.Namespace) -> geventbt.Torrent:
    """Fetch the metadata of a magnet link, and leave nothing on disk.

    Args:
        magnet: the link.
        arguments: of a command with `add_sources_of_peers`, `add_views` and a stall timeout.
    """
    import tempfile

    with (
        tempfile.TemporaryDirectory(prefix="geventbt-info-") as folder,
        running_client(0, is_kept=False, encryption=arguments.encryption, **discovery_options(arguments)) as client,
        closing(make_view(arguments)) as view,
    ):
        stall = StallTimer(arguments.stall_timeout)
        torrent = add_source(
            client,
            magnet,
            folder,
            lambda torrent: (),
            peers=arguments.peer,
            trackers=arguments.tracker,
            view=view,
            stall=stall,
        )
        metainfo = torrent.wait_metadata()
        client.close(_LEAVE_TIMEOUT)
        return metainfo
