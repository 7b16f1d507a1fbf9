"""One open file, whose errors are `StorageError`s.

Reading and writing are positional (`pread`), so threads need not wait for each other; and they copy, rather than hand
out views of a mapped file, because a file that is cut short under a mapping ends the whole process with SIGBUS,
and under `pread` is an error.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from geventbt.concurrency.native import new_lock
from geventbt.errors import StorageError
from geventbt.storage.backend import ChangedData, MissingData
from geventbt.storage.disk.page_cache import CachedRead, find_cached_read
from geventbt.storage.disk.record import FileRecord, Fingerprint

HAS_POSITIONAL = hasattr(os, "pread") and hasattr(os, "preadv")
"""Whether the system reads and writes at a position: Windows does not."""
SAFE_OPEN_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""For every file in a folder that others can write to: no link is followed, and no pipe blocks."""
_log = logging.getLogger("geventbt")
_BLOCK = 512  # the unit of st_blocks


class FileGone(MissingData):
    """A file that was in use has been deleted, or there is another one in its place: nothing of it is left."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.ENOENT, "the file was deleted or replaced while it was in use", path)


class FileChanged(ChangedData):
    """A file that was in use has been changed in its place by another program."""

    text = "the file was changed by another program while it was in use"

    def __init__(self, path: str) -> None:
        super().__init__(errno.EIO, self.text, path)


class FileCut(FileChanged):
    """A file that was in use has been cut short."""

    text = "the file was cut short while it was in use"


class _NoMoreData(Exception):
    """Only a hole is left in a file."""


@contextmanager
def storage_errors(path: str | Path) -> Iterator[None]:
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
    """A file that is open. Its methods may be called from several threads at once.

    Args:
        path: where it is.
        descriptor: of the open file.
        record: what is known of it; kept up to date here.

    Attributes:
        path, record: see above.
    """

    def __init__(self, path: str, descriptor: int, record: FileRecord) -> None:
        self.path = path
        self._descriptor = descriptor
        self.record = record
        self._was_read = False
        self._cached_read: CachedRead | None = None
        self._seeking = new_lock()

    @property
    def deleted(self) -> bool:
        """Whether it has no name any more: what is written now is lost with the descriptor."""
        with storage_errors(self.path):
            return os.fstat(self._descriptor).st_nlink == 0

    @property
    def fingerprint(self) -> Fingerprint:
        """How it looks now."""
        return Fingerprint.of(os.fstat(self._descriptor))

    def read(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes.

        Raises:
            FileChanged: if another program has changed the file since our last change or look.
            MissingData: if the file ends before.
            StorageError: if it cannot be read.
        """
        if not self._was_read:
            # Not when it is opened: a download opens many files that it never reads.
            self._was_read = True
            self._cached_read = find_cached_read(self._descriptor)
        with storage_errors(self.path):
            if self.record.is_changed(self._descriptor):
                raise FileChanged(self.path)
            data = self._read(offset, length)
            while len(data) < length:
                more = self._read(offset + len(data), length - len(data))
                if not more:
                    raise MissingData(errno.EIO, "the file ends before the bytes that are needed", self.path)
                data += more
            return data

    def read_cached(self, offset: int, length: int) -> bytes | bytearray | None:
        """Read exactly `length` bytes if they are in memory. None if not, if `read` might have an error to tell, or
        before its first call, which finds out whether this can be done."""
        if self._cached_read is None:
            return None
        status = os.fstat(self._descriptor)
        if status.st_nlink == 0 or not self.record.looks_like(status):
            return None
        try:
            return self._cached_read(self._descriptor, offset, length)
        except OSError:
            return None

    def read_into(self, offset: int, view: memoryview) -> None:
        """Read until `view` is full, to be hashed: changed or not. Raises as `read` does otherwise."""
        with storage_errors(self.path):
            while view:
                got = self._read_into(offset, view)
                if not got:
                    raise MissingData(errno.EIO, "the file ends before the bytes that are needed", self.path)
                view = view[got:]
                offset += got

    def write(self, offset: int, data: memoryview) -> None:
        """Write all of `data`.

        Raises:
            FileGone: if it has no name any more.
            FileCut: if it is shorter than we left it. Nothing is written then.
            StorageError: if it cannot be written: ``errno.ENOSPC`` when the disk is full.
        """
        with storage_errors(self.path), self.record.changing(self._descriptor) as whole:
            if not whole:
                raise FileCut(self.path)
            while data:
                written = self._write(offset, data)
                data = data[written:]
                offset += written
        if self.deleted:
            raise FileGone(self.path)

    def set_length(self, length: int) -> None:
        """Cut the file, or make it longer without taking room on the disk."""
        with storage_errors(self.path), self.record.changing(self._descriptor, has_data=False):
            os.ftruncate(self._descriptor, length)

    def allocate(self, length: int) -> None:
        """Reserve room on the disk for a number of bytes, where the system can. The contents stay.

        Raises:
            StorageError: if there is not enough room: ``errno.ENOSPC``.
        """
        status = os.fstat(self._descriptor)
        if not hasattr(os, "posix_fallocate") or getattr(status, "st_blocks", 0) * _BLOCK >= length:
            return
        with storage_errors(self.path), self.record.changing(self._descriptor, has_data=False):
            try:
                os.posix_fallocate(self._descriptor, 0, length)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                    raise

    def sync(self) -> None:
        """Block until what was written is on the disk."""
        with storage_errors(self.path):
            getattr(os, "fdatasync", os.fsync)(self._descriptor)

    def data_ranges(self) -> list[tuple[int, int]]:
        """See `data_ranges`."""
        with storage_errors(self.path), self._seeking:
            return data_ranges(self._descriptor)

    def close(self) -> None:
        """Close the file. A network drive may tell only now that it has not kept what was written to it: nothing of
        the file is then trusted before it has been hashed."""
        try:
            os.close(self._descriptor)
        except OSError as error:
            self.record.externally_modified = True
            _log.warning("%s: closing it failed, so it is hashed again at the next start: %s", self.path, error)

    def _read(self, offset: int, length: int) -> bytes:
        if HAS_POSITIONAL:
            return os.pread(self._descriptor, length, offset)
        with self._seeking:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, length)

    def _read_into(self, offset: int, view: memoryview) -> int:
        if HAS_POSITIONAL:
            return os.preadv(self._descriptor, [view], offset)
        data = self._read(offset, len(view))
        view[: len(data)] = data
        return len(data)

    def _write(self, offset: int, data: memoryview) -> int:
        if HAS_POSITIONAL:
            return os.pwrite(self._descriptor, data, offset)
        with self._seeking:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.write(self._descriptor, data)


def data_ranges(descriptor: int) -> list[tuple[int, int]]:
    """Where a file is not a hole, as (start, end); where the system cannot tell, all of it."""
    size = os.fstat(descriptor).st_size
    ranges: list[tuple[int, int]] = []
    at = 0
    if not hasattr(os, "SEEK_DATA"):
        return [(0, size)] if size else []
    with suppress(_NoMoreData):
        while at < size:
            start = _seek(descriptor, at, os.SEEK_DATA)
            at = _seek(descriptor, start, os.SEEK_HOLE)
            ranges.append((start, at))
    return ranges


def _seek(descriptor: int, offset: int, whence: int) -> int:
    try:
        return os.lseek(descriptor, offset, whence)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise _NoMoreData from None
        raise
