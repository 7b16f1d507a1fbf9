"""The data of a torrent: opened, checked, recorded, and chosen file by file."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from bitarray import bitarray
from bitarray.util import zeros
from gevent.lock import RLock

from geventbt.client.swarm.swarm import Swarm
from geventbt.client.torrent.context import TorrentContext
from geventbt.client.torrent.file_map import FileMap, FileRef
from geventbt.client.torrent.lost_data import ReadWarnings, find_lost
from geventbt.concurrency.threads import in_thread
from geventbt.errors import DownloadError, StorageError
from geventbt.storage import Place, Storage, relocate

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class TorrentData:
    """The pieces and files of one torrent on its disk. Its methods block, most of them for a native thread.

    Args:
        context: the torrent.
        folder: the folder that its file or folder is in, or is to be.
        file_map: the files of the torrent, where it is known already.

    Attributes:
        folder: see above.
        storage: the pieces; None before `make`.
        files: the files; None before `open` has checked what is there.
        checked: pieces that have been checked.
        verified_order: the pieces in the order in which they were verified.
        gone: the pieces that were verified, and are gone from the disk or were changed there.
        lock: held while files are chosen or checked, each to its end.
    """

    def __init__(
        self,
        context: TorrentContext,
        folder: str | os.PathLike[str],
        file_map: FileMap | None,
    ) -> None:
        self._client = context.client
        self._identity = context.identity
        self._options = context.options
        self._events = context.events
        self.folder = folder
        self._file_map = file_map
        self.storage: Storage | None = None
        self.files: FileMap | None = None
        self.checked = 0
        self.verified_order: list[int] = []
        self.gone: bitarray = zeros(0, "big")
        self.lock = RLock()
        self._records = True

    # ------------------------------------------------------------------ state

    @property
    def opened(self) -> tuple[Storage, FileMap]:
        """The pieces and files, once `open` is over."""
        assert self.storage is not None
        assert self.files is not None
        return self.storage, self.files

    @property
    def is_all_there(self) -> bool:
        """Whether every piece that is wanted is verified and written."""
        return self.files is not None and (self.files.done or self._options.seed_only)

    @property
    def left(self) -> int:
        """The bytes that are missing, of all files: a peer that has only some of them is not a seed (BEP 3). One byte
        while it is unknown: trackers tell a peer that needs nothing of no seeds."""
        if self.storage is None or self.files is None:
            return 1
        return self.files.bytes_of(~self.storage.have)

    @property
    def is_complete(self) -> bool:
        """Whether every piece of the torrent is there."""
        return self.storage is not None and self.storage.complete

    def priorities(self, *, fetches: bool) -> bytes:
        """The priority of each piece, once the storage is made; zeros if nothing is to be fetched."""
        assert self._file_map is not None
        fetches = fetches and not self._options.seed_only
        return in_thread(self._file_map.piece_priorities) if fetches else bytes(len(self._file_map.wanted))

    # ------------------------------------------------------------------ opening

    def make(self) -> None:
        """Make the storage; nothing is read or written yet.

        Raises:
            DownloadError: a file that was chosen is not in the torrent.
            StorageError: there is no place for the data.
        """
        metainfo, options = self._identity.metainfo, self._options
        assert metainfo is not None
        try:
            self._file_map = self._file_map or in_thread(FileMap, metainfo, options.files)
        except LookupError as error:
            raise DownloadError(str(error)) from error
        if options.move_from is not None:
            with self._client.checking:
                in_thread(relocate, options.move_from, Place(metainfo, self.folder))
        # In a thread, since it may connect to something.
        backend = in_thread(options.storage, metainfo, Path(self.folder)) if options.storage else None
        selected = self._file_map.selected
        make = partial(Storage, metainfo, self.folder, selected=selected, overwrite=options.overwrite, backend=backend)
        self.storage = in_thread(make)

    def open(self) -> None:
        """Check what is on the disk, and make what is missing.

        Raises:
            StorageError: it cannot be made, or something is missing that is only to be seeded.
        """
        storage, file_map = self.storage, self._file_map
        assert storage is not None
        assert file_map is not None
        unknown = self._restore(storage)
        unreadable = self._check(storage, None if self._options.check else unknown)
        missing = (file_map.wanted & ~storage.have).count()
        if missing and self._options.seed_only:
            count, name = f"{missing} of {len(storage.have)} pieces", self._identity.name
            # Without the number of the error: to try again is for downloads.
            cause = f": {unreadable}" if unreadable is not None else ""
            raise StorageError(f"{count} of {name!r} are missing or differ from the torrent{cause}")
        self.prepare()
        in_thread(file_map.count, storage.have)
        self.verified_order = list(storage.have.search(1))
        self.gone = zeros(len(storage.have), "big")
        self.files = file_map

    def prepare(self) -> None:
        """Make the files that are missing, unless the torrent only seeds."""
        if self.storage is not None and not self._options.seed_only:
            in_thread(self.storage.prepare)

    def _restore(self, storage: Storage) -> bitarray | None:
        """The pieces to be checked; None for all.

        Where nothing can be written, nothing is recorded, and neither is a seed for which the folder cannot be locked:
        the disk is full, say, or another process uses it. What the record says is trusted all the same: it is true at
        any moment.
        """
        try:
            return in_thread(storage.restore)
        except StorageError as error:
            if error.errno not in _READ_ONLY and not self._options.seed_only:
                raise
        self._records = False
        try:
            return in_thread(partial(storage.restore, lock=False))
        except StorageError:
            return None

    def _check(self, storage: Storage, pieces: bitarray | None) -> StorageError | None:
        """Hash pieces, by default all. A file that cannot be read costs its own pieces only.

        Returns:
            The first error; None without one.
        """
        warnings = ReadWarnings()
        with self._client.checking:
            in_thread(partial(storage.check, self._note_checked, pieces=pieces, on_error=warnings))
        return warnings.first

    def _note_checked(self, checked: int, pieces: int) -> None:
        self.checked = checked

    # ------------------------------------------------------------------ pieces that come and go

    def note_verified(self, piece: int) -> list[int]:
        """Note that a piece is on the disk now. Returns the files that have become complete by it."""
        _, files = self.opened
        self.verified_order.append(piece)
        return files.note_verified(piece)

    def find_lost(self, swarm: Swarm | None) -> None:
        """Find the pieces that are gone, and those that were, and are there again; tell the peers.

        Raises:
            StorageError: nothing can be read for lack of descriptors.
        """
        storage, files = self.opened
        before = self.gone
        self.gone, found = find_lost(self._client, storage, files, swarm, before)
        self._send_lost(self.gone & ~before)
        # They may have been passed over meanwhile.
        self.verified_order.extend(found.search(1))

    def check_again(self) -> None:
        """Hash all data, and make what is missing."""
        storage, files = self.opened
        self.checked = 0
        self._check(storage, None)
        lost = files.lost(storage.have)
        self.gone = (self.gone | lost) & ~storage.have
        self._send_lost(lost)
        in_thread(files.count, storage.have)
        self.verified_order.extend(storage.have.search(1))
        self.prepare()

    def _send_lost(self, pieces: bitarray) -> None:
        for piece in pieces.search(1):
            self._events.send("piece_lost", index=piece)

    # ------------------------------------------------------------------ choosing

    def choose(self, priorities: Mapping[FileRef, int]) -> None:
        """Give files priorities, and make those that are wanted.

        Raises:
            LookupError, ValueError: there is no such file or priority.
            StorageError: a file cannot be made. All is as before, unless pieces have gone: see `FileMap.lost`.
        """
        storage, files = self.opened
        before, had = files.priorities, storage.have.copy()
        in_thread(files.set_priorities, priorities)
        try:
            in_thread(_select, storage, files.selected)
        except StorageError:
            in_thread(files.set_priorities, before)
            if not (had & ~storage.have).any():
                in_thread(storage.select, files.selected)
            raise

    # ------------------------------------------------------------------ recording

    def finish(self) -> None:
        """Look at the files for the last time: cut those that are too long.

        Raises:
            StorageError: one was changed, is missing, or cannot be cut.
        """
        if self.storage is not None and not self._options.seed_only:
            in_thread(self.storage.finish)

    def record(self) -> None:
        """Record what is verified, for the next start; not before all that is there is known.

        Raises:
            StorageError: it cannot be written.
        """
        if self._records and self.storage is not None and self.files is not None:
            in_thread(self.storage.checkpoint)

    def delete(self) -> None:
        """Delete the files of the torrent.

        Raises:
            StorageError: they cannot be deleted.
        """
        if self.storage is not None:
            in_thread(self.storage.delete)

    def close(self) -> None:
        """Let go of the files."""
        if self.storage is not None:
            in_thread(self.storage.close)


def _select(storage: Storage, files: set[int]) -> None:
    """Want these files, and make them, in a native thread."""
    storage.select(files)
    storage.prepare()
