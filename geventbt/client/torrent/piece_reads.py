"""Reading pieces while they are fetched: reads that wait for a piece, and what is fetched ahead of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from geventbt import limits
from geventbt.client.torrent.context import TorrentContext
from geventbt.client.torrent.data import TorrentData
from geventbt.client.torrent.disk_recovery import DiskRecovery
from geventbt.client.torrent.peering import Peering
from geventbt.client.torrent.readahead import Readahead
from geventbt.concurrency.threads import in_thread
from geventbt.errors import StorageError

_LOOK = 1.0
"""Seconds between two looks of a read at a piece that is not there."""


class PieceReads:
    """Reads the pieces of one torrent; a `PieceSource`.

    Args:
        context: the torrent.
        data: its data.
        peering: its peers.
        recovery: is notified of pieces that cannot be read.
        readahead: the pieces that readers need.

    Attributes:
        under_way: the number of reads that are blocked at the moment.
    """

    def __init__(
        self,
        context: TorrentContext,
        data: TorrentData,
        peering: Peering,
        recovery: DiskRecovery,
        readahead: Readahead,
    ) -> None:
        self._client = context.client
        self._life = context.life
        self._seed_only = context.options.seed_only
        self._data = data
        self._peering = peering
        self._recovery = recovery
        self._readahead = readahead
        self.under_way = 0

    def read(self, piece: int, offset: int, length: int, *, gives_up: Callable[[], bool] = lambda: False) -> bytes:
        """Block until a piece is verified, and read a range of it, once the data has been checked; see `PieceSource`.

        Raises:
            StorageError: the piece is gone from a torrent that only seeds. All else: see `ActiveTorrent.wait`.
        """
        self._client.check_thread()
        storage, _ = self._data.opened
        self.under_way += 1
        try:
            while self._wait_verified(piece, gives_up):
                try:
                    return in_thread(storage.read, piece, offset, length)
                except StorageError as error:
                    self._recovery.note_read_error(error)
                    # It may be found again, or its loss fails the torrent.
                    self._life.changes.wait(_LOOK)
            return b""
        finally:
            self.under_way -= 1

    def _wait_verified(self, piece: int, gives_up: Callable[[], bool]) -> bool:
        """Block until a piece is verified. Returns False if the reader gives up before."""
        storage, _ = self._data.opened
        while not storage.have[piece]:
            self._life.raise_error()
            if gives_up():
                return False
            if self._seed_only and self._data.gone[piece]:
                raise StorageError(
                    f"piece {piece} of {storage.torrent.name!r} is gone from the disk, or was changed there"
                )
            self._life.changes.wait(_LOOK)
        return True

    def read_ahead(self, reader: Hashable, pieces: range, rate: float = 0.0) -> None:
        """Fetch the pieces that a reader needs before those that no reader waits for; see `PieceSource`.

        A piece is due when the reader comes to it, or when all peers together can have delivered what is before it: of
        what no peer can deliver in time, what is first should be first.
        """
        if self._data.files is None:
            return
        storage, files = self._data.opened
        swarm = self._peering.swarm
        speed = swarm.delivery_speed if swarm is not None else 0.0
        seconds = storage.torrent.geometry.piece_length / max(limits.MIN_READING_SPEED, min(rate, speed))
        missing = {piece: place * seconds for place, piece in enumerate(pieces) if not storage.have[piece]}
        changed, forgotten = self._readahead.move(reader, missing, self._client.now())
        if swarm is not None:
            swarm.set_deadlines(self._readahead.deadlines(changed))
            swarm.forget_deadlines(forgotten, unwanted=[piece for piece in forgotten if not files.wanted[piece]])
        # For a greenlet that is reading with a reader that has just been closed.
        self._life.notify()
