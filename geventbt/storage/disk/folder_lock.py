"""The lock of a torrent in a folder: no two programs, nor two parts of one, use the same torrent in the same folder.

All torrents of a folder share one lock file, and so one descriptor of a process: each locks the byte that its info
hash says. The system ends these locks with the process, and with the last descriptor of the file that it closes.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from geventbt.concurrency.native import new_lock
from geventbt.errors import StorageError
from geventbt.storage.disk.open_file import SAFE_OPEN_FLAGS, storage_errors

_TAKEN = (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK, errno.EDEADLK)
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


@dataclass(slots=True)
class _LockFile:
    """An open lock file of this process, and the torrents that are locked by it."""

    descriptor: int
    process: int
    locked: set[int] = field(default_factory=set)


_files: dict[str, _LockFile] = {}
_locking = new_lock()


def lock(path: Path, info_hash: bytes) -> None:
    """Lock a torrent by a lock file, which is made if it is not there.

    Raises:
        StorageError: it is locked already (``errno.EBUSY``), or the file cannot be opened.
    """
    byte = _byte_of(info_hash)
    with _locking, storage_errors(path):
        file = _open(path)
        if byte in file.locked:
            raise StorageError(errno.EBUSY, "this program is using this torrent here already", os.fspath(path))
        try:
            _lock(file.descriptor, byte)
        except OSError as error:
            _close_unused(path, file)
            if error.errno in _TAKEN:
                raise StorageError(errno.EBUSY, "another program is using this torrent", os.fspath(path)) from error
            raise
        file.locked.add(byte)


def unlock(path: Path, info_hash: bytes) -> None:
    """Release a torrent. The lock file stays, since another program may be opening it at this moment."""
    byte = _byte_of(info_hash)
    with _locking:
        file = _files.get(_key(path))
        # A child of the process that has locked it has no lock.
        if file is not None and file.process == os.getpid() and byte in file.locked:
            file.locked.discard(byte)
            # The system ends it in any case, with the descriptor.
            with suppress(OSError):
                _unlock(file.descriptor, byte)
            _close_unused(path, file)


def _open(path: Path) -> _LockFile:
    file = _files.get(_key(path))
    if file is None or file.process != os.getpid():
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | SAFE_OPEN_FLAGS, 0o666)
        file = _files[_key(path)] = _LockFile(descriptor, os.getpid())
    return file


def _close_unused(path: Path, file: _LockFile) -> None:
    if not file.locked:
        del _files[_key(path)]
        # What is closed is closed even if that fails, and nothing was written to it.
        with suppress(OSError):
            os.close(file.descriptor)


def _key(path: Path) -> str:
    return os.path.realpath(path)


if sys.platform == "win32":
    import msvcrt

    def _byte_of(info_hash: bytes) -> int:
        return int.from_bytes(info_hash[:4], "big") >> 2

    def _lock(descriptor: int, byte: int) -> None:
        os.lseek(descriptor, byte, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock(descriptor: int, byte: int) -> None:
        os.lseek(descriptor, byte, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _byte_of(info_hash: bytes) -> int:
        return int.from_bytes(info_hash[:8], "big") >> 2

    def _lock(descriptor: int, byte: int) -> None:
        """Take the lock. A network file system that has none must not keep us from working."""
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise

    def _unlock(descriptor: int, byte: int) -> None:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, byte)
