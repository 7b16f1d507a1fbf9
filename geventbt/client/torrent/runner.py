"""Runs a torrent of a client: fetches the metadata, opens the data, joins the swarm, does what is due until the end.

The parts of a runner: `Lifecycle` is the state, `TorrentData` what is on the disk, `PeerSources` finds peers, `Peering`
joins and leaves the swarm, `DiskRecovery` deals with faults of the disk, `PieceReads` reads for the user, `DeadEnd`
says when a download cannot go on, and `StandstillReport` what it waits for.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import suppress

from geventbt import limits
from geventbt.client.context import ClientContext
from geventbt.client.options import TorrentOptions
from geventbt.client.status import TorrentState
from geventbt.client.torrent.context import TorrentContext
from geventbt.client.torrent.data import TorrentData
from geventbt.client.torrent.dead_end import DeadEnd
from geventbt.client.torrent.disk_recovery import DiskRecovery
from geventbt.client.torrent.events import TorrentEvents
from geventbt.client.torrent.file_map import FileMap, FileRef
from geventbt.client.torrent.identity import TorrentIdentity
from geventbt.client.torrent.lifecycle import Lifecycle
from geventbt.client.torrent.peer_sources import PeerSources
from geventbt.client.torrent.peering import Peering
from geventbt.client.torrent.piece_reads import PieceReads
from geventbt.client.torrent.readahead import Readahead
from geventbt.client.torrent.standstill_report import StandstillReport
from geventbt.client.torrent.totals import Totals
from geventbt.concurrency.routine import Routine
from geventbt.concurrency.threads import in_thread
from geventbt.errors import DownloadError, GeventBTError, StorageError
from geventbt.metainfo import Magnet, Torrent
from geventbt.net.ip_filter import HostFilter
from geventbt.rates.speed import SpeedMeter
from geventbt.storage import ChangedData, MissingData
from geventbt.wire.wire import Wire

_log = logging.getLogger("geventbt")

_TICK = 1.0
"""Seconds between two rounds of what is due."""
_MIN_PEERS = 10
"""With fewer connections the sources of peers are asked again as soon as they allow it."""


class TorrentRunner:
    """Runs a torrent, on a greenlet of its own until it is at rest: a `SwarmOwner`. Its public face is `ActiveTorrent`,
    which holds it.

    Args:
        client: what all torrents of the client share.
        source: the torrent or magnet link.
        folder: the folder that its file or folder is in, or is to be.
        options: see `TorrentOptions`.
        file_map: the files of the torrent, where it is known already.

    Attributes:
        identity, events, life, data, sources, peering, reads, standstill: its parts; see their classes.
    """

    def __init__(
        self,
        client: ClientContext,
        source: Torrent | Magnet,
        folder: str | os.PathLike[str],
        options: TorrentOptions,
        file_map: FileMap | None = None,
    ) -> None:
        self._client = client
        self._options = options
        self.events = TorrentEvents()
        self.identity = identity = TorrentIdentity(source)
        self.life = life = Lifecycle(TorrentState.CHECKING if identity.metainfo else TorrentState.METADATA)
        context = TorrentContext(client, options, identity, life, self.events)
        self.data = data = TorrentData(context, folder, file_map)
        totals, readahead = Totals(), Readahead()
        self.sources = sources = PeerSources(context, data, totals)
        self.peering = peering = Peering(context, data, sources, readahead, totals, owner=self)
        self._recovery = DiskRecovery(context, data, peering)
        self.reads = PieceReads(context, data, peering, self._recovery, readahead)
        self._dead_end = DeadEnd(
            peering.reputation, peering.web_seeds, has_named_peers=sources.has_named_peers, now=client.now
        )
        self.standstill = StandstillReport(context, data, sources, peering, self._recovery)
        self._meter = SpeedMeter()
        self._checkpoint_at = 0.0
        self._is_open = False
        self._routine = Routine(f"torrent {identity.name!r}", self._run)
        life.on_news = self._routine.wake
        self._routine.start()

    @property
    def name(self) -> str:
        """The name of the torrent, or of the link."""
        return self.identity.name

    @property
    def retry_in(self) -> float | None:
        """Seconds until it tries again by itself after a fault of the disk; None where it does not."""
        return self._recovery.next_try if self.life.is_suspended else None

    def leave_blocked(self, hosts: HostFilter) -> None:
        """Leave the peers that a filter blocks."""
        if self.peering.swarm is not None:
            self.peering.swarm.leave_blocked(hosts)

    def check_thread(self) -> None:
        """Raise RuntimeError in another native thread than the client's."""
        self._client.check_thread()

    # ------------------------------------------------------------------ running

    def _run(self) -> float | None:
        """Run until the torrent is over or at rest. Returns the seconds until the next look at its files."""
        try:
            if not self.life.known.is_set():
                self._find_out()
            self._run_on_disk()
        except (GeventBTError, OSError) as error:
            self.fail(error)
        except Exception as bug:
            _log.exception("a torrent failed: %r", self.name)
            self.fail(bug)
        return None if self.life.is_over else max(0.0, self._checkpoint_at - self._client.now())

    def _find_out(self) -> None:
        """Find out what the torrent is, and where its data is."""
        self.standstill.start()
        self.sources.add_by_user()
        if self.identity.metainfo is None:
            self._fetch_metadata()
        assert self.identity.metainfo is not None
        self.peering.web_seeds.use(self.identity.metainfo, self._options.web_seeds)
        self.data.make()
        self.life.known.set()

    def _fetch_metadata(self) -> None:
        metadata = self.peering.fetch_metadata()
        # In a thread: a torrent may have hundreds of thousands of files.
        self.identity.set_metainfo(in_thread(metadata.torrent, self.identity.trackers, self.identity.web_seeds))
        self.sources.update()
        self.life.enter(TorrentState.CHECKING)

    def _run_on_disk(self) -> None:
        """Do all that needs the data, until the torrent is over or at rest; a fault of the disk only interrupts it."""
        while not self.life.is_over:
            try:
                if not self._is_open:
                    self._begin()
                self._watch()
                return
            except StorageError as error:
                self._is_open = False
                self._recovery.suspend(error)
            if self.life.is_suspended:
                self.standstill.start()
                self._recovery.wait_for_retry()

    def _begin(self) -> None:
        if self.data.files is None:
            self._open_data()
        else:
            self._recovery.reopen()
        self.peering.join()
        self._is_open = True

    def _open_data(self) -> None:
        self.data.open()
        self.life.enter(TorrentState.DOWNLOADING)
        _, files = self.data.opened
        if not files.done:
            for index in in_thread(files.empty_files):
                self.events.send("file_complete", index=index)

    def _watch(self) -> None:
        """Do what is due, until the torrent is over or at rest. Raises StorageError when the disk stops it."""
        life = self.life
        while life.error is None:
            self.standstill.start()
            self._recovery.look()
            self._record_or_finish()
            if self._is_at_rest:
                return
            if not life.done.is_set() and self.peering.connections < _MIN_PEERS:
                self.sources.finder.need_more()
            if self._options.fail_without_peers and not life.is_paused:
                self._check_prospects()
            life.wait_for_news(_TICK)

    @property
    def _is_at_rest(self) -> bool:
        """Whether nothing is to be done before there is news, or the files are to be looked at again."""
        is_complete = self.life.phase is TorrentState.SEEDING and self._recovery.next_try is None
        return is_complete and not self._options.fail_without_peers

    def _record_or_finish(self) -> None:
        now, life = self._client.now(), self.life
        finishes = not life.done.is_set() and self.data.is_all_there
        if not finishes and now < self._checkpoint_at:
            return
        # Not before it is recorded: a disk may fail us at the last moment.
        if self._save(finishes) and finishes and self.data.is_all_there and life.error is None:
            self._finish()
        self._checkpoint_at = now + (limits.SEED_CHECKPOINT if self._is_at_rest else limits.CHECKPOINT_INTERVAL)

    def _save(self, finishes: bool) -> bool:
        """Record what is there, in the end after a last look at the files. Returns whether nothing is lost, and, of a
        download that is to finish, whether that is recorded."""
        try:
            if finishes:
                self.data.finish()
            self.data.record()
        except StorageError as error:
            # What is only served is there all the same, on a full disk, too.
            needs_record = not self.life.done.is_set() and not self._options.seed_only
            if needs_record or isinstance(error, (MissingData, ChangedData)):
                self._recovery.look_for_lost(error)
                return False
            _log.warning("%r: what is there cannot be recorded: %s", self.name, error)
        return True

    def _check_prospects(self) -> None:
        """Raise if the download cannot go on."""
        swarm = self.peering.swarm
        if swarm is not None and (self.reads.under_way or not self.life.done.is_set()):
            self._dead_end.check(swarm.prospects, can_find_more=self.sources.finder.can_find_more)

    # ------------------------------------------------------------------ its end

    def _finish(self) -> None:
        self.life.enter(TorrentState.SEEDING)
        self.events.send("complete")
        swarm = self.peering.swarm
        if self.data.is_complete and swarm is not None and swarm.downloaded:
            self.sources.finder.completed()

    def fail(self, error: Exception) -> None:
        """End with an error: those who wait get it, and all peers are left."""
        if self.life.fail(error):
            self.events.send("error", error=error)
            self.peering.leave_soon()

    def close(self, timeout: float = limits.STOP_TIMEOUT, *, delete: bool = False) -> None:
        """Stop, and let go of peers and files; what is verified stays, and is recorded.

        Args:
            timeout: seconds for the peers, and for the trackers.
            delete: delete the files instead.

        Raises:
            StorageError: they cannot be deleted.
        """
        self.life.is_suspended = False
        self.life.fail(DownloadError("the torrent was removed from its client"), TorrentState.REMOVED)
        self.life.notify()
        self.standstill.stop()
        self._routine.stop()
        self.peering.leave(timeout)
        try:
            if delete:
                self.data.delete()
            else:
                with suppress(GeventBTError):
                    self.data.record()
        finally:
            self.data.close()

    # ------------------------------------------------------------------ for its client and its user

    @property
    def download_speed(self) -> float:
        """Verified bytes a second."""
        return self._meter.speed(self._client.now())

    @property
    def connections(self) -> int:
        """The number of peers that are connected, or being connected to."""
        return self.peering.connections

    def accept(self, wire: Wire) -> None:
        """Take a peer that has connected to the client and asks for this torrent."""
        self.peering.accept(wire)

    def check(self) -> None:
        """Hash all data again; see `ActiveTorrent.check`."""
        self._recovery.check()

    def resume(self) -> None:
        """Go on after a pause, or after a fault of the disk."""
        if not self.life.is_over:
            self._recovery.resume()
            self.peering.resume()
            self.life.notify()

    def known_files(self) -> FileMap:
        """Block until the data on disk has been checked."""
        self.check_thread()
        while self.data.files is None:
            self.life.raise_error()
            self.life.changes.wait()
        return self.data.files

    def set_priorities(self, priorities: Mapping[FileRef, int]) -> None:
        """Give files priorities, and make those that are wanted; see `ActiveTorrent.set_priorities`."""
        self.known_files()
        storage, files = self.data.opened
        with self.data.lock:
            try:
                self.data.choose(priorities)
            except StorageError as error:
                if files.lost(storage.have).any():
                    self._recovery.suspend(error)
                raise
            self.peering.update_priorities()
            if not files.done and self.life.phase is TorrentState.SEEDING:
                self.life.enter(TorrentState.DOWNLOADING)
            self.life.notify()

    # ------------------------------------------------------------------ what happens in the swarm

    def on_piece_verified(self, piece: int) -> None:
        storage, _ = self.data.opened
        self._meter.add(storage.torrent.geometry.piece_size(piece), self._client.now())
        self._recovery.note_written()
        self.events.send("piece_verified", index=piece)
        for index in self.data.note_verified(piece):
            self.events.send("file_complete", index=index)
        self.life.notify()

    def on_piece_failed(self, piece: int) -> None:
        self.events.send("piece_failed", index=piece)

    def on_storage_error(self, error: StorageError) -> None:
        self._recovery.note_error(error)

    def on_read_error(self, error: StorageError) -> None:
        self._recovery.note_read_error(error)

    def on_peer_added(self, wire: Wire) -> None:
        self.events.send("peer_added", wire=wire)

    def on_peer_removed(self, wire: Wire) -> None:
        self.events.send("peer_removed", wire=wire)
        self.life.news.set()
