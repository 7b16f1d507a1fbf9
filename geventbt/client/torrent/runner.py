"""Runs a torrent of a client: fetches the metadata, opens the data, joins and leaves the swarm."""

from __future__ import annotations

import errno
import logging
import math
import os
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic

import gevent
from bitarray import bitarray
from bitarray.util import zeros
from gevent.event import Event
from gevent.lock import RLock

from geventbt import limits
from geventbt.client.context import ClientContext
from geventbt.client.options import TorrentOptions
from geventbt.client.peers.finder import Finder
from geventbt.client.peers.known_peers import KnownPeers, Source
from geventbt.client.status import TorrentState
from geventbt.client.swarm.reputation import Reputation
from geventbt.client.swarm.swarm import Swarm
from geventbt.client.torrent.disk_faults import DiskFaults
from geventbt.client.torrent.events import TorrentEvents
from geventbt.client.torrent.file_map import FileMap, FileRef
from geventbt.client.torrent.lost_data import ReadWarnings, find_lost
from geventbt.client.torrent.metadata_search import MetadataSearch
from geventbt.client.torrent.readahead import Readahead
from geventbt.client.torrent.totals import Totals
from geventbt.concurrency import descriptors
from geventbt.concurrency.greenlets import spawn
from geventbt.concurrency.notifier import Notifier
from geventbt.concurrency.threads import in_thread
from geventbt.discovery.dht.dht import DHT
from geventbt.discovery.dht.source import DHTSource
from geventbt.discovery.local import LocalSource
from geventbt.discovery.trackers.announce import AnnounceRequest
from geventbt.discovery.trackers.source import TrackerSource
from geventbt.errors import DownloadError, GeventBTError, NoPeersError, StorageError
from geventbt.metainfo import Magnet, Torrent
from geventbt.net.addresses import Address
from geventbt.rates.speed import SpeedMeter
from geventbt.rates.throttle import Throttle
from geventbt.rates.token_bucket import RateLimit
from geventbt.storage import ChangedData, MissingData, Storage
from geventbt.wire.wire import Wire

_log = logging.getLogger("geventbt")

MAX_RETRIES = 3
"""Connections to a peer that has given us data, one after the other, before a download that fails without peers gives
it up."""
_FIRST_RETRY = 0.5
_TICK = 1.0
"""Seconds between two rounds of what is due."""
_NO_PORT = 1
"""The port in announces where we do not listen: some trackers refuse 0, and nothing listens on this one."""
_MIN_PEERS = 10
"""With fewer connections the sources of peers are asked again as soon as they allow it."""
_MAX_NAMED = 10
"""Pieces that are named in an error."""
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class TorrentRunner:
    """Runs a torrent on a greenlet of its own: metadata, data, peers, and then what is due from time to time.

    Its public face is `ActiveTorrent`, which holds it.

    Args:
        context: what all torrents of the client share.
        source: the torrent or magnet link.
        folder: the folder that its file or folder is in, or is to be.
        options: see `TorrentOptions`.
        file_map: the files of the torrent, where it is known already.

    Attributes:
        metainfo: the torrent; None while a magnet link's metadata is being fetched.
        info_hash, name: of the torrent.
        folder: the folder that its file or folder is in.
        events: its signals.
        storage: its data; None before it is known.
        files: its files; None before the data on disk has been checked.
        error: why it failed, or None.
        known: set once the metadata is here, or the torrent has failed.
        done: set while everything wanted is here, or the torrent has failed.
        swarm: its connected peers; None while it has none to do with.
        finder, trackers, dht, lsd: find peers; the last two may be None.
        reputation: of its peers.
        totals: what it has transferred.
        meter: the speed of verified bytes.
        checked: pieces that have been checked on disk.
    """

    def __init__(
        self,
        context: ClientContext,
        source: Torrent | Magnet,
        folder: str | os.PathLike[str],
        options: TorrentOptions,
        file_map: FileMap | None = None,
    ) -> None:
        info_hash = source.info_hash
        assert info_hash is not None
        self._context = context
        self._source = source
        self.folder = folder
        self._options = options
        self.events = TorrentEvents()
        self.metainfo = source if isinstance(source, Torrent) else None
        self.info_hash = info_hash
        self.name = source.name or info_hash.hex()
        self._file_map = file_map
        self.storage: Storage | None = None
        self.files: FileMap | None = None
        self.error: Exception | None = None
        self._phase = TorrentState.CHECKING if self.metainfo else TorrentState.METADATA
        self._is_paused = False
        self._sequential = options.sequential
        self._down = RateLimit(options.limit_down, monotonic())
        self._up = Throttle(options.limit_up, context.up)
        self._known_peers = KnownPeers(retry=_FIRST_RETRY if options.fail_without_peers else limits.FIRST_RETRY)
        self.finder = Finder(self._known_peers)
        self.trackers = TrackerSource(
            self._make_announce, lambda peers, address: self.finder.add(peers, Source.TRACKER, address)
        )
        self.finder.use(self.trackers)
        self._learn_trackers()
        self.dht: DHTSource | None = None
        self.lsd: LocalSource | None = None
        if context.dht is not None:
            self.dht = self._use_dht(context.dht)
        if context.lsd is not None:
            self.lsd = LocalSource(context.lsd, info_hash, partial(self._on_found, Source.LOCAL))
            self.finder.use(self.lsd)
        self.reputation = Reputation(self._known_peers)
        self.totals = Totals()
        self.meter = SpeedMeter()
        self._search: MetadataSearch | None = None
        self._readahead = Readahead()
        self._reading = 0
        self.verified_order: list[int] = []
        self.checked = 0
        self.known = Event()
        self.done = Event()
        # For the torrent's own greenlet, and for everybody else.
        self._news = Event()
        self.changes = Notifier()
        # Joining and leaving peers, and choosing files, block: each is done to its end before the next.
        self._joining = RLock()
        self._choosing = RLock()
        self._faults = DiskFaults()
        self._gone: bitarray = zeros(0, "big")
        self._is_suspended = self._is_resumed = self._is_check_due = False
        self._records = True
        self._checkpoint_at = 0.0
        self._stuck_since: float | None = None
        self._greenlet: gevent.Greenlet = spawn(f"torrent {self.name!r}", self._run)

    def _use_dht(self, dht: DHT) -> DHTSource:
        source = DHTSource(
            dht,
            self.info_hash,
            partial(self._on_found, Source.DHT),
            port=lambda: self._context.port,
            is_seed=lambda: self._phase is TorrentState.SEEDING,
            delay=limits.DHT_SOURCE_DELAY if self._options.peers or self.trackers.can_find_more else 0.0,
        )
        self.finder.use(source)
        for node in self.metainfo.nodes if self.metainfo and not self.metainfo.private else ():
            dht.add_node(node)
        return source

    def _on_found(self, source: Source, peers: list[Address], reported_by: str) -> None:
        self.finder.add(peers, source, reported_by)

    @property
    def swarm(self) -> Swarm | None:
        """The connected peers; None before the data is known, while paused, and after the end."""
        return self.totals.swarm

    def check_thread(self) -> None:
        """Raise RuntimeError in another native thread than the client's."""
        self._context.check_thread()

    # ------------------------------------------------------------------ state

    @property
    def state(self) -> TorrentState:
        """Its state; a paused torrent is PAUSED unless it is checked or over."""
        active = (TorrentState.METADATA, TorrentState.DOWNLOADING, TorrentState.SEEDING)
        return TorrentState.PAUSED if self._is_paused and self._phase in active else self._phase

    def _enter(self, state: TorrentState) -> None:
        """Enter another state, the only place where it changes."""
        assert self._phase.may_become(state), f"from {self._phase} to {state}"
        self._phase = state
        if state in (TorrentState.CHECKING, TorrentState.DOWNLOADING):
            self.done.clear()
        else:
            self.done.set()
        self._notify()

    def _fail(self, error: Exception, state: TorrentState = TorrentState.FAILED) -> bool:
        """Note what ends the torrent. Returns False if it has ended before."""
        if self.error is not None:
            return False
        self.error = error
        self.known.set()
        self._enter(state)
        return True

    @property
    def _is_over(self) -> bool:
        """Whether it has ended for good."""
        return self.error is not None and not self._is_suspended

    @property
    def retry_in(self) -> float | None:
        """Seconds until it tries again by itself after a fault of the disk; None where it does not."""
        if not self._is_suspended or math.isinf(self._faults.retry_at):
            return None
        return max(0.0, self._faults.retry_at - monotonic())

    def raise_error(self) -> None:
        """Raise what has failed the torrent, if anything has; the tracebacks of those that wait are no part of it."""
        if self.error is not None:
            raise self.error.with_traceback(None)

    def wait(self, event: Event, timeout: float | None) -> bool:
        """Block until `known` or `done` is set, and raise what has failed the torrent."""
        self.check_thread()
        happened = event.wait(timeout)
        self.raise_error()
        return bool(happened)

    def _notify(self) -> None:
        self._news.set()
        self.changes.notify()

    # ------------------------------------------------------------------ running

    def _run(self) -> None:
        try:
            self.finder.add_by_user(self._options.peers)
            if isinstance(self._source, Magnet):
                self.finder.add_by_user(self._source.peers)
                self._fetch_metadata(self._source)
            self._make_storage()
            self._run_on_disk()
        except (GeventBTError, OSError) as error:
            self.fail(error)
        except Exception as bug:
            _log.exception("a torrent failed: %r", self.name)
            self.fail(bug)

    def _fetch_metadata(self, magnet: Magnet) -> None:
        search = self._search = MetadataSearch(
            self._context,
            self.info_hash,
            self._known_peers,
            self.finder,
            max_peers=self._options.max_peers,
            fail_without_peers=self._options.fail_without_peers,
        )
        self.join()
        try:
            metadata = search.run()
        finally:
            self._search = None
            search.stop()
        # In a thread: a torrent may have hundreds of thousands of files.
        trackers = [[url] for url in magnet.trackers]
        self.metainfo = in_thread(partial(Torrent.from_info, metadata, trackers=trackers))
        self.name = self.metainfo.name
        self._learn_trackers()
        self._enter(TorrentState.CHECKING)

    def _learn_trackers(self) -> None:
        tiers = [list(tier) for tier in self.metainfo.trackers] if self.metainfo else []
        if isinstance(self._source, Magnet) and not tiers:
            tiers = [[url] for url in self._source.trackers]
        self.trackers.tiers = [*tiers, list(self._options.trackers)] if self._options.trackers else tiers
        if self.metainfo is not None:
            self.finder.set_private(self.metainfo.private)

    def _make_storage(self) -> None:
        assert self.metainfo is not None
        options = self._options
        try:
            self._file_map = self._file_map or in_thread(FileMap, self.metainfo, options.files)
        except LookupError as error:
            raise DownloadError(str(error)) from error
        # In a thread, since it may connect to something.
        backend = in_thread(options.storage, self.metainfo, Path(self.folder)) if options.storage else None
        self.storage = in_thread(
            partial(
                Storage,
                self.metainfo,
                self.folder,
                selected=self._file_map.selected,
                overwrite=options.overwrite,
                backend=backend,
            )
        )
        self.known.set()

    def _run_on_disk(self) -> None:
        """Do all that needs the data, until the torrent is over; a fault of the disk only interrupts it."""
        while not self._is_over:
            try:
                if self.files is None:
                    self._open_data()
                else:
                    self._reopen_data()
                self.join()
                self._watch()
            except StorageError as error:
                self._suspend(error)
            if self._is_suspended:
                self._wait_for_retry()

    def _open_data(self) -> None:
        """Look what is on the disk, and make what is missing."""
        storage, file_map = self.storage, self._file_map
        assert storage is not None
        assert file_map is not None
        unknown = self._restore(storage)
        if self._options.check:
            unknown = None
        self._check(unknown)
        missing = (file_map.wanted & ~storage.have).count()
        if missing and self._options.seed_only:
            raise StorageError(
                f"{missing} of {len(storage.have)} pieces of {self.name!r} are missing or differ from the torrent"
            )
        if not self._options.seed_only:
            in_thread(storage.prepare)
        in_thread(file_map.count, storage.have)
        self.verified_order = list(storage.have.search(1))
        self._gone = zeros(len(storage.have), "big")
        self.files = file_map
        self._enter(TorrentState.DOWNLOADING)
        if not file_map.done:
            for index in file_map.empty_files():
                self.events.send("file_complete", index=index)

    def _check(self, pieces: bitarray | None) -> None:
        """Hash pieces, by default all. A file that cannot be read costs its own pieces only."""
        assert self.storage is not None
        with self._context.checking:
            check = partial(self.storage.check, self._note_checked, pieces=pieces, on_error=ReadWarnings())
            in_thread(check)

    def _restore(self, storage: Storage) -> bitarray | None:
        """The pieces to be checked.

        Where nothing can be written, or another process uses the folder of a seed, nothing is recorded and all is
        checked.
        """
        try:
            return in_thread(storage.restore)
        except StorageError as error:
            if error.errno not in _READ_ONLY and not (error.errno == errno.EBUSY and self._options.seed_only):
                raise
            self._records = False
            return None

    def _note_checked(self, checked: int, pieces: int) -> None:
        self.checked = checked

    def _watch(self) -> None:
        """Do what is due, until the torrent is over. Raises StorageError when the disk stops it."""
        while self.error is None:
            self._news.wait(_TICK)
            self._news.clear()
            if self._is_check_due:
                self._check_all()
            fault = self._faults.take()
            if fault is not None:
                self._look_for_lost(fault)
            elif monotonic() >= self._faults.retry_at:
                # Only a torrent that only seeds is not stopped by a fault.
                self._faults.resume()
                self._find_lost()
            finishes = not self.done.is_set() and self._is_all_there
            if finishes or monotonic() >= self._checkpoint_at:
                self._checkpoint_at = monotonic() + limits.CHECKPOINT_INTERVAL
                # Not before it is recorded: a disk may fail us at the last moment.
                if self._save(finishes) and finishes and self._is_all_there and self.error is None:
                    self._finish()
            if not self.done.is_set() and self.connections < _MIN_PEERS:
                self.finder.need_more()
            if self._options.fail_without_peers and not self._is_paused and (self._reading or not self.done.is_set()):
                self._check_peers()

    @property
    def _is_all_there(self) -> bool:
        """Whether every piece that is wanted is verified and written."""
        return self.files is not None and (self.files.done or self._options.seed_only)

    def _save(self, finishes: bool) -> bool:
        """Record what is there, in the end after a last look at the files. Returns whether that is so."""
        assert self.storage is not None
        try:
            if finishes and not self._options.seed_only:
                in_thread(self.storage.finish)
            self._record()
        except StorageError as error:
            if not self.done.is_set() or isinstance(error, (MissingData, ChangedData)):
                self._look_for_lost(error)
            else:
                _log.warning("%r: what is there cannot be recorded: %s", self.name, error)
            return False
        return True

    def _record(self) -> None:
        """Record what is verified, for the next start; not before all that is there is known."""
        if self._records and self.storage is not None and self.files is not None:
            in_thread(self.storage.checkpoint)

    # ------------------------------------------------------------------ faults of the disk

    def _look_for_lost(self, fault: Exception) -> None:
        """Find out what a fault of the disk has cost.

        Raises:
            StorageError: it has to stop the download: a piece that is wanted is gone, or cannot be written.
        """
        self._find_lost()
        is_read = isinstance(fault, (ChangedData, MissingData, _Unreadable))
        if self._options.seed_only:
            if self._gone.any():
                _log.warning("%r: pieces that are gone: %d: %s", self.name, self._gone.count(), fault)
                self._faults.suspend(fault, monotonic())
        elif not is_read or (self._gone & self._wanted_pieces).any():
            raise fault.error if isinstance(fault, _Unreadable) else fault
        else:
            self._fetch(True)

    def _find_lost(self) -> None:
        assert self.storage is not None
        assert self.files is not None
        before = self._gone
        self._gone, found = find_lost(self._context, self.storage, self.files, self.swarm, before)
        for piece in (self._gone & ~before).search(1):
            self.events.send("piece_lost", index=piece)
        # They may have been passed over meanwhile.
        self.verified_order.extend(found.search(1))
        self._notify()

    @property
    def _wanted_pieces(self) -> bitarray:
        assert self.files is not None
        return self.files.wanted

    def _suspend(self, error: StorageError) -> None:
        """Stop for a fault of the disk: nothing is fetched, and what is there is still served."""
        self._faults.suspend(error, monotonic())
        self._is_suspended = True
        self._fetch(False)
        if descriptors.is_shortage(error):
            # It is over as soon as a peer leaves: no failure.
            _log.warning("%r: waits for a descriptor: %s", self.name, error)
        elif self._fail(error):
            self.events.send("error", error=error)

    def _wait_for_retry(self) -> None:
        """Block until it is time to try again, or the user asks for it."""
        while not (self._is_check_due or self._is_resumed or monotonic() >= self._faults.retry_at):
            self._news.wait(_TICK)
            self._news.clear()
            if self._faults.take() is not None and self.files is not None:
                self._find_lost()
        self._faults.resume()
        self._is_resumed = self._is_suspended = False
        self.error = None
        if self._phase is TorrentState.FAILED:
            self._enter(TorrentState.CHECKING)

    def _reopen_data(self) -> None:
        """Go on after a fault of the disk: make what is missing, and fetch again."""
        assert self.storage is not None
        assert self.files is not None
        if self._is_check_due:
            self._check_all()
            return
        with self._choosing:
            self._find_lost()
            if not self._options.seed_only:
                self._prepare_again(self.storage)
        if self._phase is TorrentState.CHECKING:
            self._enter(TorrentState.DOWNLOADING)
        self._fetch(True)

    def _prepare_again(self, storage: Storage) -> None:
        """Make what is missing. Files that were lost are fetched again; they are found all at once."""
        try:
            in_thread(storage.prepare)
        except (MissingData, ChangedData):
            self._find_lost()
            in_thread(storage.prepare)

    def _fetch(self, wanted: bool) -> None:
        """Fetch what is missing, or nothing."""
        if self.swarm is not None and self.files is not None:
            wanted = wanted and not self._options.seed_only
            self.swarm.set_wanted(in_thread(self.files.piece_priorities) if wanted else bytes(len(self.files.wanted)))

    def check(self) -> None:
        """Hash all data again; see `ActiveTorrent.check`."""
        self._is_check_due = True
        self._notify()
        while self._is_check_due and not self._is_over:
            self.changes.wait()

    def _check_all(self) -> None:
        """Hash all data, without peers meanwhile."""
        storage, files = self.storage, self.files
        assert storage is not None
        assert files is not None
        try:
            with self._choosing:
                if self._phase is not TorrentState.CHECKING:
                    self._enter(TorrentState.CHECKING)
                self._leave()
                self.checked = 0
                self._check(None)
                self._gone |= files.lost(storage.have)
                self._gone &= ~storage.have
                for piece in files.lost(storage.have).search(1):
                    self.events.send("piece_lost", index=piece)
                in_thread(files.count, storage.have)
                self.verified_order.extend(storage.have.search(1))
                if not self._options.seed_only:
                    in_thread(storage.prepare)
                self._enter(TorrentState.DOWNLOADING)
        finally:
            self._is_check_due = False
            self._notify()
        self.join()

    # ------------------------------------------------------------------ its end

    def _finish(self) -> None:
        self._enter(TorrentState.SEEDING)
        self.events.send("complete")
        is_complete = self.storage is not None and self.storage.complete
        if is_complete and self.swarm is not None and self.swarm.table.downloaded:
            self.finder.completed()

    def _check_peers(self) -> None:
        """Raise if the download cannot go on."""
        swarm = self.swarm
        if swarm is None or swarm.seeding:
            return
        if self._is_stuck(swarm):
            pieces = ", ".join(map(str, sorted(swarm.broken)[:_MAX_NAMED]))
            raise DownloadError(f"pieces {pieces} are wrong from every peer: the torrent seems to be broken")
        if self.finder.can_find_more or not swarm.is_alone(MAX_RETRIES):
            return
        if not self._options.peers and not (isinstance(self._source, Magnet) and self._source.peers):
            raise NoPeersError("no peers to download from")
        failure = swarm.last_failure or swarm.dialer.last_failure
        what = "every peer has left" if any(self.reputation.served.values()) else "no peer could be reached"
        if self.reputation.banned:
            what = "every peer has left, or sent wrong data"
        raise NoPeersError(f"{what}: {failure}" if failure else what) from failure

    def _is_stuck(self, swarm: Swarm) -> bool:
        """Whether nobody is left to ask for the pieces that were wrong from every peer: none is known, and trackers
        have named none for a while."""
        if not swarm.is_stuck:
            self._stuck_since = None
            return False
        now = monotonic()
        self._stuck_since = now if self._stuck_since is None else self._stuck_since
        return not self.finder.can_find_more or now - self._stuck_since >= limits.STUCK_TIME

    def fail(self, error: Exception) -> None:
        """End with an error: those who wait get it, and all peers are left."""
        if self._fail(error):
            self.events.send("error", error=error)
            spawn(f"leaving {self.name!r}", self._leave)

    def close(self, timeout: float = limits.STOP_TIMEOUT) -> None:
        """Stop, and let go of peers and files; what is verified stays, and is recorded."""
        self._is_suspended = False
        self._fail(DownloadError("the torrent was removed from its client"), TorrentState.REMOVED)
        self._notify()
        self._greenlet.kill()
        self._leave(timeout)
        if self.storage is not None:
            with suppress(GeventBTError):
                self._record()
            in_thread(self.storage.close)

    # ------------------------------------------------------------------ peers

    @property
    def connections(self) -> int:
        """The number of peers that are connected, or being connected to."""
        active = self.swarm or self._search
        return active.connections if active is not None else 0

    def accept(self, wire: Wire) -> None:
        """Take a peer that has connected to the client and asks for this torrent."""
        active = self.swarm or self._search
        if active is not None:
            active.accept(wire)
        else:
            wire.close(0)

    def join(self) -> None:
        """Look for peers and connect to them, unless it is paused or over."""
        with self._joining:
            if self._is_paused or self._is_over:
                return
            if self._search is not None:
                self._search.start()
            if self.files is not None and self.storage is not None and self.swarm is None:
                self.totals.swarm = self._make_swarm(self.storage, self.files)
                self._set_deadlines(self._readahead)
                self.totals.swarm.start()
            self.finder.start()

    def _make_swarm(self, storage: Storage, files: FileMap) -> Swarm:
        swarm = Swarm(
            self._context,
            storage,
            self._known_peers,
            self.finder,
            self.reputation,
            self,
            max_peers=self._options.max_peers,
            up=self._up,
            down=self._down,
        )
        fetches = not self._is_suspended and not self._options.seed_only
        swarm.picker.set_priorities(in_thread(files.piece_priorities) if fetches else bytes(len(files.wanted)))
        swarm.picker.sequential = self._sequential
        return swarm

    def _leave(self, timeout: float = limits.STOP_TIMEOUT) -> None:
        """Leave all peers, and stop looking for them."""
        with self._joining:
            stopping = spawn(f"leaving the trackers of {self.name!r}", self.finder.stop, timeout)
            if self._search is not None:
                self._search.stop()
            if self.swarm is not None:
                self.swarm.stop(timeout)
                self.totals.end_swarm()
                self._notify()
            stopping.join(timeout)
            self.totals.start_session()

    def pause(self) -> None:
        """Leave all peers until `resume`; blocks until they are left, trackers may take longer."""
        if not self._is_paused and not self._is_over:
            self._is_paused = True
            spawn(f"leaving {self.name!r}", self._leave)
            while self._is_paused and self.swarm is not None:
                self.changes.wait()

    def resume(self) -> None:
        """Go on after `pause`, or after a fault of the disk."""
        if self._is_over:
            return
        if self._is_suspended:
            self._is_resumed = True
        if self._is_paused:
            self._is_paused = False
            self.join()
        self._notify()

    def set_limits(self, down: int | None, up: int | None) -> None:
        """Set the torrent's own rates, in bytes a second; None for no limit."""
        self._down.set_rate(down, monotonic())
        self._up.rate = up

    def _make_announce(self, event: str) -> AnnounceRequest:
        files, storage = self.files, self.storage
        return AnnounceRequest(
            self.info_hash,
            self._context.peer_id,
            self._context.port or _NO_PORT,
            uploaded=self.totals.session_uploaded,
            downloaded=self.totals.session_downloaded,
            # Of all files: a peer that has only some of them is not a seed. One byte while it is unknown: a peer that
            # needs nothing is not told of seeds.
            left=files.bytes_of(~storage.have) if files and storage else 1,
            event=event,
        )

    # ------------------------------------------------------------------ what happens in the swarm

    def on_piece_verified(self, piece: int) -> None:
        """See `SwarmOwner`."""
        assert self.metainfo is not None
        assert self.files is not None
        self.meter.add(self.metainfo.geometry.piece_size(piece), monotonic())
        self.verified_order.append(piece)
        if not self._is_suspended:
            # Otherwise it was written by the other thread, while one was failing.
            self._faults.over()
        self.events.send("piece_verified", index=piece)
        for index in self.files.note_verified(piece):
            self.events.send("file_complete", index=index)
        self._notify()

    def on_piece_failed(self, piece: int) -> None:
        """See `SwarmOwner`."""
        self.events.send("piece_failed", index=piece)

    def on_storage_error(self, error: StorageError) -> None:
        """See `SwarmOwner`."""
        self._faults.note(error)
        self._notify()

    def on_read_error(self, error: StorageError) -> None:
        """See `SwarmOwner`."""
        if not descriptors.is_shortage(error):
            self._faults.note(error if isinstance(error, (ChangedData, MissingData)) else _Unreadable(error))
            self._notify()

    def on_peer_added(self, wire: Wire) -> None:
        """See `SwarmOwner`."""
        self.events.send("peer_added", wire=wire)

    def on_peer_removed(self, wire: Wire) -> None:
        """See `SwarmOwner`."""
        self.events.send("peer_removed", wire=wire)

    # ------------------------------------------------------------------ files

    def known_files(self) -> FileMap:
        """Block until the data on disk has been checked."""
        self.check_thread()
        while self.files is None:
            self.raise_error()
            self.changes.wait()
        return self.files

    def set_priorities(self, priorities: Mapping[FileRef, int]) -> None:
        """Give files priorities, and make those that are wanted; see `ActiveTorrent.set_priorities`."""
        file_map, storage = self.known_files(), self.storage
        assert storage is not None
        with self._choosing:
            before, had = file_map.priorities, storage.have.copy()
            in_thread(file_map.set_priorities, priorities)
            try:
                in_thread(_choose, storage, file_map.selected)
            except StorageError as error:
                in_thread(file_map.set_priorities, before)
                if (had & ~storage.have).any():
                    self._suspend(error)
                    raise
                in_thread(storage.select, file_map.selected)
                raise
            if self.swarm is not None and not self._is_suspended:
                self.swarm.picker.set_priorities(in_thread(file_map.piece_priorities))
                self._set_deadlines(self._readahead)
            if not file_map.done and self._phase is TorrentState.SEEDING:
                self._enter(TorrentState.DOWNLOADING)
            self._notify()

    @property
    def sequential(self) -> bool:
        """Whether pieces are fetched in their order."""
        return self._sequential

    @sequential.setter
    def sequential(self, value: bool) -> None:
        self._sequential = value
        if self.swarm is not None:
            self.swarm.picker.sequential = value

    # ------------------------------------------------------------------ readers

    @property
    def has_readers(self) -> bool:
        """Whether pieces are being fetched for a reader."""
        return bool(self._readahead)

    def read(self, piece: int, offset: int, length: int, *, gives_up: Callable[[], bool] = lambda: False) -> bytes:
        """Block until a piece is verified, and read a range of it; see `PieceSource`."""
        self.known_files()
        storage = self.storage
        assert storage is not None
        self._reading += 1
        try:
            while True:
                while not storage.have[piece]:
                    self.raise_error()
                    if gives_up():
                        return b""
                    if self._options.seed_only and self._gone[piece]:
                        raise StorageError(
                            f"piece {piece} of {self.name!r} is gone from the disk, or was changed there"
                        )
                    self.changes.wait(_TICK)
                try:
                    return in_thread(storage.read, piece, offset, length)
                except StorageError as error:
                    self.on_read_error(error)
                    # It may be found again, or its loss fails the torrent.
                    self.changes.wait(_TICK)
        finally:
            self._reading -= 1

    def read_ahead(self, reader: Hashable, pieces: range) -> None:
        """Fetch the pieces that a reader needs before those that no reader waits for; see `PieceSource`."""
        if self.storage is None:
            return
        missing = [piece for piece in pieces if not self.storage.have[piece]]
        changed, forgotten = self._readahead.move(reader, missing, monotonic())
        self._set_deadlines(changed)
        if self.swarm is not None and self.files is not None:
            for piece in forgotten:
                self.swarm.picker.set_deadline(piece, None)
                if not self.files.wanted[piece]:
                    self.swarm.picker.set_priority(piece, 0)
        # For a greenlet that is reading with a reader that has just been closed.
        self._notify()

    def _set_deadlines(self, pieces: Iterable[int]) -> None:
        if self.swarm is not None:
            for piece in pieces:
                self.swarm.picker.set_deadline(piece, self._readahead.due(piece))
            self.swarm.on_wants()


class _Unreadable(StorageError):
    """A piece cannot be read.

    Args:
        error: why.
    """

    def __init__(self, error: StorageError) -> None:
        super().__init__(*error.args)
        self.errno, self.filename = error.errno, error.filename
        self.error = error


def _choose(storage: Storage, files: set[int]) -> None:
    """Want these files, and make them, in a native thread."""
    storage.select(files)
    storage.prepare()
