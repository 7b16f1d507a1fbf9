"""Runs a torrent of a client: fetches the metadata, opens the data, joins and leaves the swarm."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic

import gevent
from bitarray import bitarray
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
from geventbt.client.torrent.events import TorrentEvents
from geventbt.client.torrent.file_map import FileMap, FileRef
from geventbt.client.torrent.metadata_search import MetadataSearch
from geventbt.client.torrent.readahead import Readahead
from geventbt.client.torrent.totals import Totals
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
from geventbt.storage import Storage
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
        self._file_map = FileMap(source, options.files) if isinstance(source, Torrent) else None
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
        self.dht: DHTSource | None = None
        self.lsd: LocalSource | None = None
        if context.dht is not None:
            self.dht = self._use_dht(context.dht)
        if context.lsd is not None:
            self.lsd = LocalSource(context.lsd, info_hash, partial(self._on_found, Source.LOCAL))
            self.finder.use(self.lsd)
        self._learn_trackers()
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
        self._records = True
        self._checkpoint_at = 0.0
        self._greenlet: gevent.Greenlet = spawn(f"torrent {self.name!r}", self._run)

    def _use_dht(self, dht: DHT) -> DHTSource:
        source = DHTSource(
            dht,
            self.info_hash,
            partial(self._on_found, Source.DHT),
            port=lambda: self._context.port,
            is_seed=lambda: self._phase is TorrentState.SEEDING,
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
        if state is TorrentState.DOWNLOADING:
            self.done.clear()
        elif state is not TorrentState.CHECKING:
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
            self._open_storage()
            self.join()
            self._watch()
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
        self.metainfo = Torrent.from_info(metadata, trackers=[[url] for url in magnet.trackers])
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

    def _open_storage(self) -> None:
        assert self.metainfo is not None
        try:
            file_map = self._file_map or FileMap(self.metainfo, self._options.files)
        except LookupError as error:
            raise DownloadError(str(error)) from error
        make_backend = self._options.storage
        # In a thread, since it may connect to something.
        backend = in_thread(make_backend, self.metainfo, Path(self.folder)) if make_backend else None
        storage = self.storage = Storage(self.metainfo, self.folder, selected=file_map.selected, backend=backend)
        self.known.set()
        unknown = self._restore(storage)
        with self._context.checking:
            in_thread(partial(storage.check, self._note_checked, pieces=unknown))
        missing = (file_map.wanted & ~storage.have).count()
        if missing and self._options.seed_only:
            raise StorageError(
                f"{missing} of {len(storage.have)} pieces of {self.name!r} are missing or differ from the torrent"
            )
        if not self._options.seed_only:
            in_thread(storage.prepare)
        file_map.count(storage.have)
        self.verified_order = list(storage.have.search(1))
        self.files = file_map
        self._enter(TorrentState.DOWNLOADING)

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
        """Do what is due, until the torrent is removed."""
        while self.error is None:
            self._news.wait(_TICK)
            self._news.clear()
            now = monotonic()
            finishes = not self.done.is_set() and self._is_all_there
            if finishes or now >= self._checkpoint_at:
                self._checkpoint_at = now + limits.CHECKPOINT_INTERVAL
                self._record()
            # Not before it is recorded: a disk may fail us at the last moment.
            if finishes and self._is_all_there and self.error is None:
                self._finish()
            if not self.done.is_set() and self.connections < _MIN_PEERS:
                self.finder.need_more()
            if self._options.fail_without_peers and not self._is_paused and (self._reading or not self.done.is_set()):
                self._check_peers()

    @property
    def _is_all_there(self) -> bool:
        """Whether every piece that is wanted is verified and written."""
        return self.files is not None and self.files.done

    def _record(self) -> None:
        """Record what is verified, for the next start; not before all that is there is known."""
        if self._records and self.storage is not None and self.files is not None:
            in_thread(self.storage.checkpoint)

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
        if swarm.is_stuck:
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

    def fail(self, error: Exception) -> None:
        """End with an error: those who wait get it, and all peers are left."""
        if self._fail(error):
            self.events.send("error", error=error)
            spawn(f"leaving {self.name!r}", self._leave)

    def close(self, timeout: float = limits.STOP_TIMEOUT) -> None:
        """Stop, and let go of peers and files; what is verified stays, and is recorded."""
        self._fail(DownloadError("the torrent was removed from its client"), TorrentState.REMOVED)
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
            if self._is_paused or self.error is not None:
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
        swarm.picker.set_priorities(files.piece_priorities())
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
        if not self._is_paused and self.error is None:
            self._is_paused = True
            spawn(f"leaving {self.name!r}", self._leave)
            while self._is_paused and self.swarm is not None:
                self.changes.wait()

    def resume(self) -> None:
        """Go on after `pause`."""
        if self._is_paused and self.error is None:
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
        self.events.send("piece_verified", index=piece)
        for index in self.files.note_verified(piece):
            self.events.send("file_complete", index=index)
        self._notify()

    def on_piece_failed(self, piece: int) -> None:
        """See `SwarmOwner`."""
        self.events.send("piece_failed", index=piece)

    def on_storage_error(self, error: StorageError) -> None:
        """See `SwarmOwner`."""
        self.fail(error)

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
            file_map.set_priorities(priorities)
            try:
                in_thread(_choose, storage, file_map.selected)
            except StorageError as error:
                file_map.set_priorities(before)
                if (had & ~storage.have).any():
                    self.fail(error)
                self.raise_error()
                in_thread(storage.select, file_map.selected)
                raise
            if self.swarm is not None:
                self.swarm.picker.set_priorities(file_map.piece_priorities())
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
            while not storage.have[piece]:
                self.raise_error()
                if gives_up():
                    return b""
                self.changes.wait(_TICK)
            return in_thread(storage.read, piece, offset, length)
        except StorageError as error:
            self.fail(error)
            self.raise_error()
            raise
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


def _choose(storage: Storage, files: set[int]) -> None:
    """Want these files, and make them, in a native thread."""
    storage.select(files)
    storage.prepare()
