"""Our own folder ``.geventbt`` beside the data: the lock of each torrent, and files that are replaced as a whole.

No link in it is ever followed.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from geventbt.concurrency.native import new_lock
from geventbt.concurrency.replace_file import replace_file
from geventbt.errors import StorageError
from geventbt.metainfo.paths import STATE_DIR
from geventbt.storage.disk import folder_lock
from geventbt.storage.disk.open_file import SAFE_OPEN_FLAGS, storage_errors

_LOCK = "lock"
"""The name of the file by which all torrents of the folder are locked."""


class StateDir:
    """The files of our own for one torrent in the folder of its data. Nothing is made before it is needed.

    Args:
        folder: the folder of the data.
        info_hash: of the torrent; it begins the names of all its files.

    Attributes:
        locked: whether the torrent is locked.
    """

    def __init__(self, folder: Path, info_hash: bytes) -> None:
        self._folder = folder / STATE_DIR
        self._info_hash = info_hash
        self.locked = False
        self._closed = False
        self._locking = new_lock()

    def path(self, ending: str) -> Path:
        """Where a file of this torrent is."""
        return self._folder / f"{self._info_hash.hex()}.{ending}"

    def make(self) -> None:
        """Make the folder, if it is not there.

        Raises:
            StorageError: if it cannot be made, or something else is in its place.
        """
        with storage_errors(self._folder):
            with suppress(FileExistsError):
                self._folder.mkdir(parents=True)
            if not stat.S_ISDIR(self._folder.lstat().st_mode):
                what = "not a folder, or a symbolic link, in the place of the folder for our own files: move it away"
                raise StorageError(errno.ENOTDIR, what, os.fspath(self._folder))

    def lock(self) -> None:
        """Keep all other programs away from this torrent in this folder, until `close` or the end of the process.
        Locking twice does no harm.

        Raises:
            StorageError: if another program, or another storage of this one, has it.
        """
        with self._locking:
            if self.locked:
                return
            if self._closed:
                raise StorageError(errno.EBADF, "cannot be locked: the storage is closed", os.fspath(self._folder))
            self.make()
            folder_lock.lock(self._folder / _LOCK, self._info_hash)
            self.locked = True

    def close(self) -> None:
        """Release the lock, for good."""
        with self._locking:
            self._closed = True
            if self.locked:
                folder_lock.unlock(self._folder / _LOCK, self._info_hash)
                self.locked = False

    def read(self, ending: str, limit: int) -> bytes | None:
        """The contents of a file, or None if it is not there, not readable, not a file or longer than `limit` bytes."""
        try:
            if self._folder.is_symlink():
                return None
            descriptor = os.open(self.path(ending), os.O_RDONLY | SAFE_OPEN_FLAGS)
            with open(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return None
                data = file.read(limit + 1)
        except OSError:
            return None
        return data if len(data) <= limit else None

    def replace(self, ending: str, data: bytes) -> None:
        """Write a file, as a whole; see `replace_file`.

        Raises:
            StorageError: if it cannot be written. The old one is then still there.
        """
        self.make()
        path = self.path(ending)
        with storage_errors(path):
            replace_file(path, data)

    def remove(self, ending: str) -> None:
        """Delete a file, if it is there.

        Raises:
            StorageError: it cannot be deleted.
        """
        with storage_errors(self.path(ending)):
            self.path(ending).unlink(missing_ok=True)
