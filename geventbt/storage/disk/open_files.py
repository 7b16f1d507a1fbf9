"""The files of a torrent: opened when they are needed, and never one outside the folder or one that is not ours."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from geventbt import limits
from geventbt.concurrency import descriptors
from geventbt.concurrency.native import new_lock, new_reentrant_lock
from geventbt.errors import StorageError
from geventbt.metainfo import TorrentFile
from geventbt.storage.backend import MissingData
from geventbt.storage.disk.disk_paths import DiskPaths
from geventbt.storage.disk.file_pool import SHARED, FilePool, Slot
from geventbt.storage.disk.open_file import SAFE_OPEN_FLAGS, FileChanged, FileCut, FileGone, OpenFile, storage_errors
from geventbt.storage.disk.record import FileRecord

_LOCKS = 16
"""Of the records of a torrent's files: *measured*, one each would be a tenth of the memory of 400,000 files."""


class WriteGuard(Protocol):
    """Says which files may be written to, and trusts them."""

    def check(self, index: int, path: str, status: os.stat_result) -> None:
        """Raise a StorageError unless a file that is there may be written to."""

    def take(self, index: int, path: str, status: os.stat_result) -> None:
        """Check a file that is there, perhaps made just now and still empty, and take it to be written to."""

    def record_taken(self) -> None:
        """Make durable which files were taken, before one of them is changed."""

    def on_lost(self, index: int) -> None:
        """Trust nothing of a file that is gone. No other file is made in its place meanwhile."""


class OpenFiles:
    """Opens the files of a torrent when they are needed.

    Args:
        files: the files of the torrent.
        folder: the folder that they are in. Links on the way to it are the user's own and are followed.
        guard: is asked before a file that is there is written to for the first time.
        pool: keeps the files that were used last, by default the one of the process.
    """

    def __init__(self, files: Sequence[TorrentFile], folder: Path, guard: WriteGuard, pool: FilePool = SHARED) -> None:
        self._files = files
        self._guard = guard
        self._pool = pool
        self._paths = DiskPaths(files, folder)
        # A list, for a dictionary of them all takes ten times the memory.
        self._records: list[FileRecord | None] = [None] * len(files)
        self._locks = [new_lock() for _ in range(_LOCKS)]
        self._opening = new_reentrant_lock()
        self._closed = False

    def record(self, index: int) -> FileRecord:
        """The record of a file."""
        record = self._records[index]
        if record is None:
            lock = self._locks[index % _LOCKS]
            with lock:
                record = self._records[index] = self._records[index] or FileRecord(lock)
        return record

    def records(self) -> list[tuple[int, FileRecord]]:
        """The files of which anything is known, by their indices."""
        return [(index, record) for index, record in enumerate(self._records) if record is not None]

    def status(self, index: int) -> os.stat_result | None:
        """The status of a file, or None if it is not there."""
        if self.is_path_too_long(index):
            return None
        try:
            with storage_errors(self.path(index)):
                return self._paths.status(index)
        except MissingData:
            return None

    def path(self, index: int) -> str:
        """Where a file is, or would be."""
        return self._paths.path(index)

    def is_path_too_long(self, index: int) -> bool:
        """Whether no file can have the path of this one."""
        path = self.path(index)
        try:
            return len(os.fsencode(path)) > limits.PATH
        except UnicodeEncodeError as error:
            what = f"the name cannot be written in {error.encoding}, the encoding of this system; set PYTHONUTF8=1"
            raise StorageError(errno.EILSEQ, what, os.fspath(path)) from error

    def check_writable(self, index: int) -> None:
        """Check that a file may be written to, if it is there.

        Raises:
            StorageError: it is not the torrent's (``errno.EEXIST``), or there is a symbolic link in its path.
        """
        with storage_errors(self.path(index)):
            path = self._paths.to_write(index)
            status = self.status(index)
            if status is not None:
                self._guard.check(index, path, status)

    def make(self, indices: Iterable[int]) -> None:
        """Make files that are not there, empty, and take all: they are recorded once, together. Those that we have
        written to are passed over.

        Raises:
            StorageError: one cannot be made, or is not the torrent's (``errno.EEXIST``).
        """
        for index in indices:
            if self.record(index).identity is not None:
                continue
            with self._opening, storage_errors(self.path(index)):
                path = self._paths.to_write(index)
                status = self.status(index)
                if status is None and self.record(index).fingerprint is None:
                    # Another torrent of the same contents may make it in this moment.
                    with suppress(FileExistsError):
                        os.close(self._create(index, path))
                    status = os.lstat(path)
                if status is not None:
                    self._guard.take(index, path, status)
        self._guard.record_taken()

    @contextmanager
    def use(self, index: int, *, writable: bool = False) -> Iterator[OpenFile]:
        """A file, open for as long as the block runs.

        Args:
            index: the file's index in the torrent.
            writable: whether it is going to be written. It is then made if missing, its folders as well, and given its
                length (sparse).

        Raises:
            FileGone: if it was there and is not any more, or was replaced by another one. Raised once: the next call
                takes what is there now, or makes it.
            FileCut: if it is to be written, and has been cut short. Raised once, too.
            FileChanged: if it is to be written, and has been changed.
            MissingData: if it is not there, and not `writable`.
            StorageError: if it cannot be opened, is not a regular file, or there is a symbolic link in its path.
        """
        slot = self._take(index, writable)
        try:
            yield slot.file
        except FileGone as gone:
            if gone.filename == slot.file.path:
                self._lose(index, slot.file.record)
            raise
        finally:
            self._pool.leave(slot)

    def read_cached(self, index: int, offset: int, length: int) -> bytes | bytearray | None:
        """A range of a file that is open, if it is in memory and no thread is in the way: never waits."""
        return self._pool.read_cached((self, index), offset, length)

    def sync(self, index: int) -> None:
        """Block until what we have written to a file is on the disk.

        Raises:
            FileGone: if there is another file in its place by now, or none.
            StorageError: if it cannot be made safe.
        """
        record = self.record(index)
        self.check_there(index)
        record.unsynced = False
        with self.use(index, writable=True) as file:
            file.sync()

    def check_there(self, index: int) -> os.stat_result:
        """The status of a file that has been made.

        Raises:
            FileGone: if there is another file in its place by now, or none. One that was moved may still be open.
        """
        record = self.record(index)
        status = self.status(index)
        if status is None or record.is_replaced(status):
            self._lose(index, record)
            raise FileGone(self.path(index))
        return status

    def install(self, index: int, temporary: Path, fill: Callable[[OpenFile], None]) -> None:
        """Make a file that is there only once it is filled: if we are killed, it is there as a whole or not at all.

        Args:
            index: the file's index.
            temporary: where it is made, in a folder that is there.
            fill: writes what is to be in it.
        """
        with storage_errors(self.path(index)):
            path = self._paths.to_write(index)
            temporary.unlink(missing_ok=True)
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | SAFE_OPEN_FLAGS, self._mode(index))
            file = OpenFile(os.fspath(temporary), descriptor, FileRecord())
            try:
                file.set_length(self._files[index].length)
                fill(file)
                file.sync()
                self._guard.take(index, path, os.fstat(descriptor))
                self._guard.record_taken()
                os.makedirs(os.path.dirname(path), exist_ok=True)
                os.replace(temporary, path)
                self.record(index).renew(file.fingerprint)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            finally:
                file.close()

    def remove(self, index: int) -> None:
        """Delete a file, if it is there."""
        with storage_errors(self.path(index)):
            self.forget(index)
            with suppress(FileNotFoundError):
                os.unlink(self._paths.to_write(index))

    def forget(self, index: int) -> None:
        """Close a file that is no longer the one that we know, and drop its record."""
        with self._opening:
            self._pool.close(self, index)
            self._records[index] = None

    def _lose(self, index: int, record: FileRecord) -> None:
        """Forget a file that is gone, or has been replaced.

        Args:
            index: the file's index.
            record: its record. If that is not the current one, the loss is known already, and a new file may be there.
        """
        with self._opening:
            if self._records[index] is record:
                self.forget(index)
                self._guard.on_lost(index)

    def close_file(self, index: int | None = None) -> None:
        """Close a file, or all of them, so that it is looked at before it is used again."""
        self._pool.close(self, index)

    def close_unused(self) -> None:
        """Close the files that have not been used for a while."""
        self._pool.close_unused(limits.IDLE_FILE)

    def close(self) -> None:
        """Close every file; those in use when their users are done."""
        self._closed = True
        self._pool.close(self)

    def _take(self, index: int, writable: bool) -> Slot:
        if self._closed:
            raise StorageError(errno.EBADF, "cannot be opened: the storage is closed", self.path(index))
        slot = self._pool.take((self, index), writable)
        if slot is None:
            with self._opening:
                slot = self._pool.take((self, index), writable) or self._open(index, writable)
        try:
            is_deleted = slot.file.deleted
        except BaseException:
            self._pool.leave(slot)
            raise
        if is_deleted:
            self._pool.leave(slot)
            self._lose(index, slot.file.record)
            raise FileGone(slot.file.path)
        return slot

    def _open(self, index: int, writable: bool) -> Slot:
        file, path = self._files[index], self.path(index)
        with storage_errors(path):
            descriptor = self._open_descriptor(index, writable)
            opened = OpenFile(path, descriptor, self.record(index))
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise StorageError(errno.EINVAL, "not a regular file: move it away, or choose another folder", path)
                if writable:
                    self._check_known(index, path, descriptor)
                if writable and status.st_size != file.length:
                    opened.set_length(file.length)
            except BaseException:
                opened.close()
                raise
        slot = Slot(opened, writable)
        self._pool.add((self, index), slot)
        if self._closed:
            # Meanwhile, by another thread, which did not find this one.
            self._pool.close(self, index)
        return slot

    def _check_known(self, index: int, path: str, descriptor: int) -> None:
        """Check that a file that is going to be written is the one that we know, and that it is ours."""
        record, status = self.record(index), os.fstat(descriptor)
        if record.notice_cut(status):
            raise FileCut(path)
        if record.is_replaced(status):
            self._lose(index, record)
            raise FileGone(path)
        if record.is_changed(descriptor):
            raise FileChanged(path)
        self._guard.take(index, path, status)
        self._guard.record_taken()

    def _open_descriptor(self, index: int, writable: bool) -> int:
        if not writable:
            return _open(self._pool, self._paths.to_read(index), os.O_RDONLY)
        path = self._paths.to_write(index)
        try:
            return _open(self._pool, path, os.O_RDWR)
        except FileNotFoundError:
            if self.record(index).is_known:
                # It may still be open for reading, where it is now.
                self._lose(index, self.record(index))
                raise FileGone(path) from None
        try:
            return self._create(index, path)
        except FileExistsError:
            # Another torrent of the same contents has made it in this moment.
            return _open(self._pool, path, os.O_RDWR)

    def _create(self, index: int, path: str) -> int:
        """Make a file, empty, and its folders."""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return _open(self._pool, path, os.O_RDWR | os.O_CREAT | os.O_EXCL, self._mode(index))

    def _mode(self, index: int) -> int:
        return 0o777 if self._files[index].executable else 0o666


def _open(pool: FilePool, path: str, flags: int, mode: int = 0o666) -> int:
    """Open a file; where no descriptor is left, close one that is not in use for it."""
    try:
        return os.open(path, flags | SAFE_OPEN_FLAGS, mode)
    except OSError as error:
        if not descriptors.is_shortage(error) or not pool.close_unused():
            raise
    return os.open(path, flags | SAFE_OPEN_FLAGS, mode)
