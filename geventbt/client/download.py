"""Fetching a torrent from given peers, all at once: a greenlet for each peer, and a few for the pieces on their way
from it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from time import monotonic
from typing import Any, TypeAlias

import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from gevent.queue import SimpleQueue

from geventbt import limits
from geventbt.client.metadata import fetch_metadata
from geventbt.client.picker import PiecePicker
from geventbt.client.reading import BlockReader
from geventbt.client.threads import in_thread
from geventbt.errors import (
    DownloadError,
    GeventBTError,
    NoPeersError,
    PeerChoking,
    RequestFailed,
    StorageError,
    WireClosed,
)
from geventbt.metainfo import Magnet, Torrent
from geventbt.peer_id import new_peer_id
from geventbt.storage import Storage
from geventbt.wire.connect import connect
from geventbt.wire.opening import PREFER, check_policy
from geventbt.wire.speed import SpeedMeter
from geventbt.wire.wire import Wire

_log = logging.getLogger("geventbt")

Address: TypeAlias = tuple[str, int]

_FEWEST_LANES, _MOST_LANES = 2, 16
_IN_FLIGHT = 8 * limits.MIB
"""Bytes of pieces on their way from one peer: while some are hashed and written, the others keep the peer busy."""
RETRIES = 3
"""How often a peer is connected to again after the connection was lost."""
_FIRST_DELAY = 0.5
_IDLE = 1.0


class _Superseded(Exception):
    """Another peer was quicker with this piece."""


class Download:
    """One torrent on its way from a number of peers into a folder.

    Args:
        torrent: what to fetch.
        folder: where its file or folder is to be.
        peers: (host, port) of each peer.
        request_timeout: seconds without a block before a peer's piece is given to another.
        encryption: "prefer", "require" or "disable"; see `geventbt.connect`.

    Attributes:
        torrent: what is fetched.
        storage: where it goes to.
        wires: the connections that are open now.
        checked: pieces that have been looked at on disk, before anything is fetched.
        served: the bytes of verified pieces from each peer.
        banned: the peers that sent wrong data.
    """

    def __init__(
        self,
        torrent: Torrent,
        folder: str | os.PathLike[str],
        peers: Iterable[Address],
        *,
        request_timeout: float = limits.REQUEST_TIMEOUT,
        encryption: str = PREFER,
    ) -> None:
        check_policy(encryption)
        self.torrent = torrent
        self.storage = Storage(torrent, folder)
        self.wires: set[Wire] = set()
        self.checked = 0
        self.served: dict[Address, int] = {}
        self.banned: set[Address] = set()
        self._addresses = list(dict.fromkeys(peers))
        self._request_timeout = request_timeout
        self._encryption = encryption
        self._half_open = BoundedSemaphore(limits.HALF_OPEN)
        self._peer_id = new_peer_id()
        self._read_block = BlockReader(self.storage)
        self._picker = PiecePicker(self.storage.have)
        self._lanes: dict[_Lane, gevent.Greenlet] = {}
        self._buffers: SimpleQueue[bytearray] = SimpleQueue()
        self._changed = Event()
        self._done = Event()
        self._error: Exception | None = None
        self._last_failure: Exception | None = None
        self._meter = SpeedMeter()

    # ------------------------------------------------------------------ for the caller

    @property
    def verified(self) -> int:
        """Bytes of pieces that are verified and on disk."""
        return self.storage.verified_bytes

    @property
    def finished(self) -> bool:
        """Whether the download is complete, or has failed."""
        return self._done.is_set()

    def speed(self) -> float:
        """Verified bytes a second, over the last five seconds."""
        return self._meter.speed(monotonic())

    def run(self) -> None:
        """Check what is there and fetch what is missing; blocks until every piece is verified and on disk.

        Raises:
            NoPeersError: no peer could be reached, or all have left before it was complete.
            StorageError: the disk failed us.
        """
        supervisor = self.start()
        try:
            self.wait()
        finally:
            supervisor.kill()
            self.close()

    def start(self) -> gevent.Greenlet:
        """Begin to check what is there and to fetch what is missing, in the background.

        `wait` waits for the end, `close` makes one.
        """
        return gevent.spawn(self._supervise)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the download is complete. Returns False if it is not after `timeout` seconds. Raises as `run`."""
        finished = self._done.wait(timeout)
        if self._error:
            raise self._error
        return bool(finished)

    def close(self) -> None:
        """Stop, and let go of peers and files. What is verified stays."""
        self._finish(None)
        gevent.joinall([gevent.spawn(wire.close, 0) for wire in list(self.wires)])
        gevent.killall(list(self._lanes.values()))
        self.storage.close()

    # ------------------------------------------------------------------ peers

    def _supervise(self) -> None:
        """Check what is there, then keep a greenlet for each peer until all is there, or nobody is left."""
        try:
            in_thread(self.storage.check, self._note_checked)
            in_thread(self.storage.prepare)
        except StorageError as error:
            self._finish(error)
            return
        self._picker = PiecePicker(self.storage.have)
        if not self._picker.missing:
            self._finish(None)
            return
        peers = [gevent.spawn(self._keep_peer, address) for address in self._addresses]
        try:
            gevent.joinall(peers)
            if not self._done.is_set():
                self._finish(self._no_peers())
        finally:
            gevent.killall(peers)

    def _note_checked(self, checked: int, pieces: int) -> None:
        self.checked = checked

    def _no_peers(self) -> NoPeersError:
        if not self._addresses:
            return NoPeersError("no peers to download from")
        what = "every peer has left" if self.served else "no peer could be reached"
        error = NoPeersError(f"{what}: {self._last_failure}" if self._last_failure else what)
        error.__cause__ = self._last_failure
        return error

    def _keep_peer(self, address: Address) -> None:
        """Fetch from one peer, and connect to it again when the connection is lost."""
        delay = _FIRST_DELAY
        for _ in range(1 + RETRIES):
            before = self.served.get(address)
            try:
                self._fetch_from(address)
            except (GeventBTError, OSError) as error:
                self._last_failure = error
                _log.info("peer %s:%s: %s", *address, error)
            if self._done.is_set() or address in self.banned or self.served.get(address) is None:
                return
            if self.served.get(address) != before:
                delay = _FIRST_DELAY
            self._done.wait(delay)
            delay *= 2

    def _fetch_from(self, address: Address) -> None:
        torrent = self.torrent
        with self._half_open:
            wire = connect(address, info_hash=torrent.info_hash, encryption=self._encryption)
        with wire:
            wire.handshake(torrent.info_hash, self._peer_id, geometry=torrent.geometry)
            self.served.setdefault(address, 0)
            self.wires.add(wire)
            try:
                self._exchange(wire, address)
            finally:
                self.wires.discard(wire)
        reason = wire.close_reason
        if reason is not None:
            raise reason

    def _exchange(self, wire: Wire, address: Address) -> None:
        """Tell the peer what we have, serve it, and fetch from it until nothing is left to do."""
        wire.bitfield(self.storage.have)
        wire.set_timeout(self._request_timeout)
        for signal in ("have", "bitfield", "have_all", "unchoke"):
            wire.on(signal, self._on_news)
        wire.unchoke()
        wire.interested()
        server = gevent.spawn(wire.serve, self._read_block)
        lanes = [_Lane(self, wire, address) for _ in range(self._lane_count())]
        for lane in lanes:
            self._lanes[lane] = gevent.spawn(lane.run)
        try:
            gevent.joinall([self._lanes[lane] for lane in lanes])
        finally:
            gevent.killall([self._lanes.pop(lane) for lane in lanes])
            server.kill()

    def _lane_count(self) -> int:
        """How many pieces to have on their way from a peer; fewer with many peers, so that all together stay within
        bounds."""
        room = min(_IN_FLIGHT, limits.DISK_QUEUE // len(self._addresses))
        return max(_FEWEST_LANES, min(_MOST_LANES, room // self.torrent.geometry.piece_length))

    def _on_news(self, wire: Wire, **fields: Any) -> None:
        self._notify()

    def _notify(self) -> None:
        """Wake the lanes that have found nothing to do."""
        self._changed.set()
        self._changed.clear()

    # ------------------------------------------------------------------ pieces, for the lanes

    def take_piece(self, lane: _Lane) -> int | None:
        """Claim a piece for a lane; blocks until there is one. None when the download or the wire has ended."""
        while not self._done.is_set() and not lane.wire.closed:
            if not lane.wire.peer_choking:
                piece = self._picker.claim(lane.wire.peer_pieces, lane, lane.next_piece)
                if piece is not None:
                    return piece
            self._changed.wait(_IDLE)
        return None

    def release_piece(self, piece: int, lane: _Lane) -> None:
        """Give a piece back that the lane could not fetch."""
        self._picker.release(piece, lane)
        self._notify()

    def take_buffer(self, size: int) -> bytearray:
        """A buffer of at least `size` bytes: a used one where there is one."""
        return self._buffers.get() if len(self._buffers) else bytearray(self.torrent.geometry.piece_length)

    def give_buffer(self, buffer: bytearray) -> None:
        """Keep a buffer for the next piece."""
        self._buffers.put(buffer)

    def store(self, piece: int, data: memoryview, lane: _Lane) -> bool:
        """Verify a piece and write it.

        Returns False, and bans the peer, if the data is wrong: it all came from this one.
        """
        try:
            good = in_thread(self.storage.write_piece, piece, data)
        except StorageError as error:
            self._finish(error)
            return False
        if not good:
            self.banned.add(lane.address)
            _log.warning("peer %s:%s sent wrong data for piece %d", *lane.address, piece)
            self.release_piece(piece, lane)
            return False
        self._complete(piece, len(data), lane)
        return True

    def _complete(self, piece: int, size: int, lane: _Lane) -> None:
        claimants = self._picker.complete(piece)
        if not claimants:
            return
        self._meter.add(size, monotonic())
        self.served[lane.address] += size
        for other in claimants - {lane}:
            if isinstance(other, _Lane) and other.reading == piece:
                self._lanes[other].kill(_Superseded, block=False)
        for wire in list(self.wires):
            if not wire.closed:
                wire.have(piece)
        if not self._picker.missing:
            self._finish(None)

    def _finish(self, error: Exception | None) -> None:
        if not self._done.is_set():
            self._error = error
            self._done.set()
            self._notify()
            for wire in list(self.wires):
                gevent.spawn(wire.close)


class _Lane:
    """One piece after the other from one peer."""

    def __init__(self, download: Download, wire: Wire, address: Address) -> None:
        self.wire = wire
        self.address = address
        self.next_piece = 0
        self.reading: int | None = None
        self._download = download

    def run(self) -> None:
        """Fetch pieces until there are none, or the wire has closed."""
        download = self._download
        while True:
            piece = download.take_piece(self)
            if piece is None:
                return
            self.next_piece = piece + 1
            size = download.torrent.geometry.piece_size(piece)
            buffer = download.take_buffer(size)
            data = memoryview(buffer)[:size]
            if self._read(piece, data) and not download.store(piece, data, self):
                self.wire.close(0)
            # Not after a kill: a native thread may still be reading the buffer.
            download.give_buffer(buffer)

    def _read(self, piece: int, data: memoryview) -> bool:
        """Read a piece; whether it is here, and nobody else was quicker."""
        self.reading = piece
        try:
            self.wire.read_into(piece, 0, data)
            return True
        except _Superseded:
            return False
        except PeerChoking:
            self._download.release_piece(piece, self)
        except (RequestFailed, WireClosed) as error:
            _log.info("peer %s:%s: piece %d: %s", *self.address, piece, error)
            self._download.release_piece(piece, self)
            # Whoever fails to deliver waits a little, so that another may have the piece first.
            gevent.sleep(_IDLE)
        except BaseException:
            self._download.release_piece(piece, self)
            raise
        finally:
            self.reading = None
        return False


def download(
    torrent: Torrent | Magnet | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    peers: Iterable[Address] = (),
    request_timeout: float = limits.REQUEST_TIMEOUT,
    encryption: str = PREFER,
) -> Torrent:
    """Fetch a torrent; blocks until every piece is verified and on disk. What is there already is checked and not
    fetched again.

    Args:
        torrent: the torrent, the path of its .torrent file, or a magnet link.
        folder: where its file or folder is to be.
        peers: (host, port) of each peer to fetch from.
        request_timeout: seconds without a block before a peer's piece is given to another.
        encryption: "prefer", "require" or "disable"; see `geventbt.connect`.

    Returns:
        The torrent.

    Raises:
        MetainfoError: not a torrent.
        NoPeersError: no peer could be reached, or all have left before it was complete.
        StorageError: the disk failed us.
        OSError: the .torrent file cannot be read.
    """
    peers = list(peers)
    if isinstance(torrent, str) and torrent.lower().startswith("magnet:"):
        torrent = Magnet.from_string(torrent)
    if isinstance(torrent, Magnet):
        peers += torrent.peers
        torrent = fetch_metadata(torrent, peers=peers, encryption=encryption)
    elif not isinstance(torrent, Torrent):
        torrent = Torrent.from_file(torrent)
    job = Download(torrent, folder, peers, request_timeout=request_timeout, encryption=encryption)
    job.run()
    if not job.storage.complete:
        raise DownloadError("the download was stopped before it was complete")
    return torrent
