"""`ActiveTorrent`: a torrent of a client, from the link or file to the last piece and on."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

import gevent
from bitarray import bitarray
from bitarray.util import zeros
from gevent import socket as gevent_socket
from gevent.event import Event
from gevent.lock import RLock

from geventbt import limits
from geventbt.client import status as s
from geventbt.client.addresses import Address
from geventbt.client.block_picker import NORMAL, BlockPicker
from geventbt.client.candidates import Candidates, Source
from geventbt.client.changes import Changes
from geventbt.client.files import FileMap
from geventbt.client.metadata import MetadataSearch
from geventbt.client.rate_limit import RateLimit
from geventbt.client.reader import TorrentReader
from geventbt.client.session import Session
from geventbt.client.swarm import TICK, Swarm
from geventbt.client.threads import in_thread
from geventbt.client.throttle import Throttle
from geventbt.client.windows import Windows
from geventbt.discovery.announce import AnnounceRequest
from geventbt.errors import DownloadError, GeventBTError, NoPeersError, StorageError, WireTimeout
from geventbt.metainfo import Magnet, Torrent, TorrentFile
from geventbt.signals import TORRENT_SIGNALS
from geventbt.storage import Storage
from geventbt.wire.dispatch import Dispatcher, OwnSignal, deliver, unheld
from geventbt.wire.speed import SpeedMeter
from geventbt.wire.wire import Wire

if TYPE_CHECKING:
    from geventbt.discovery.announcer import Announcer, TrackerStatus

_log = logging.getLogger("geventbt")

FileRef: TypeAlias = "int | str | TorrentFile"

RETRIES = 3
"""How often a peer that has given us data is connected to again before a download without trackers gives up."""
_FIRST_RETRY = 0.5
_FEW_PEERS = 10
"""With fewer a tracker is asked again as soon as it allows."""
_FEW = 10
"""Pieces that are named in an error."""
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class ActiveTorrent:
    """A torrent that a client downloads and serves. Made by `Client.add`.

    Signals, each also ``torrent.on("name", fn)``, called ``fn(torrent, **fields)`` on a greenlet of the torrent:
    `piece_verified` (index), `piece_failed` (index), `file_complete` (index), `complete`, `peer_added` (wire),
    `peer_removed` (wire), `error` (error).

    Attributes:
        metainfo: the torrent; None while a magnet link's metadata is being fetched.
        info_hash: its 20 bytes.
        name: the torrent's, or the link's.
        folder: the folder that its file or folder is in.
        storage: its data; None before it is known.
        error: why it failed, or None.
    """

    def __init__(
        self,
        session: Session,
        source: Torrent | Magnet,
        folder: str | os.PathLike[str],
        *,
        peers: Iterable[Address] = (),
        files: Collection[FileRef] | None = None,
        sequential: bool = False,
        trackers: Iterable[str] = (),
        max_peers: int = limits.TORRENT_PEERS,
        limit_down: int | None = None,
        limit_up: int | None = None,
        ends_alone: bool = False,
        must_be_complete: bool = False,
        forget: Callable[[ActiveTorrent], None] = lambda torrent: None,
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
        self._user_peers = [*peers, *(source.peers if isinstance(source, Magnet) else ())]
        self._user_trackers = [list(trackers)] if trackers else []
        self._selected = files
        self._file_map = FileMap(source, files) if isinstance(source, Torrent) else None
        self._sequential = sequential
        self._max_peers = max_peers
        self._ends_alone = ends_alone
        self._must_be_complete = must_be_complete
        self._forget = forget
        self._down = RateLimit(limit_down, monotonic())
        self._up = Throttle(limit_up, session.up)
        self._candidates = Candidates(retry=_FIRST_RETRY if ends_alone else limits.RETRY_FIRST)
        self._announcer: Announcer | None = None
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
        self._dispatcher = Dispatcher(unheld())
        self._known = Event()
        self._done = Event()
        # For the torrent's own greenlet, and for everybody else.
        self._news = Event()
        self._changes = Changes()
        # Joining and leaving peers, and choosing files, block: each is done to its end before the next.
        self._joining = RLock()
        self._choosing = RLock()
        self._records = True
        self._checkpoint_at = 0.0
        self._past_downloaded = self._past_uploaded = self._past_wasted = 0
        self._greenlet: gevent.Greenlet = gevent.spawn(self._run)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.info_hash.hex()} {self._state}>"

    # ------------------------------------------------------------------ for the caller

    def wait(self, timeout: float | None = None) -> bool:
        """Block until every piece that is wanted is verified and on the disk.

        Returns:
            False if it is not after `timeout` seconds.

        Raises:
            NoPeersError: all peers are gone, where the torrent was added to end then.
            StorageError: the disk failed us.
            DownloadError: the torrent was removed.
        """
        return self._wait(self._done, timeout)

    def wait_metadata(self, timeout: float | None = None) -> Torrent:
        """Block until the metadata of a magnet link is here, and return it. Raises as `wait`, or WireTimeout."""
        if not self._wait(self._known, timeout):
            raise WireTimeout(f"no metadata within {timeout:g} seconds")
        assert self.metainfo is not None
        return self.metainfo

    def _wait(self, event: Event, timeout: float | None) -> bool:
        self._session.check_thread()
        happened = event.wait(timeout)
        self._raise_error()
        return bool(happened)

    def _raise_error(self) -> None:
        """Raise what has failed the torrent, if anything has; the tracebacks of those that wait are no part of it."""
        if self.error is not None:
            raise self.error.with_traceback(None)

    @property
    def done(self) -> bool:
        """Whether every piece that is wanted is verified and on the disk, or the torrent has failed."""
        return self._done.is_set()

    @property
    def state(self) -> str:
        """What it is doing; see `Progress.state`."""
        if self._paused and self._state in (s.METADATA, s.DOWNLOADING, s.SEEDING):
            return s.PAUSED
        return self._state

    @property
    def progress(self) -> s.Progress:
        """How far it is now."""
        if self.storage is None or self.metainfo is None or self._files is None:
            pieces = self.metainfo.geometry.pieces if self.metainfo else 0
            return s.Progress(self.state, checked=self._checked, pieces=pieces)
        swarm, have = self._swarm, self.storage.have
        peers = swarm.peers if swarm else ()
        return s.Progress(
            state=self.state,
            wanted=self._files.bytes_of(self._files.wanted),
            done=self._files.bytes_of(self._files.wanted & have),
            checked=self._checked,
            pieces=len(have),
            downloaded=self._downloaded,
            uploaded=self._uploaded,
            wasted=self._past_wasted + (swarm.assembly.wasted if swarm else 0),
            download_speed=self._meter.speed(monotonic()),
            upload_speed=sum(peer.wire.upload_speed() for peer in peers),
            peers=len(peers),
            seeds=sum(1 for peer in peers if peer.wire.peer_has_all),
        )

    @property
    def peers(self) -> list[s.PeerStatus]:
        """The peers that are connected."""
        return [peer.status for peer in self._swarm.peers] if self._swarm else []

    @property
    def files(self) -> list[s.FileStatus]:
        """The files; none while the metadata is unknown."""
        if self.storage is None or self._files is None:
            return []
        return self._files.status(self.storage)

    @property
    def pieces(self) -> bitarray:
        """A copy of which pieces are verified, big-endian; empty while the metadata is unknown."""
        return self.storage.have.copy() if self.storage else zeros(0, "big")

    @property
    def trackers(self) -> dict[str, TrackerStatus]:
        """How it goes with each tracker, by its URL."""
        return self._announcer.status if self._announcer else {}

    @property
    def served(self) -> dict[Address, int]:
        """The bytes of verified pieces from each peer that we connected to."""
        return dict(self._served)

    @property
    def banned(self) -> set[Address]:
        """The addresses of peers that sent wrong data."""
        return set(self._banned)

    @property
    def broken(self) -> set[int]:
        """The pieces that are missing because they were wrong whoever sent them: the torrent seems to be wrong there.
        Each peer is asked for them once."""
        return self._swarm.broken if self._swarm else set()

    def on(self, name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Call ``handler(torrent, **fields)`` at every signal of that name. Returns the handler."""
        if name not in self._signals:
            raise LookupError(f"a torrent has no signal {name!r}")
        return self._signals[name].connect(handler)

    def add_peers(self, peers: Iterable[Address]) -> None:
        """Connect to these peers, too: (host, port) each."""
        self._session.check_thread()
        self._add_addresses(list(peers), Source.USER, "")

    def pause(self) -> None:
        """Leave all peers and trackers until `resume`; what is there stays, and can be read."""
        self._session.check_thread()
        if not self._paused and self.error is None:
            self._paused = True
            self._leave_swarm()

    def resume(self) -> None:
        """Go on after `pause`, with the peers that are known."""
        self._session.check_thread()
        if self._paused and self.error is None:
            self._paused = False
            self._join_swarm()
            self._notify()

    def remove(self) -> None:
        """Stop, and leave the client; the files stay. Whoever waits or reads gets a DownloadError."""
        self._session.check_thread()
        self._forget(self)
        self.close()

    def set_limits(self, *, down: int | None = None, up: int | None = None) -> None:
        """Set this torrent's own rates, in bytes a second; None for no limit."""
        self._down.set_rate(down, monotonic())
        self._up.rate = up

    # ------------------------------------------------------------------ files

    def select(self, files: Collection[FileRef]) -> None:
        """Fetch these files and no others: by index, by path in the torrent, or as `TorrentFile`."""
        file_map = self._known_files()
        indices = {file_map.index_of(file) for file in files}
        self.set_priorities({index: NORMAL if index in indices else 0 for index in range(len(file_map.files))})

    def set_priorities(self, priorities: Mapping[FileRef, int]) -> None:
        """Give files priorities: 0 not wanted, 1 to 7; 4 is normal. The order is strict."""
        file_map = self._known_files()
        self._raise_error()
        assert self.storage is not None
        with self._choosing:
            file_map.set_priorities(priorities)
            in_thread(self.storage.select, file_map.selected)
            if not file_map.done:
                in_thread(self.storage.prepare)
            if self._swarm is not None:
                self._swarm.picker.set_priorities(file_map.piece_priorities())
                self._set_deadlines(self._windows)
            self._note_whether_done()

    @property
    def sequential(self) -> bool:
        """Whether pieces are fetched in their order; may be set at any time."""
        return self._sequential

    @sequential.setter
    def sequential(self, value: bool) -> None:
        self._sequential = value
        if self._swarm is not None:
            self._swarm.picker.sequential = value

    def open(self, file: FileRef = 0) -> TorrentReader:
        """Open a file for reading while it is being fetched; see `geventbt.TorrentReader`.

        Blocks until the metadata is known. What is read is fetched first, and verified before it is given.

        Args:
            file: its index, its path in the torrent, or a `TorrentFile`.

        Raises:
            LookupError: there is no such file.
        """
        self.wait_metadata()
        file_map = self._known_files()
        return TorrentReader(self, file_map.files[file_map.index_of(file)])

    def _known_files(self) -> FileMap:
        """Blocks until the data on disk has been opened."""
        self._session.check_thread()
        while self._files is None:
            self._raise_error()
            self._changes.wait()
        return self._files

    # ------------------------------------------------------------------ for readers

    def read(self, piece: int, offset: int, length: int, *, gives_up: Callable[[], bool]) -> bytes:
        """Block until a piece is verified, and read a range of it; empty if the reader gives up. Raises as `wait`."""
        self._known_files()
        storage = self.storage
        assert storage is not None
        self._reading += 1
        try:
            while not storage.have[piece]:
                self._raise_error()
                if gives_up():
                    return b""
                self._changes.wait(TICK)
            return in_thread(storage.read, piece, offset, length)
        except StorageError as error:
            self._fail(error)
            self._raise_error()
            raise
        finally:
            self._reading -= 1

    def read_ahead(self, reader: Hashable, pieces: range) -> None:
        """A reader needs these pieces, one after the other, and no others any more: they come before all that nobody
        waits for."""
        if self.storage is None:
            return
        missing = [piece for piece in pieces if not self.storage.have[piece]]
        changed, forgotten = self._windows.move(reader, missing, monotonic())
        self._set_deadlines(changed)
        if self._swarm is not None and self._files is not None:
            for piece in forgotten:
                self._swarm.picker.set_deadline(piece, None)
                if not self._files.wanted[piece]:
                    self._swarm.picker.set_priority(piece, 0)
        # For whoever is reading with a reader that has just been closed.
        self._notify()

    def _set_deadlines(self, pieces: Iterable[int]) -> None:
        if self._swarm is not None:
            for piece in pieces:
                self._swarm.picker.set_deadline(piece, self._windows.due(piece))
            self._swarm.on_wants()

    # ------------------------------------------------------------------ running

    def _run(self) -> None:
        try:
            self._add_addresses(self._user_peers, Source.USER, "")
            if self.metainfo is None:
                self._join_swarm()
                self._fetch_metadata()
            self._open_storage()
            self._join_swarm()
            self._note_whether_done()
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

    def _gives_metadata_up(self) -> bool:
        """Nobody is left to be asked for the metadata: look for more peers, where there are any to be had."""
        if self._announcer is not None:
            self._announcer.need_more()
        return self._ends_alone and not self._has_trackers() and self._candidates.is_exhausted(1)

    def _open_storage(self) -> None:
        assert self.metainfo is not None
        self._state = s.CHECKING
        try:
            file_map = self._file_map or FileMap(self.metainfo, self._selected)
        except LookupError as error:
            raise DownloadError(str(error)) from error
        storage = self.storage = Storage(self.metainfo, self.folder, selected=file_map.selected)
        self._known.set()
        unknown = self._restore(storage)
        with self._session.checking:
            in_thread(partial(storage.check, self._note_checked, pieces=unknown))
        missing = (file_map.wanted & ~storage.have).count()
        if missing and self._must_be_complete:
            raise StorageError(
                f"{missing} of {len(storage.have)} pieces of {self.name!r} are missing or differ from the torrent"
            )
        if missing:
            in_thread(storage.prepare)
        file_map.count(storage.have)
        self._files = file_map
        self._state = s.DOWNLOADING
        self._notify()

    def _notify(self) -> None:
        self._news.set()
        self._changes.notify()

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
            if now >= self._checkpoint_at:
                self._checkpoint_at = now + limits.CHECKPOINT_INTERVAL
                self._record()
            if self._announcer is not None and not self._done.is_set() and self.connections < _FEW_PEERS:
                self._announcer.need_more()
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
        if self._has_trackers() or not swarm.is_alone(RETRIES):
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
            self._start_announcer()

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
            announcer, self._announcer = self._announcer, None
            leaving = gevent.spawn(announcer.stop, timeout) if announcer else None
            swarm = self._swarm
            if swarm is not None:
                swarm.stop(timeout)
                self._past_downloaded += swarm.downloaded
                self._past_uploaded += swarm.uploaded
                self._past_wasted += swarm.assembly.wasted
                self._swarm = None
            if leaving is not None:
                leaving.join(timeout)

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
        self._note_whether_done()

    def _note_whether_done(self) -> None:
        """Say so when all that is wanted is there, or again is not."""
        swarm = self._swarm
        if self._state not in (s.DOWNLOADING, s.SEEDING) or self.storage is None or self._files is None:
            return
        done = self._files.done
        if done and not self._done.is_set():
            self._state = s.SEEDING
            self._done.set()
            self._send("complete")
            if self._announcer is not None and swarm is not None and swarm.downloaded:
                self._announcer.completed()
            # Soon, so that the record says so.
            self._checkpoint_at = 0.0
            self._notify()
        elif not done:
            self._state = s.DOWNLOADING
            self._done.clear()

    def _send(self, name: str, **fields: Any) -> None:
        if self._signals[name].receivers or TORRENT_SIGNALS[name].receivers:
            self._dispatcher.call(self._deliver, name, fields)

    def _deliver(self, name: str, fields: dict[str, Any]) -> None:
        deliver(TORRENT_SIGNALS[name], self, fields)
        deliver(self._signals[name], self, fields)

    # ------------------------------------------------------------------ finding peers

    def _tiers(self) -> list[list[str]]:
        tiers = [list(tier) for tier in self.metainfo.trackers] if self.metainfo else []
        if self._magnet is not None and not tiers:
            tiers = [[url] for url in self._magnet.trackers]
        return tiers + self._user_trackers

    def _has_trackers(self) -> bool:
        return bool(self._tiers())

    def _start_announcer(self) -> None:
        if self._announcer is None and self._has_trackers():
            # Only now: http and TLS are half of what a client imports.
            from geventbt.discovery.announcer import Announcer

            self._announcer = Announcer(self._tiers(), self._make_announce, self._on_tracker_peers)
            self._announcer.start()

    def _make_announce(self, event: str) -> AnnounceRequest:
        wanted = self.progress
        return AnnounceRequest(
            self.info_hash,
            self._session.peer_id,
            self._session.port or 0,
            uploaded=self._uploaded,
            downloaded=self._downloaded,
            left=wanted.wanted - wanted.done if self.metainfo and self._files else 1,
            event=event,
        )

    def _on_tracker_peers(self, peers: Iterable[Address], url: str) -> None:
        self._add_addresses(list(peers), Source.TRACKER, _teller(url))

    def _add_addresses(self, addresses: list[Address], source: Source, told_by: str) -> None:
        resolved = _resolve(addresses) if source is Source.USER else addresses
        now = monotonic()
        if self._swarm is not None:
            self._swarm.add_candidates(resolved, source, told_by)
        else:
            for address in resolved:
                self._candidates.add(address, source, now, told_by=told_by)
        self._notify()

    @property
    def _downloaded(self) -> int:
        return self._past_downloaded + (self._swarm.downloaded if self._swarm else 0)

    @property
    def _uploaded(self) -> int:
        return self._past_uploaded + (self._swarm.uploaded if self._swarm else 0)


def _resolve(addresses: list[Address]) -> list[Address]:
    """The IP addresses behind names that the user gave; a name that leads nowhere is left out."""
    resolved: list[Address] = []
    for host, port in addresses:
        try:
            answers = gevent_socket.getaddrinfo(host, port, type=gevent_socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            _log.warning("the peer %s:%s cannot be found: %s", host, port, error)
            continue
        resolved.append(answers[0][4][:2])
    return resolved


def _teller(url: str) -> str:
    """The IP address of a tracker, by which it is judged which peers it may name."""
    host = url.split("://", 1)[-1].split("/", 1)[0].rpartition("@")[2]
    name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    try:
        address: str = gevent_socket.getaddrinfo(name, None)[0][4][0]
    except (OSError, UnicodeError):
        return name
    return address
