"""The open files of a torrent: few at a time, shared by threads, and never one outside the folder."""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from geventbt import limits
from geventbt.concurrency.native import new_lock
from geventbt.errors import StorageError
from geventbt.metainfo import TorrentFile
from geventbt.storage.backend import MissingData
from geventbt.storage.disk.open_file import SAFE_OPEN_FLAGS, FileCut, FileGone, OpenFile, storage_errors
from geventbt.storage.disk.record import FileRecord


@dataclass(slots=True)
class _Slot:
    """An open file and the number of threads that use it."""

    file: OpenFile
    writable: bool
    users: int = 0
    retired: bool = False
    """No longer among the open files: the last user closes it."""


class OpenFiles:
    """Opens the files of a torrent when they are needed, and keeps those that were used last.

    Args:
        files: the files of the torrent.
        folder: the folder that they are in. Links on the way to it are the user's own and are followed, those below it
            never.
        limit: how many are open at a time. Only files that are in use at this very moment are kept beyond it.
    """

    def __init__(self, files: Sequence[TorrentFile], folder: Path, limit: int = limits.OPEN_FILES) -> None:
        self._files = files
        self._folder = folder
        self._limit = limit
        self._slots: OrderedDict[int, _Slot] = OrderedDict()
        self._records: dict[int, FileRecord] = {}
        self._lock = new_lock()
        self._closed = False

    def record(self, index: int) -> FileRecord:
        """The record of a file."""
        return self._records.get(index) or self._records.setdefault(index, FileRecord())

    def records(self) -> list[tuple[int, FileRecord]]:
        """The files of which anything is known, by their indices."""
        return list(self._records.items())

    def status(self, index: int) -> os.stat_result | None:
        """The status of a file, or None if it is not there."""
        path = self.path(index)
        try:
            with storage_errors(path):
                return path.lstat()
        except MissingData:
            return None

    def path(self, index: int) -> Path:
        """Where a file is, or would be."""
        return self._folder.joinpath(*self._files[index].path)

    @contextmanager
    def use(self, index: int, *, writable: bool = False) -> Iterator[OpenFile]:
        """A file, open for as long as the block runs.

        Args:
            index: the file's index in the torrent.
            writable: whether it is going to be written. It is then made if missing, its folders as well, and given its
                length (sparse).

        Raises:
            FileGone: if it was there and is no more, or another one is in its place. Raised once: the next call takes
                what is there now, or makes it.
            FileCut: if it is to be written, and has been cut short. Raised once, too.
            MissingData: if it is not there, and not `writable`.
            StorageError: if it cannot be opened, is not a regular file, or there is a symbolic link in its path.
        """
        slot = self._take(index, writable)
        try:
            yield slot.file
        finally:
            self._leave(slot)

    def read_cached(self, index: int, offset: int, length: int) -> bytes | bytearray | None:
        """A range of a file that is open, if it is in memory and no thread is in the way: never waits."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            if index not in self._slots:
                return None
            self._slots.move_to_end(index)
            return self._slots[index].file.read_cached(offset, length)
        finally:
            self._lock.release()

    def sync(self, index: int) -> None:
        """Block until what we have written to a file is on the disk.

        Raises:
            FileGone: if there is another file in its place by now, or none.
            StorageError: if it cannot be made safe.
        """
        record, status = self.record(index), self.status(index)
        if status is None or (status.st_dev, status.st_ino) != record.identity:
            with self._lock:
                self._forget(index)
            raise FileGone(self.path(index))
        record.unsynced = False
        with self.use(index, writable=True) as file:
            file.sync()

    def install(self, index: int, temporary: Path, fill: Callable[[OpenFile], None]) -> None:
        """Make a file that is there only once it is filled: if we are killed, it is there as a whole or not at all.

        Args:
            index: the file's index.
            temporary: where it is made, in a folder that is there.
            fill: writes what is to be in it.
        """
        path = self.path(index)
        with storage_errors(path):
            self._refuse_links(path)
            temporary.unlink(missing_ok=True)
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | SAFE_OPEN_FLAGS, self._mode(index))
            file = OpenFile(temporary, descriptor, FileRecord())
            try:
                file.set_length(self._files[index].length)
                fill(file)
                file.sync()
                path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(temporary, path)
                self.record(index).renew(file.fingerprint)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            finally:
                file.close()

    def remove(self, index: int) -> None:
        """Delete a file, if it is there."""
        path = self.path(index)
        with self._lock, storage_errors(path):
            self._forget(index)
            self._refuse_links(path)
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close every file; those in use when their users are done."""
        with self._lock:
            self._closed = True
            for index in list(self._slots):
                self._retire(index)

    def _take(self, index: int, writable: bool) -> _Slot:
        with self._lock:
            if self._closed:
                raise StorageError(errno.EBADF, "the storage is closed", os.fspath(self.path(index)))
            slot = self._slots.get(index)
            if slot is not None and slot.file.deleted:
                self._forget(index)
                raise FileGone(slot.file.path)
            if slot is not None and writable and not slot.writable:
                self._retire(index)
                slot = None
            if slot is None:
                slot = self._slots[index] = self._open(index, writable)
            slot.users += 1
            self._slots.move_to_end(index)
            if len(self._slots) > self._limit:
                self._retire_idle(len(self._slots) - self._limit)
            return slot

    def _leave(self, slot: _Slot) -> None:
        with self._lock:
            slot.users -= 1
            if slot.retired and not slot.users:
                slot.file.close()

    def _forget(self, index: int) -> None:
        """Let go of a file that is no longer the one we knew."""
        if index in self._slots:
            self._retire(index)
        self._records.pop(index, None)

    def _retire_idle(self, count: int) -> None:
        """Retire up to `count` files that are not in use, least recently used first."""
        for index in [index for index, slot in self._slots.items() if not slot.users][:count]:
            self._retire(index)

    def _retire(self, index: int) -> None:
        slot = self._slots.pop(index)
        slot.retired = True
        if not slot.users:
            slot.file.close()

    def _open(self, index: int, writable: bool) -> _Slot:
        file, path = self._files[index], self.path(index)
        with storage_errors(path):
            self._refuse_links(path)
            descriptor = self._open_descriptor(index, writable)
            opened = OpenFile(path, descriptor, self.record(index))
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise StorageError(errno.EINVAL, "not a regular file", os.fspath(path))
                if writable and self.record(index).notice_cut(status):
                    raise FileCut(path)
                if writable and status.st_size != file.length:
                    opened.set_length(file.length)
            except BaseException:
                opened.close()
                raise
        return _Slot(opened, writable)

    def _open_descriptor(self, index: int, writable: bool) -> int:
        path, flags = self.path(index), (os.O_RDWR if writable else os.O_RDONLY) | SAFE_OPEN_FLAGS
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            if not writable:
                raise
        record = self.record(index)
        if record.fingerprint is not None:
            self._records.pop(index)
            raise FileGone(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags | os.O_CREAT, self._mode(index))

    def _mode(self, index: int) -> int:
        return 0o777 if self._files[index].executable else 0o666

    def _refuse_links(self, path: Path) -> None:
        """Refuse a path with a symbolic link below the folder: it could lead anywhere."""
        folder = os.path.realpath(self._folder)
        parent = os.path.join(folder, *path.parent.relative_to(self._folder).parts)
        if os.path.normcase(os.path.realpath(parent)) != os.path.normcase(parent) or path.is_symlink():
            raise StorageError(errno.ELOOP, "a symbolic link in the path", os.fspath(path))
