"""The inside of a torrent of a client: fetching the metadata, opening the data, joining and leaving its peers."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
from bitarray import bitarray
from gevent.event import Event
from gevent.lock import RLock

from geventbt import limits
from geventbt.client import status as s
from geventbt.client.context import Session
from geventbt.client.peers.finder import Finder, checked
from geventbt.client.peers.known_peers import Candidates
from geventbt.client.pieces.picker import BlockPicker
from geventbt.client.swarm.swarm import TICK, Swarm
from geventbt.client.torrent.file_map import FileMap, FileRef
from geventbt.client.torrent.metadata_search import MetadataSearch
from geventbt.client.torrent.readahead import Windows
from geventbt.concurrency.dispatch import Dispatcher, OwnSignal, deliver, no_flow_control
from geventbt.concurrency.notifier import Notifier
from geventbt.concurrency.threads import in_thread
from geventbt.discovery.trackers.announce import AnnounceRequest
from geventbt.errors import DownloadError, GeventBTError, NoPeersError, StorageError
from geventbt.metainfo import Magnet, Torrent
from geventbt.net.addresses import Address
from geventbt.rates.speed import SpeedMeter
from geventbt.rates.throttle import Throttle
from geventbt.rates.token_bucket import RateLimit
from geventbt.signals import TORRENT_SIGNALS
from geventbt.storage import Storage, StorageFactory
from geventbt.wire.wire import Wire

_log = logging.getLogger("geventbt")

RETRIES = 3
"""How often a peer that has given us data is connected to again before a download without trackers gives up."""
_FIRST_RETRY = 0.5
_NO_PORT = 1
"""What trackers are told where we do not listen: some refuse 0, and nobody listens on this one."""
_FEW_PEERS = 10
"""With fewer a tracker is asked again as soon as it allows."""
_FEW = 10
"""Pieces that are named in an error."""
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class TorrentJob:
    """What a torrent of a client does by itself. `ActiveTorrent` adds what a caller does with it.

    Runs on a greenlet of its own: metadata, data, peers, and then what is due now and then.
    """

    def __init__(
        self,
        session: Session,
        source: Torrent | Magnet,
        folder: str | os.PathLike[str],
        *,
        peers: Iterable[Address],
        files: Collection[FileRef] | None,
        sequential: bool,
        trackers: Iterable[str],
        max_peers: int,
        limit_down: int | None,
        limit_up: int | None,
        ends_alone: bool,
        must_be_complete: bool,
        storage: StorageFactory | None,
        forget: Callable[[Any], None],
    ) -> None:
        info_hash = source.info_hash
        assert info_hash is not None
        self.metainfo = source if isinstance(source, Torrent) else None
        self.info_hash = info_hash
        self.name = source.name or info_hash.hex()
        self.folder = folder
        self.storage: Storage | None = None
        self.error: Exception | None = None
        self._session = session
        self._magnet = source if isinstance(source, Magnet) else None
        self._user_peers = [*checked(peers), *(source.peers if isinstance(source, Magnet) else ())]
        self._user_trackers = [list(trackers)] if trackers else []
        self._selected = files
        self._file_map = FileMap(source, files) if isinstance(source, Torrent) else None
        self._sequential = sequential
        self._max_peers = max_peers
        self._ends_alone = ends_alone
        self._must_be_complete = must_be_complete
        self._storage_factory = storage
        self._forget = forget
        self._down = RateLimit(limit_down, monotonic())
        self._up = Throttle(limit_up, session.up)
        self._candidates = Candidates(retry=_FIRST_RETRY if ends_alone else limits.FIRST_RETRY)
        self._finder = Finder(self._candidates, self._make_announce, self._notify)
        self._finder.tiers = self._tiers()
        self._search: MetadataSearch | None = None
        self._swarm: Swarm | None = None
        self._files: FileMap | None = None
        self._windows = Windows()
        self._reading = 0
        self._served: dict[Address, int] = {}
        self._banned: set[Address] = set()
        self._state = s.CHECKING if self.metainfo else s.METADATA
        self._paused = False
        self._checked = 0
        self._meter = SpeedMeter()
        self._signals = {name: OwnSignal(signal.__doc__) for name, signal in TORRENT_SIGNALS.items()}
        self._dispatcher = Dispatcher(no_flow_control())
        self._known = Event()
        self._done = Event()
        # For the torrent's own greenlet, and for everybody else.
        self._news = Event()
        self._changes = Notifier()
        # Joining and leaving peers, and choosing files, block: each is done to its end before the next.
        self._joining = RLock()
        self._choosing = RLock()
        self._records = True
        self._checkpoint_at = 0.0
        self._past_downloaded = self._past_uploaded = self._past_wasted = 0
        # What was down- and uploaded when trackers were last told that we leave.
        self._told = (0, 0)
        self._greenlet: gevent.Greenlet = gevent.spawn(self._run)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.info_hash.hex()} {self._state}>"

    def _raise_error(self) -> None:
        """Raise what has failed the torrent, if anything has; the tracebacks of those that wait are no part of it."""
        if self.error is not None:
            raise self.error.with_traceback(None)

    def _known_files(self) -> FileMap:
        """Blocks until the data on disk has been opened."""
        self._session.check_thread()
        while self._files is None:
            self._raise_error()
            self._changes.wait()
        return self._files

    # ------------------------------------------------------------------ running

    def _run(self) -> None:
        try:
            self._finder.add_by_user(self._user_peers)
            if self.metainfo is None:
                self._join_swarm()
                self._fetch_metadata()
            self._open_storage()
            self._join_swarm()
            self._watch()
        except (GeventBTError, OSError) as error:
            self._fail(error)
        except Exception as bug:
            _log.exception("a torrent failed: %r", self)
            self._fail(bug)

    def _fetch_metadata(self) -> None:
        assert self._magnet is not None
        search = self._search = MetadataSearch(
            self.info_hash,
            self._candidates,
            self._session,
            gives_up=self._gives_metadata_up,
            is_paused=lambda: self._paused,
        )
        try:
            metadata = search.run()
        finally:
            self._search = None
        self.metainfo = Torrent.from_info(metadata, trackers=[[url] for url in self._magnet.trackers])
        self.name = self.metainfo.name
        self._finder.tiers = self._tiers()

    def _gives_metadata_up(self) -> bool:
        """Nobody is left to be asked for the metadata: look for more peers, where there are any to be had."""
        self._finder.need_more()
        return self._ends_alone and not self._finder.has_trackers and self._candidates.is_exhausted(1)

    def _open_storage(self) -> None:
        assert self.metainfo is not None
        self._state = s.CHECKING
        try:
            file_map = self._file_map or FileMap(self.metainfo, self._selected)
        except LookupError as error:
            raise DownloadError(str(error)) from error
        # In a thread, since it may connect to something.
        backend = in_thread(self._storage_factory, self.metainfo, Path(self.folder)) if self._storage_factory else None
        storage = self.storage = Storage(self.metainfo, self.folder, selected=file_map.selected, backend=backend)
        self._known.set()
        unknown = self._restore(storage)
        with self._session.checking:
            in_thread(partial(storage.check, self._note_checked, pieces=unknown))
        missing = (file_map.wanted & ~storage.have).count()
        if missing and self._must_be_complete:
            raise StorageError(
                f"{missing} of {len(storage.have)} pieces of {self.name!r} are missing or differ from the torrent"
            )
        if not self._must_be_complete:
            in_thread(storage.prepare)
        file_map.count(storage.have)
        self._files = file_map
        self._state = s.DOWNLOADING
        self._notify()

    def _notify(self) -> None:
        self._news.set()
        self._changes.notify()
        if self._swarm is not None:
            self._swarm.on_candidates()

    def _restore(self, storage: Storage) -> bitarray | None:
        """The pieces to be checked.

        Where nothing can be written, or a seed finds the folder in another's hands, nothing is recorded and all is
        checked.
        """
        try:
            return in_thread(storage.restore)
        except StorageError as error:
            if error.errno not in _READ_ONLY and not (error.errno == errno.EBUSY and self._must_be_complete):
                raise
            self._records = False
            return None

    def _note_checked(self, checked: int, pieces: int) -> None:
        self._checked = checked

    def _watch(self) -> None:
        """Do what is due, until the torrent is removed."""
        while self.error is None:
            self._news.wait(TICK)
            self._news.clear()
            now = monotonic()
            finishes = not self._done.is_set() and self._is_all_there
            if finishes or now >= self._checkpoint_at:
                self._checkpoint_at = now + limits.CHECKPOINT_INTERVAL
                self._record()
            # Not before it is recorded: a disk may fail us at the last moment.
            if finishes and self._is_all_there:
                self._finish()
            if not self._done.is_set() and self.connections < _FEW_PEERS:
                self._finder.need_more()
            if self._ends_alone and not self._paused and (self._reading or not self._done.is_set()):
                self._check_alone()

    def _record(self) -> None:
        """Record what is verified, for the next start; not before all that is there is known."""
        if self._records and self.storage is not None and self._files is not None:
            in_thread(self.storage.checkpoint)

    def _check_alone(self) -> None:
        swarm = self._swarm
        if swarm is None or swarm.seeding:
            return
        if swarm.is_stuck:
            pieces = ", ".join(map(str, sorted(swarm.broken)[:_FEW]))
            raise DownloadError(f"pieces {pieces}: wrong whoever sends them; the torrent seems to be broken")
        if self._finder.has_trackers or not swarm.is_alone(RETRIES):
            return
        if not self._user_peers:
            raise NoPeersError("no peers to download from")
        failure = swarm.last_failure
        what = "every peer has left" if any(swarm.served.values()) else "no peer could be reached"
        if swarm.banned:
            what = "every peer has left, or sent wrong data"
        raise NoPeersError(f"{what}: {failure}" if failure else what) from failure

    def _fail(self, error: Exception) -> None:
        if self.error is None:
            self.error = error
            self._state = s.FAILED
            self._send("error", error=error)
            self._known.set()
            self._done.set()
            self._notify()
            gevent.spawn(self._leave_swarm)

    def close(self, timeout: float = limits.STOP_TIMEOUT) -> None:
        """Stop, and let go of peers and files; what is verified stays, and is recorded. For the client."""
        if self.error is None:
            self._state = s.REMOVED
            self.error = DownloadError("the torrent was removed from its client")
        self._known.set()
        self._done.set()
        self._notify()
        self._greenlet.kill()
        self._leave_swarm(timeout)
        if self.storage is not None:
            with suppress(GeventBTError):
                self._record()
            in_thread(self.storage.close)

    # ------------------------------------------------------------------ the swarm

    def _join_swarm(self) -> None:
        """Look for peers, unless it is paused; before the metadata is known, by the trackers alone."""
        with self._joining:
            if self._paused or self.error is not None:
                return
            if self._files is not None and self._swarm is None:
                self._swarm = self._make_swarm(self._files)
                self._set_deadlines(self._windows)
                self._swarm.start()
            self._finder.start()

    def _make_swarm(self, files: FileMap) -> Swarm:
        assert self.storage is not None
        picker = BlockPicker(
            self.storage.torrent.geometry,
            self.storage.have,
            max_open=limits.DISK_QUEUE,
            on_let_go=lambda piece: swarm.assembly.let_go(piece),
        )
        picker.set_priorities(files.piece_priorities())
        picker.sequential = self._sequential
        swarm = Swarm(
            self._session,
            self.storage,
            picker,
            self._candidates,
            self._finder,
            max_peers=self._max_peers,
            up=self._up,
            down=self._down,
            served=self._served,
            banned=self._banned,
            on_verified=self._on_verified,
            on_failed=lambda piece: self._send("piece_failed", index=piece),
            on_error=self._fail,
            on_peer=lambda wire, added: self._send("peer_added" if added else "peer_removed", wire=wire),
        )
        return swarm

    def _leave_swarm(self, timeout: float = limits.STOP_TIMEOUT) -> None:
        with self._joining:
            leaving = gevent.spawn(self._finder.stop, timeout)
            swarm = self._swarm
            if swarm is not None:
                swarm.stop(timeout)
                self._past_downloaded += swarm.downloaded
                self._past_uploaded += swarm.uploaded
                self._past_wasted += swarm.wasted
                self._swarm = None
                self._notify()
            leaving.join(timeout)
            self._told = (self._downloaded, self._uploaded)

    def accept(self, wire: Wire) -> None:
        """Take a peer that has connected to the client and asks for this torrent."""
        if self._swarm is not None:
            self._swarm.accept(wire)
        elif self._search is not None:
            self._search.accept(wire)
        else:
            wire.close(0)

    @property
    def connections(self) -> int:
        """How many peers are connected, or being connected to."""
        return self._swarm.connections if self._swarm else 0

    def _on_verified(self, piece: int) -> None:
        assert self.storage is not None
        assert self._files is not None
        self._meter.add(self.storage.torrent.geometry.piece_size(piece), monotonic())
        self._send("piece_verified", index=piece)
        for index in self._files.note_verified(piece):
            self._send("file_complete", index=index)
        self._notify()

    @property
    def _is_all_there(self) -> bool:
        """Whether every piece that is wanted is verified and written."""
        return self._files is not None and self._files.done

    def _finish(self) -> None:
        """Say that all that is wanted is there."""
        assert self.storage is not None
        self._state = s.SEEDING
        self._done.set()
        self._send("complete")
        if self.storage.complete and self._swarm is not None and self._swarm.downloaded:
            self._finder.completed()
        self._notify()

    def _want_more(self) -> None:
        """Something is wanted that is not there."""
        if self._state == s.SEEDING:
            self._state = s.DOWNLOADING
            self._done.clear()

    def _set_deadlines(self, pieces: Iterable[int]) -> None:
        if self._swarm is not None:
            for piece in pieces:
                self._swarm.picker.set_deadline(piece, self._windows.due(piece))
            self._swarm.on_wants()

    def _send(self, name: str, **fields: Any) -> None:
        if self._signals[name].receivers or TORRENT_SIGNALS[name].receivers:
            self._dispatcher.call(self._deliver, name, fields)

    def _deliver(self, name: str, fields: dict[str, Any]) -> None:
        deliver(TORRENT_SIGNALS[name], self, fields)
        deliver(self._signals[name], self, fields)

    def _make_announce(self, event: str) -> AnnounceRequest:
        files, storage = self._files, self.storage
        downloaded, uploaded = self._told
        return AnnounceRequest(
            self.info_hash,
            self._session.peer_id,
            self._session.port or _NO_PORT,
            uploaded=self._uploaded - uploaded,
            downloaded=self._downloaded - downloaded,
            # Of all files: who has only some of them is no seed. One byte while it is unknown: a peer that needs
            # nothing is told of no seeds.
            left=files.bytes_of(~storage.have) if files and storage else 1,
            event=event,
        )

    @property
    def _downloaded(self) -> int:
        return self._past_downloaded + (self._swarm.downloaded if self._swarm else 0)

    @property
    def _uploaded(self) -> int:
        return self._past_uploaded + (self._swarm.uploaded if self._swarm else 0)

    def _tiers(self) -> list[list[str]]:
        tiers = [list(tier) for tier in self.metainfo.trackers] if self.metainfo else []
        if self._magnet is not None and not tiers:
            tiers = [[url] for url in self._magnet.trackers]
        return tiers + self._user_trackers
