"""`ActiveTorrent`: a torrent of a client, from the link or file to the last piece and on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

import gevent
from bitarray import bitarray
from bitarray.util import zeros
from gevent.event import Event

from geventbt.client import status as s
from geventbt.client.peers.finder import checked
from geventbt.client.pieces.picker import NORMAL
from geventbt.client.swarm.swarm import TICK
from geventbt.client.torrent.file_map import FileRef
from geventbt.client.torrent.file_reader import TorrentReader
from geventbt.client.torrent.runner import TorrentJob
from geventbt.concurrency.shield import shielded
from geventbt.concurrency.threads import in_thread
from geventbt.errors import StorageError, WireTimeout
from geventbt.metainfo import Torrent
from geventbt.net.addresses import Address
from geventbt.storage import Storage

if TYPE_CHECKING:
    from geventbt.discovery.trackers.announcer import TrackerStatus


class ActiveTorrent(TorrentJob):
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
            wasted=self._past_wasted + (swarm.wasted if swarm else 0),
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
        """The files; none before it is known what of them is there."""
        if self.storage is None or self._files is None:
            return []
        return self._files.status(self.storage)

    @property
    def pieces(self) -> bitarray:
        """A copy of which pieces are verified, big-endian; empty while the metadata is unknown."""
        return self.storage.have.copy() if self.storage else zeros(0, "big")

    @property
    def trackers(self) -> dict[str, TrackerStatus]:
        """How it goes with each tracker, or how it ended, by its URL."""
        return self._finder.trackers

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
        self._finder.add_by_user(checked(peers))

    def pause(self) -> None:
        """Leave all peers and trackers until `resume`; what is there stays, and can be read. Blocks until the peers are
        left; trackers may take longer."""
        self._session.check_thread()
        if not self._paused and self.error is None:
            self._paused = True
            gevent.spawn(self._leave_swarm)
            while self._paused and self._swarm is not None:
                self._changes.wait()

    def resume(self) -> None:
        """Go on after `pause`, with the peers that are known."""
        self._session.check_thread()
        if self._paused and self.error is None:
            self._paused = False
            shielded(self._join_swarm)
            self._notify()

    def remove(self) -> None:
        """Stop, and leave the client; the files stay. Whoever waits or reads gets a DownloadError."""
        self._session.check_thread()
        self._forget(self)
        shielded(self.close)

    def set_limits(self, *, down: int | None = None, up: int | None = None) -> None:
        """Set both of this torrent's own rates, in bytes a second. What is left out, or None, has no limit."""
        self._session.check_thread()
        self._down.set_rate(down, monotonic())
        self._up.rate = up

    # ------------------------------------------------------------------ files

    def select(self, files: Collection[FileRef]) -> None:
        """Fetch these files and no others: by index, by path in the torrent, or as `TorrentFile`."""
        file_map = self._known_files()
        indices = {file_map.index_of(file) for file in files}
        self.set_priorities({index: NORMAL if index in indices else 0 for index in range(len(file_map.files))})

    def set_priorities(self, priorities: Mapping[FileRef, int]) -> None:
        """Give files priorities: 0 not wanted, 1 to 7; 4 is normal. The order is strict.

        Raises:
            LookupError, ValueError: there is no such file or priority.
            StorageError: a file cannot be made, or somebody has put one there while the torrent was in use. All is then
                as before; if something that was there is gone, it fails the torrent.
        """
        self._known_files()
        self._raise_error()
        shielded(self._set_priorities, priorities)

    def _set_priorities(self, priorities: Mapping[FileRef, int]) -> None:
        file_map, storage = self._files, self.storage
        assert file_map is not None
        assert storage is not None
        with self._choosing:
            before, had = file_map.priorities, storage.have.copy()
            file_map.set_priorities(priorities)
            try:
                in_thread(_choose, storage, file_map.selected)
            except StorageError as error:
                file_map.set_priorities(before)
                if (had & ~storage.have).any():
                    self._fail(error)
                self._raise_error()
                in_thread(storage.select, file_map.selected)
                raise
            if self._swarm is not None:
                self._swarm.picker.set_priorities(file_map.piece_priorities())
                self._set_deadlines(self._windows)
            if not file_map.done:
                self._want_more()
            self._notify()

    @property
    def sequential(self) -> bool:
        """Whether pieces are fetched in their order; may be set at any time."""
        return self._sequential

    @sequential.setter
    def sequential(self, value: bool) -> None:
        self._session.check_thread()
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


def _choose(storage: Storage, files: Collection[int]) -> None:
    """Want these files, and make them, in a native thread."""
    storage.select(files)
    storage.prepare()
