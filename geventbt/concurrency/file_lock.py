"""`FileLock`: keeps other programs, and other parts of this one, from the use of something on the disk."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from geventbt.concurrency.forks import drop_in_child

_TAKEN = (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK, errno.EDEADLK)


class FileLock:
    """A lock that the system ends with the process. Its methods block on the disk for a moment.

    Args:
        path: the file to lock by, which stays; it is made with its folder.
        mode: its permissions, less what the umask takes away: who can read it can take the lock.
    """

    def __init__(self, path: Path, *, mode: int = 0o666) -> None:
        self._path = path
        self._mode = mode
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Take the lock, unless we have it. Returns whether we have it now.

        Raises:
            OSError: the file cannot be made, or its file system has no locks.
        """
        if self._descriptor is not None:
            return True
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, self._mode)
        try:
            _lock(descriptor)
        except OSError as error:
            os.close(descriptor)
            if error.errno not in _TAKEN:
                raise
            return False
        self._descriptor = descriptor
        drop_in_child(self)
        return True

    def fileno(self) -> int:
        """The descriptor that has the lock, negative without it: a forked child lets go of it."""
        return -1 if self._descriptor is None else self._descriptor

    def release(self) -> None:
        """Let go of the lock, if we have it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
