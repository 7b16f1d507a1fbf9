"""Our own folder ``.geventbt`` beside the data: a lock for each torrent, and files that are replaced as a whole.

No link in it is ever followed.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

from geventbt.concurrency.native import new_lock
from geventbt.errors import StorageError
from geventbt.metainfo.paths import STATE_DIR
from geventbt.storage.disk.open_file import SAFE_OPEN_FLAGS, storage_errors

_TAKEN = (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK, errno.EDEADLK)
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


class StateDir:
    """The files of our own for one torrent in the folder of its data. Nothing is made before it is needed.

    Args:
        folder: the folder of the data.
        name: the name of all files of this torrent, before their endings.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder / STATE_DIR
        self._name = name
        self._descriptor: int | None = None
        self._closed = False
        self._locking = new_lock()

    def path(self, ending: str) -> Path:
        """Where a file of this torrent is."""
        return self._folder / f"{self._name}.{ending}"

    def make(self) -> None:
        """Make the folder, if it is not there.

        Raises:
            StorageError: if it cannot be made, or something else is in its place.
        """
        with storage_errors(self._folder):
            with suppress(FileExistsError):
                self._folder.mkdir(parents=True)
            if not stat.S_ISDIR(self._folder.lstat().st_mode):
                raise StorageError(errno.ENOTDIR, "not a folder, or a symbolic link", os.fspath(self._folder))

    def lock(self) -> None:
        """Keep all other programs away from this torrent in this folder, until `close` or the end of the process.
        Locking twice does no harm.

        Raises:
            StorageError: if another program, or another storage of this one, has it.
        """
        with self._locking:
            if self._descriptor is not None:
                return
            path = self.path("lock")
            if self._closed:
                raise StorageError(errno.EBADF, "the storage is closed", os.fspath(path))
            self.make()
            with storage_errors(path):
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | SAFE_OPEN_FLAGS, 0o666)
                try:
                    _lock(descriptor)
                except OSError as error:
                    os.close(descriptor)
                    if error.errno in _TAKEN:
                        raise StorageError(errno.EBUSY, "another program is using this torrent", str(path)) from error
                    raise
            self._descriptor = descriptor

    def close(self) -> None:
        """Release the lock, for good. Its file stays, since another program may be opening it at this moment."""
        with self._locking:
            self._closed = True
            if self._descriptor is not None:
                _unlock(self._descriptor)
                os.close(self._descriptor)
                self._descriptor = None

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
        """Write a file so that there is, at any moment and after a crash of the machine, the old one or the new one.

        Raises:
            StorageError: if it cannot be written. The old one is then still there.
        """
        self.make()
        path, temporary = self.path(ending), self.path(f"{ending}.new")
        with storage_errors(path):
            temporary.unlink(missing_ok=True)
            try:
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE_OPEN_FLAGS, 0o666)
                with open(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(descriptor)
                os.replace(temporary, path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            self._sync()

    def _sync(self) -> None:
        """Make the new name safe, where folders can be opened."""
        if hasattr(os, "O_DIRECTORY"):
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        """Take the lock. A network file system that has none must not keep us from working."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise

    def _unlock(descriptor: int) -> None:
        """Unlock explicitly, because a child process may still have the descriptor."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)
