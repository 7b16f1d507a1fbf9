"""A torrent's files in memory."""

from __future__ import annotations

import errno
import os

from geventbt.arguments import check_instances
from geventbt.concurrency.native import new_lock
from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.storage.backend import MissingData, StorageBackend


class MemoryBackend(StorageBackend):
    """Keeps the files of a torrent in memory: ``client.add(torrent, storage=geventbt.MemoryBackend)``.

    A file takes its full length of address space with its first byte; most systems take memory as it is written. What
    `write` put there before a torrent is added is found by its check, and served.

    Args:
        torrent: the torrent.
        folder: not used; it is where other backends have their files.
    """

    def __init__(self, torrent: Torrent, folder: str | os.PathLike[str] = "") -> None:
        check_instances(Torrent, torrent=torrent)
        self.torrent = torrent
        self._files: dict[int, bytearray] = {}
        self._making = new_lock()

    def size(self, file: int) -> int:
        """The length of a file, 0 before its first byte is written."""
        return len(self._files.get(file, b""))

    def read(self, file: int, offset: int, length: int) -> bytes:
        """Read a range of a file.

        Raises:
            MissingData: it was never written, or ends before.
        """
        return bytes(self._view(file, offset, length))

    def read_cached(self, file: int, offset: int, length: int) -> bytes | None:
        """Read a range of a file, which never takes waiting."""
        return self.read(file, offset, length) if self.size(file) else None

    def read_into(self, file: int, offset: int, view: memoryview) -> None:
        """Fill a buffer with a range of a file."""
        view[:] = self._view(file, offset, len(view))

    def write(self, file: int, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write a range of a file.

        Raises:
            ValueError: the range is not within the file.
            StorageError: there is not enough memory (``errno.ENOMEM``).
        """
        length = self.torrent.files[file].length
        if not 0 <= offset <= length - len(data):
            raise ValueError(f"{len(data)} bytes at offset {offset} are not within file {file} of {length} bytes")
        with self._making:
            if file not in self._files:
                self._files[file] = self._allocate(file, length)
        self._files[file][offset : offset + len(data)] = data

    def remove(self) -> None:
        """Forget all data."""
        self._files.clear()

    def _view(self, file: int, offset: int, length: int) -> memoryview:
        if self.size(file) < offset + length:
            raise MissingData(errno.ENOENT, "not in memory", "/".join(self.torrent.files[file].path))
        return memoryview(self._files[file])[offset : offset + length]

    def _allocate(self, file: int, length: int) -> bytearray:
        try:
            return bytearray(length)
        except MemoryError:
            name = "/".join(self.torrent.files[file].path)
            raise StorageError(errno.ENOMEM, f"no memory for {length} bytes", name) from None
