"""What a torrent is doing at a moment, as `ActiveTorrent` shows it: progress, peers, files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from geventbt.client.status import FileStatus, PeerStatus, Progress
from geventbt.client.torrent.runner import TorrentRunner
from geventbt.concurrency.threads import in_thread

if TYPE_CHECKING:
    from geventbt.discovery.dht.source import DHTSourceStatus

_MANY_FILES = 1000


def progress_of(runner: TorrentRunner) -> Progress:
    """How far a torrent is."""
    files, storage, swarm = runner.data.files, runner.data.storage, runner.peering.swarm
    totals, cause = runner.peering.totals, runner.standstill.cause
    waiting_for = None if cause is None else cause.text
    if storage is None or files is None:
        metainfo = runner.identity.metainfo
        pieces = metainfo.geometry.pieces if metainfo else 0
        return Progress(runner.life.state, checked=runner.data.checked, pieces=pieces, waiting_for=waiting_for)
    peers = swarm.table.peers if swarm else ()
    return Progress(
        state=runner.life.state,
        wanted=files.bytes_of(files.wanted),
        done=files.bytes_of(files.wanted & storage.have),
        checked=runner.data.checked,
        pieces=len(storage.have),
        downloaded=totals.downloaded,
        uploaded=totals.uploaded,
        wasted=totals.wasted,
        download_speed=runner.download_speed,
        upload_speed=sum(peer.wire.upload_speed() for peer in peers) + totals.elsewhere.upload_speed,
        peers=len(peers) + totals.elsewhere.peers,
        seeds=sum(1 for peer in peers if peer.has_all),
        waiting_for=waiting_for,
    )


def peers_of(runner: TorrentRunner) -> list[PeerStatus]:
    """The peers that are connected."""
    finder, swarm = runner.sources.finder, runner.peering.swarm
    peers = swarm.table if swarm else ()
    return [replace(peer.status(), sources=finder.sources_of(peer.address)) for peer in peers]


def files_of(runner: TorrentRunner) -> list[FileStatus]:
    """The files; none before the data on disk has been checked."""
    files, storage = runner.data.files, runner.data.storage
    if files is None or storage is None:
        return []
    # Hundreds of thousands take long enough to hold up every peer.
    return in_thread(files.status, storage) if len(files.files) > _MANY_FILES else files.status(storage)


def availability_of(runner: TorrentRunner) -> list[int]:
    """How many of the connected peers have each piece; empty without a swarm."""
    swarm = runner.peering.swarm
    return [] if swarm is None else [swarm.picker.availability(piece) for piece in range(swarm.geometry.pieces)]


def dht_of(runner: TorrentRunner) -> DHTSourceStatus | None:
    """How it goes with a torrent in the DHT; None if that is not used."""
    source = runner.sources.dht
    if source is None or not runner.sources.finder.allows_exchange:
        return None
    (status,) = source.status.values()
    return status
