"""The progress of a torrent in words: the lines that all views consist of."""

from __future__ import annotations

import math
from time import monotonic

import geventbt
from geventbt.cli.flags import flags_of
from geventbt.cli.text import counted, human_address, human_ratio, human_size, human_time, printable


def tracker_errors(torrent: geventbt.ActiveTorrent) -> dict[str, str]:
    """The errors of the trackers that do not answer, by URL."""
    return {url: tracker.error for url, tracker in torrent.trackers.items() if tracker.error}


def tracker_lines(torrent: geventbt.ActiveTorrent) -> list[str]:
    """One line about each tracker that does not answer."""
    return [f"  {printable(url)}: {printable(error)}" for url, error in tracker_errors(torrent).items()]


_LABELS = {"dht": "DHT", "lsd": "local network", "pex": "peer exchange"}


def source_lines(torrent: geventbt.ActiveTorrent) -> list[str]:
    """One line about each source of peers."""
    return [", ".join(parts) for parts in source_parts(torrent)]


def source_parts(torrent: geventbt.ActiveTorrent) -> list[list[str]]:
    """Of each source of peers what it has found, or why it has not, and when it is asked; the most important first."""
    now = monotonic()
    return [
        _source_parts(f"  {_LABELS.get(name) or printable(name)}", state, now)
        for name, state in torrent.sources.items()
    ]


def _source_parts(label: str, state: geventbt.SourceStatus, now: float) -> list[str]:
    parts = [printable(state.error)] if state.error else [counted(state.peers, "peer")]
    if isinstance(state, geventbt.DHTSourceStatus):
        parts = [counted(state.nodes, "node"), *parts, f"announced to {counted(state.stored, 'node')}"]
    if state.last_announce is not None:
        parts.append(f"{human_time(max(0.0, now - state.last_announce))} ago")
    if state.next_announce is not None and state.next_announce < math.inf:
        parts.append(f"again in {human_time(max(0.0, state.next_announce - now))}")
    return [f"{label}: {parts[0]}", *parts[1:]]


def web_seed_lines(torrent: geventbt.ActiveTorrent) -> list[str]:
    """One line about each web seed that has been asked."""
    return [", ".join(parts) for parts in web_seed_parts(torrent)]


def web_seed_parts(torrent: geventbt.ActiveTorrent) -> list[list[str]]:
    """Of each web seed that has been asked what it has sent, its state, and what is wrong with it."""
    asked = [seed for seed in torrent.web_seeds if seed.state != "idle" or seed.downloaded or seed.error]
    return [_web_seed_parts(seed) for seed in asked]


def _web_seed_parts(seed: geventbt.WebSeedStatus) -> list[str]:
    parts = [f"  {printable(seed.url)}: {human_size(seed.downloaded)}"]
    if seed.state == "downloading":
        parts.append(f"{human_size(seed.download_speed)}/s")
    else:
        parts.append(str(seed.state))
    if seed.next_try is not None:
        parts.append(f"again in {human_time(seed.next_try)}")
    return [*parts, printable(seed.error)] if seed.error else parts


def status(progress: geventbt.Progress, trouble: str = "") -> list[str]:
    """Bytes, speeds, time left, peers and ratio, the most important first.

    Args:
        progress: of a torrent.
        trouble: a possible reason for having no peers.
    """
    trouble = f" ({trouble})" if trouble else ""
    peers = counted(progress.peers, "peer")
    if progress.state == "checking":
        return [f"checking {progress.checked} of {progress.pieces} pieces" if progress.pieces else "checking"]
    if progress.state == "metadata":
        return [f"fetching the metadata{trouble}"]
    ratio = human_ratio(progress.uploaded / progress.done) if progress.done else "-"
    sent = [f"{human_size(progress.uploaded)} sent at {human_size(progress.upload_speed)}/s", f"ratio {ratio}"]
    if progress.state == "seeding":
        return [f"{human_size(progress.done)} complete", *sent, peers]
    done = f"{human_size(progress.done)} of {human_size(progress.wanted)}"
    if not progress.peers and not progress.download_speed and progress.done < progress.wanted:
        return [done, f"looking for peers{trouble}"]
    left = [f"{human_time(progress.seconds_left)} left"] if progress.seconds_left else []
    return [done, f"{human_size(progress.download_speed)}/s", *left, peers, *sent]


def describe(torrent: geventbt.ActiveTorrent) -> str:
    """One line about a torrent."""
    return f"{printable(torrent.name)}: {', '.join(status_parts(torrent))}"


def status_parts(torrent: geventbt.ActiveTorrent) -> list[str]:
    """The status of a torrent, with a source of peers that fails where there are no peers, and at last what it waits
    for."""
    progress = torrent.progress
    if torrent.error is not None and torrent.retry_in is not None:
        done = f"{human_size(progress.done)} of {human_size(progress.wanted)}"
        reason = getattr(torrent.error, "strerror", None) or str(torrent.error)
        return [done, f"waiting for the disk: {printable(reason)}", f"next try in {human_time(torrent.retry_in)}"]
    waits = [f"waiting: {printable(progress.waiting_for)}"] if progress.waiting_for else []
    return [*status(progress, "" if waits else next(iter(_troubles(torrent)), "")), *waits]


def _troubles(torrent: geventbt.ActiveTorrent) -> list[str]:
    dht = torrent.dht
    no_nodes = ["no node of the DHT yet"] if dht is not None and not dht.nodes else []
    return [*(f"tracker {line.strip()}" for line in tracker_lines(torrent)), *no_nodes]


def peer_line(peer: geventbt.PeerStatus) -> str:
    """One line about a peer."""
    down, up = human_size(peer.download_speed), human_size(peer.upload_speed)
    client = printable(peer.client)[:30]
    return f"  {human_address(peer.address)} {client} {flags_of(peer)} down {down}/s up {up}/s, {peer.pieces} pieces"
