"""Run a client with one torrent, from its start to its end; shared by several commands."""

from __future__ import annotations

import argparse
import errno
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, TypeAlias

import geventbt
from geventbt.cli.errors import DONE, NETWORK, TIMED_OUT, CommandError, Interrupted, OutputClosed, Stopped
from geventbt.cli.interrupt import interruptible
from geventbt.cli.json_lines import emit
from geventbt.cli.messages import code_and_text, what_happened, without_numbers
from geventbt.cli.network import network_of
from geventbt.cli.progress import tracker_lines
from geventbt.cli.sources import Source, check_reachable
from geventbt.cli.state import dht_state
from geventbt.cli.text import counted, human_address, human_size, human_time, printable, say
from geventbt.cli.views import View, make_view

Choice: TypeAlias = "Callable[[geventbt.Torrent], Sequence[int] | None]"
"""Selects the files of a torrent once it is known; None for all of them."""

REFRESH = 0.1
_LEAVE_TIMEOUT = 1.0
"""Seconds for telling trackers and peers that we leave, where the user waits for something that is there already."""
_ORDER = ("downloading", "paused", "failed", "removed", "checking", "metadata", "seeding")
"""The states of torrents, the one first that says most of how to go on."""
_NEEDS_THE_USER = (errno.EROFS, errno.EFBIG)
"""Faults of the disk that the client tries again after, and a command does not wait for."""
_BUSY = {
    errno.EADDRINUSE: "is in use; choose another one with --port, or --port 0 for any free one",
    errno.EADDRNOTAVAIL: "is not an address of this machine; choose another one with --host",
    errno.EACCES: "needs administrator rights; choose one above 1023 with --port",
}


def discovery_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of `running_client` for finding peers, of a command with `add_sources_of_peers`."""
    return {
        "dht": not arguments.no_dht,
        "dht_nodes": arguments.dht_node,
        "lsd": not arguments.no_lsd,
        "port_mapping": not arguments.no_port_mapping,
        "network": network_of(arguments),
        "transport": arguments.transport,
    }


def web_seed_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of `add_source` for web seeds, of a command with `add_web_seeds`."""
    return {"web_seeds": False if arguments.no_web_seeds else arguments.web_seed}


@contextmanager
def running_client(
    port: int | None = None,
    *,
    host: str = "",
    is_kept: bool = True,
    dht: bool = True,
    dht_nodes: Sequence[tuple[str, int]] = (),
    network: geventbt.Network | None = None,
    **options: object,
) -> Iterator[geventbt.Client]:
    """A client, which a signal leaves cleanly: once with what is verified on disk and recorded, twice at once.

    Args:
        port: to listen on; 0 takes a free one, None does not listen.
        host: the address to listen on.
        is_kept: whether the downloaded data is kept after the command.
        dht: whether to use the DHT.
        dht_nodes: nodes of the DHT to begin with, in place of the public ones.
        network: opens all sockets; None for the network as it is.
        options: see `geventbt.Client`.

    Raises:
        CommandError: the port cannot be listened on.
        Interrupted: by Ctrl-C, SIGTERM or SIGHUP.
    """
    with interruptible(), ExitStack() as stack:
        try:
            network = network or geventbt.Network()
            has_dht = dht and network.carries_udp
            node = stack.enter_context(open_dht(port, host, dht_nodes, network)) if has_dht else False
            client = geventbt.Client(port, host=host, dht=node, network=network, **options)  # type: ignore[arg-type]
        except OSError as error:
            raise busy_port(error, host, port) from error
        with client:
            try:
                yield client
            except Stopped as stopped:
                raise _interrupted(client, is_kept, stopped.code) from None


def busy_port(error: OSError, host: str, port: int | None) -> CommandError:
    """The error of a command that cannot listen on its port."""
    what = _BUSY.get(error.errno or 0, f"cannot be listened on: {error.strerror or error}")
    where = f"port {port}" if not host else human_address((host, port or 0))
    return CommandError(NETWORK, f"{where} {what}")


def open_dht(
    port: int | None,
    host: str,
    nodes: Sequence[tuple[str, int]],
    network: geventbt.Network,
    state: Path | None = None,
) -> geventbt.DHT:
    """A node of the DHT: on the UDP port with the number of the TCP port, if that is free.

    Args:
        port: the TCP port; None if there is none.
        host: the address to listen on.
        nodes: to begin with, in place of the public ones.
        state: the file for its id and nodes; None for that of the user.

    Raises:
        OSError: the host is not an address of this machine.
    """
    options: dict[str, Any] = {"read_only": port is None, "network": network, **dht_start(nodes)}
    if state is not None and options.get("state") is not None:
        options["state"] = state
    try:
        return geventbt.DHT(port or 0, host, **options)
    except OSError:
        return geventbt.DHT(0, host, **options)


def dht_start(nodes: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """The options of a `geventbt.DHT` for its first nodes: those that are given, or the public ones and those of the
    last run."""
    return {"nodes": nodes, "routers": ()} if nodes else {"state": dht_state()}


def _interrupted(client: geventbt.Client, is_kept: bool, code: int) -> Interrupted:
    """What is known, and how to go on, before all of it is left, which takes a moment."""
    found = [torrent.progress for torrent in client.torrents.values()]
    if not found:
        return Interrupted(code=code)
    done, wanted = sum(progress.done for progress in found), sum(progress.wanted for progress in found)
    # The one that is least far tells how to go on.
    behind = min(found, key=lambda progress: (_ORDER.index(progress.state), -progress.wanted))
    text = _how_to_resume(behind, done, wanted) if is_kept else ""
    return Interrupted(text, done if wanted else None, wanted if wanted else None, code=code)


def _how_to_resume(progress: geventbt.Progress, done: int, wanted: int) -> str:
    if progress.state == "metadata":
        return "nothing has been received yet; run the same command to start again"
    if progress.state == "checking":
        return "what is there is kept; run the same command again to resume"
    if progress.state == "seeding":
        return "run the same command to seed again"
    return f"{human_size(done)} of {human_size(wanted)} are kept; run the same command again to resume"


class StallTimer:
    """A timeout for downloads that receive nothing, or nothing that the disk would take.

    Args:
        timeout: in seconds; None for no timeout.
    """

    def __init__(self, timeout: float | None) -> None:
        self._timeout = math.inf if timeout is None else timeout
        self._since = monotonic()
        self._seen: object = None
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
        progress = torrent.progress
        if self._fault is not None:
            if progress.done <= self._done and progress.state != "seeding":
                if monotonic() - self._since >= self._timeout:
                    raise self._fault
                return
            self._fault = None
        now = (progress.state, progress.checked, progress.downloaded, progress.done)
        if now != self._seen:
            self._seen, self._since = now, monotonic()
        elif monotonic() - self._since >= self._timeout:
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


def shared_limits(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of a client for all torrents of the command together, of a command with `add_traffic`."""
    return {
        "limit_down": arguments.limit_down,
        "limit_up": arguments.limit_up,
        "max_connections": arguments.max_peers,
    }


def run_each(sources: Sequence[Source], work: Callable[[Source], None], arguments: argparse.Namespace) -> int:
    """Do the same for several torrents at one time. One that fails is told of, and the others go on.

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


def ratio_of(torrent: geventbt.ActiveTorrent) -> float:
    """The ratio of bytes sent to bytes on disk."""
    progress = torrent.progress
    return progress.uploaded / progress.done if progress.done else 0.0


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
