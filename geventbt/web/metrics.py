"""The metrics of a client, for Prometheus.

No label has a value that a torrent or peer chooses, and none has more than a few values: torrents have metrics of their
own only where that is asked for, and then up to a limit.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import gevent

from geventbt import __version__, limits
from geventbt.client.client import Client
from geventbt.client.status import Progress, TorrentState
from geventbt.client.torrent.active_torrent import ActiveTorrent
from geventbt.concurrency.turns import in_turns
from geventbt.net.text import clean_text
from geventbt.web.answer import StreamCounters
from geventbt.web.exposition import Family, by_label, render, single
from geventbt.web.snapshot import free_space

resource: Any = None
if sys.platform != "win32":
    import resource

_STATES = [str(state) for state in TorrentState if state is not TorrentState.REMOVED]


@dataclass
class HTTPCounters:
    """Answers so far, by the first part of their path and the class of their status, such as ("stream", "2xx")."""

    answers: Counter[tuple[str, str]]
    failed_logins: Callable[[], int] = lambda: 0


class Metrics:
    """The metrics of a client.

    Args:
        client: the client.
        folder: whose free space is of interest; None for none.
        streams: what was streamed, if anything is.
        http: what was answered, if that is counted.
        per_torrent: whether up to `limits.WEB_METRICS_TORRENTS` torrents have metrics of their own.
    """

    def __init__(
        self,
        client: Client,
        *,
        folder: str | os.PathLike[str] | None = None,
        streams: StreamCounters | None = None,
        http: HTTPCounters | None = None,
        per_torrent: bool = False,
    ) -> None:
        self._client = client
        self._folder = folder
        self._streams = streams
        self._http = http
        self._per_torrent = per_torrent
        self._started = time.time()
        self._traffic = _Traffic()

    def text(self) -> str:
        """All of them, in Prometheus' format."""
        return render(self._families())

    def _families(self) -> Iterator[Family]:
        found = [(torrent, torrent.progress) for torrent in in_turns(list(self._client.torrents.values()))]
        self._traffic.update(found)
        yield from self._process()
        yield from self._torrents([progress for _, progress in found])
        yield from self._peers(found)
        if self._streams is not None:
            yield from _streams(self._streams)
        if self._http is not None:
            yield from _http(self._http)
        if self._per_torrent:
            yield from _each(found[: limits.WEB_METRICS_TORRENTS])

    def _process(self) -> Iterator[Family]:
        labels = {"version": __version__, "python": platform.python_version(), "gevent": gevent.__version__}
        yield Family("geventbt_build_info", "gauge", "The versions that run.", [(labels, 1)])
        yield single("geventbt_start_time_seconds", "gauge", "When metrics began, since 1970.", self._started)
        if resource is not None:
            usage = resource.getrusage(resource.RUSAGE_SELF)
            spent = usage.ru_utime + usage.ru_stime
            yield single("process_cpu_seconds_total", "counter", "CPU time of the process.", spent)
        memory = _resident_memory()
        if memory is not None:
            yield single("process_resident_memory_bytes", "gauge", "Resident memory.", memory)
            yield single("process_open_fds", "gauge", "Open file descriptors.", len(os.listdir("/proc/self/fd")))
        if self._folder is not None and (free := free_space(self._folder)) is not None:
            yield single("geventbt_download_folder_free_bytes", "gauge", "Free space for downloads.", free)

    def _torrents(self, found: list[Progress]) -> Iterator[Family]:
        states = Counter(str(progress.state) for progress in found)
        yield by_label(
            "geventbt_torrents", "gauge", "Torrents by state.", "state", {state: states[state] for state in _STATES}
        )
        wanted = sum(progress.wanted for progress in found)
        missing = wanted - sum(progress.done for progress in found)
        yield single("geventbt_wanted_bytes", "gauge", "Bytes of the wanted pieces.", wanted)
        yield single("geventbt_missing_bytes", "gauge", "Bytes of those that are missing.", missing)
        traffic = self._traffic
        yield single("geventbt_received_payload_bytes_total", "counter", "Bytes of blocks received.", traffic.received)
        yield single("geventbt_sent_payload_bytes_total", "counter", "Bytes of blocks sent.", traffic.sent)
        yield single(
            "geventbt_wasted_bytes_total", "counter", "Bytes received twice, unrequested or wrong.", traffic.wasted
        )

    def _peers(self, found: list[tuple[ActiveTorrent, Progress]]) -> Iterator[Family]:
        yield single("geventbt_peers", "gauge", "Connected peers.", sum(one.peers for _, one in found))
        yield single("geventbt_seeds", "gauge", "Connected peers that have all.", sum(one.seeds for _, one in found))
        banned = sum(len(torrent.banned) for torrent, _ in found)
        yield single("geventbt_banned_peers", "gauge", "Addresses that sent wrong data.", banned)
        trackers = Counter(
            _tracker_state(each.error, each.registered) for torrent, _ in found for each in torrent.trackers.values()
        )
        states = {state: trackers[state] for state in ("working", "failing", "waiting")}
        yield by_label("geventbt_trackers", "gauge", "Trackers of all torrents.", "status", states)
        rates = {"down": self._client.limit_down, "up": self._client.limit_up}
        yield by_label(
            "geventbt_rate_limit_bytes_per_second",
            "gauge",
            "Limits of all torrents together; +Inf for none.",
            "direction",
            {name: float("inf") if rate is None else rate for name, rate in rates.items()},
        )


class _Traffic:
    """Totals that never fall, although torrents leave the client with what they have counted.

    What a torrent transfers between a look and its removal is not in them.
    """

    def __init__(self) -> None:
        self.received = self.sent = self.wasted = 0
        self._seen: WeakKeyDictionary[ActiveTorrent, Progress] = WeakKeyDictionary()

    def update(self, found: list[tuple[ActiveTorrent, Progress]]) -> None:
        """Add what each torrent has transferred since the last time."""
        for torrent, now in found:
            before = self._seen.get(torrent, Progress(now.state))
            self.received += now.downloaded - before.downloaded
            self.sent += now.uploaded - before.uploaded
            self.wasted += now.wasted - before.wasted
            self._seen[torrent] = now


def _streams(streams: StreamCounters) -> Iterator[Family]:
    yield single("geventbt_streams", "gauge", "Files that are being streamed.", streams.open)
    yield single("geventbt_stream_sent_bytes_total", "counter", "Bytes of files streamed.", streams.sent)
    yield by_label("geventbt_stream_ends_total", "counter", "Streams that ended.", "reason", streams.ended)


def _http(http: HTTPCounters) -> Iterator[Family]:
    samples = [({"route": route, "code": code}, float(count)) for (route, code), count in http.answers.items()]
    yield Family("geventbt_http_requests_total", "counter", "Answers to HTTP requests.", samples)
    yield single("geventbt_http_auth_failures_total", "counter", "Wrong logins.", http.failed_logins())


def _each(found: list[tuple[ActiveTorrent, Progress]]) -> Iterator[Family]:
    labels = [{"torrent": torrent.info_hash.hex()} for torrent, _ in found]
    names = [{**label, "name": clean_text(torrent.name)} for label, (torrent, _) in zip(labels, found, strict=True)]
    yield Family("geventbt_torrent_info", "gauge", "The names of torrents.", [(name, 1) for name in names])
    values: dict[str, tuple[str, Callable[[Progress], float]]] = {
        "geventbt_torrent_done_ratio": ("Verified, as a fraction of what is wanted.", lambda one: one.fraction),
        "geventbt_torrent_peers": ("Connected peers.", lambda one: one.peers),
        "geventbt_torrent_received_payload_bytes": ("Bytes of blocks received.", lambda one: one.downloaded),
        "geventbt_torrent_sent_payload_bytes": ("Bytes of blocks sent.", lambda one: one.uploaded),
    }
    for name, (text, value) in values.items():
        samples = [(label, value(progress)) for label, (_, progress) in zip(labels, found, strict=True)]
        yield Family(name, "gauge", text, list(samples))


def _tracker_state(error: str | None, is_registered: bool) -> str:
    if error is not None:
        return "failing"
    return "working" if is_registered else "waiting"


def _resident_memory() -> int | None:
    """Bytes; None where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
