"""Reports of a download that stands still: what it waits for, in its status and in the log."""

from __future__ import annotations

import logging

from geventbt import limits
from geventbt.client.status import TorrentState
from geventbt.client.swarm.swarm import Swarm
from geventbt.client.torrent.context import TorrentContext
from geventbt.client.torrent.data import TorrentData
from geventbt.client.torrent.disk_recovery import DiskRecovery
from geventbt.client.torrent.peer_sources import PeerSources
from geventbt.client.torrent.peering import Peering
from geventbt.client.torrent.standstill import (
    Cause,
    PeerCounts,
    Search,
    StandstillWatch,
    cause_of_disk,
    cause_with_peers,
    cause_without_metadata,
    cause_without_peers,
)
from geventbt.concurrency.routine import Routine

_log = logging.getLogger("geventbt")

_ACTIVE = (TorrentState.METADATA, TorrentState.DOWNLOADING)


class StandstillReport:
    """Looks now and then whether a download stands still, and for what.

    Args:
        context: the torrent.
        data: its data.
        sources: find peers.
        peering: its peers.
        recovery: from faults of the disk.
    """

    def __init__(
        self,
        context: TorrentContext,
        data: TorrentData,
        sources: PeerSources,
        peering: Peering,
        recovery: DiskRecovery,
    ) -> None:
        self._now = context.client.now
        self._identity = context.identity
        self._life = context.life
        self._data = data
        self._sources = sources
        self._peering = peering
        self._recovery = recovery
        self._watch = StandstillWatch(limits.STANDSTILL)
        self._cause: Cause | None = None
        self._routine = Routine(f"watching {self._identity.name!r}", self._look)

    @property
    def cause(self) -> Cause | None:
        """What the download waits for; None while it moves, or is not to."""
        return self._cause if self._is_active else None

    def start(self) -> None:
        """Look now and then, as long as the torrent is to do something; to be called again when it may be once more."""
        if self._is_active:
            self._routine.start()

    def stop(self) -> None:
        """Look no more."""
        self._routine.stop()
        self._cause = None

    @property
    def _is_active(self) -> bool:
        return not self._life.is_over and (self._life.is_suspended or self._life.state in _ACTIVE)

    def _look(self) -> float | None:
        if not self._is_active:
            self.stop()
            return None
        now = self._now()
        progress = (self._life.phase, self._peering.totals.downloaded, len(self._data.verified_order))
        is_still = self._watch.is_still(progress, now, is_stopped=self._recovery.stopped_by is not None)
        cause = self._cause = self._find_cause() if is_still else None
        if cause is not None and self._watch.is_news(cause, now):
            _log.warning("%r waits: %s", self._identity.name, cause.text)
        return limits.STANDSTILL / 30

    def _find_cause(self) -> Cause:
        fault, swarm = self._recovery.stopped_by, self._peering.swarm
        if fault is not None:
            return cause_of_disk(fault, self._recovery.next_try)
        if swarm is not None and len(swarm.table):
            return cause_with_peers(_counts(swarm))
        if self._life.phase is TorrentState.METADATA:
            return cause_without_metadata(self._peering.connections, self._search())
        return cause_without_peers(self._search())

    def _search(self) -> Search:
        sources = self._sources
        dht = None
        if sources.dht is not None and sources.finder.allows_exchange:
            (dht,) = sources.dht.status.values()
        return Search(
            sources.trackers.status,
            None if dht is None else dht.nodes,
            len(sources.known),
            self._peering.swarm.prospects.last_failure if self._peering.swarm is not None else None,
        )


def _counts(swarm: Swarm) -> PeerCounts:
    useful = [peer for peer in swarm.table if swarm.picker.interesting(peer)]
    unchoked = [peer for peer in useful if not peer.wire.peer_choking]
    return PeerCounts(
        peers=len(swarm.table),
        useful=len(useful),
        unchoked=len(unchoked),
        silent=sum(peer.snubbed for peer in unchoked),
        missing=swarm.picker.missing,
        broken=len(swarm.prospects.broken),
    )
