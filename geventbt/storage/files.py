"""The open files of a torrent: few at a time, shared by threads, and never one outside the folder.

Reading and writing are positional (`pread`), so threads need not wait for each other; and they copy, rather than hand
out views of a mapped file, because a file that somebody cuts short under a mapping ends the whole process with SIGBUS,
and under `pread` is an error.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from geventbt import limits
from geventbt.errors import StorageError
from geventbt.metainfo import TorrentFile

# O_NONBLOCK: a pipe that somebody put in a file's place must not block us for ever before it is seen to be one.
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_HAS_POSITIONAL = hasattr(os, "pread")


class MissingData(StorageError):
    """A file is not there, or ends before the bytes that were asked for."""


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into a StorageError that keeps its errno and names the file."""
    try:
        yield
    except StorageError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingData(error.errno, error.strerror, os.fspath(path)) from error
    except OSError as error:
        raise StorageError(error.errno, error.strerror or str(error), os.fspath(path)) from error


class OpenFile:
    """A file that is open. Its methods may be called from several threads at once."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._seeking = threading.Lock()

    def read(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes.

        Raises:
            MissingData: if the file ends before.
            StorageError: if it cannot be read.
        """
        with storage_errors(self.path):
            data = self._read(offset, length)
            while len(data) < length:
                more = self._read(offset + len(data), length - len(data))
                if not more:
                    raise MissingData(errno.EIO, "the file is too short", os.fspath(self.path))
                data += more
            return data

    def write(self, offset: int, data: memoryview) -> None:
        """Write all of `data`.

        Raises:
            StorageError: if it cannot be written: ``errno.ENOSPC`` when the disk is full.
        """
        with storage_errors(self.path):
            while data:
                written = self._write(offset, data)
                data = data[written:]
                offset += written

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _read(self, offset: int, length: int) -> bytes:
        if _HAS_POSITIONAL:
            return os.pread(self._descriptor, length, offset)
        with self._seeking:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, length)

    def _write(self, offset: int, data: memoryview) -> int:
        if _HAS_POSITIONAL:
            return os.pwrite(self._descriptor, data, offset)
        with self._seeking:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.write(self._descriptor, data)


@dataclass(slots=True)
class _Slot:
    """An open file and how many threads are at it."""

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
        self._lock = threading.Lock()
        self._closed = False

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
            MissingData: if it is not there, and not `writable`.
            StorageError: if it cannot be opened, is no regular file, or a symbolic link is at its place or on the way.
        """
        slot = self._take(index, writable)
        try:
            yield slot.file
        finally:
            self._leave(slot)

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
            if slot is None or (writable and not slot.writable):
                if slot is not None:
                    self._retire(index)
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

    def _retire_idle(self, count: int) -> None:
        """Retire up to `count` files that nobody is at, those used longest ago first."""
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
            if writable:
                path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY
            descriptor = os.open(path, flags | _SAFELY, 0o777 if file.executable else 0o666)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise StorageError(errno.EINVAL, "not a regular file", os.fspath(path))
                if writable and status.st_size != file.length:
                    os.ftruncate(descriptor, file.length)
            except BaseException:
                os.close(descriptor)
                raise
        return _Slot(OpenFile(path, descriptor), writable)

    def _refuse_links(self, path: Path) -> None:
        """Refuse a path with a symbolic link below the folder: it could lead anywhere."""
        folder = os.path.realpath(self._folder)
        parent = os.path.join(folder, *path.parent.relative_to(self._folder).parts)
        if os.path.normcase(os.path.realpath(parent)) != os.path.normcase(parent) or path.is_symlink():
            raise StorageError(errno.ELOOP, "a symbolic link in the path", os.fspath(path))
