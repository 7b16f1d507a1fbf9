"""`replace_file`: writes a file so that there is, at any moment, the old one or the new one, and each as a whole.

The data goes to a temporary file in the same folder, is synced, and takes the place of the file by a rename. The name
of the temporary file follows from that of the file, and its writer has it locked. So

- a kill at any point leaves the old file or the new one, and at most one temporary file;
- the next writer of the file takes that over, so that leftovers neither pile up nor have to be looked for;
- of several writers, threads or processes, one waits for the other, and none writes into what another one renames.
"""

from __future__ import annotations

import errno
import os
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import IO

_FLAGS = os.O_RDWR | os.O_CREAT
_FLAGS |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NOT_OURS = (errno.EACCES, errno.ELOOP)
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
_NO_SYNC = (errno.EINVAL, errno.EOPNOTSUPP, errno.EACCES)


def replace_file(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Put data in the place of a file, or make the file. Blocks on the disk.

    After a kill, and after a crash of the machine, it is the old file or the new one; once this has returned, the new
    one. Of several writers at one time the last one holds; where the file system has no locks, one of them may fail. A
    symbolic link is replaced, and not followed.

    Args:
        path: the file, in a folder that is there.
        data: all that is to be in it.
        mode: its permissions, less what the umask takes away.

    Raises:
        OSError: it cannot be written: ``errno.ENOSPC`` when the disk is full. The old file is then still there, and
            nothing is left behind; only where the name cannot be synced, the new one is there.
    """
    beside = _beside(path)
    with _claim(beside, mode) as file:
        try:
            file.truncate()
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if sys.platform == "win32":
                # Nothing can take the name of a file that is open there.
                file.close()
            os.replace(beside, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside)
            raise
    sync_folder(path.parent)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Block until the names in a folder are safe on the disk, as far as the system and its drive can do that.

    Raises:
        OSError: they may be lost by a crash of the machine.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(descriptor)
    except OSError as error:
        # Some network drives sync files alone, and a folder that can be written to need not be readable.
        if error.errno not in _NO_SYNC:
            raise
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _beside(path: Path) -> Path:
    """The temporary file: not longer than the system allows, whatever the name, and not one that a user would choose.
    Two files of a folder that have the same one only wait for each other."""
    return path.with_name(f".geventbt-{zlib.crc32(os.fsencode(path.name)):08x}.new")


def _claim(beside: Path, mode: int) -> IO[bytes]:
    """Open and lock the temporary file: a new one, or one that a writer has left who was killed."""
    while True:
        file = open(_open(beside, mode), "wb")  # noqa: SIM115
        try:
            _lock(file.fileno())
            if _has_name(file.fileno(), beside):
                return file
        except BaseException:
            file.close()
            raise
        # The writer that we have waited for has given it its name.
        file.close()


def _open(beside: Path, mode: int) -> int:
    try:
        return os.open(beside, _FLAGS, mode)
    except OSError as error:
        if error.errno not in _NOT_OURS:
            raise
    # A link, or left by another user.
    with suppress(OSError):
        os.unlink(beside)
    return os.open(beside, _FLAGS, mode)


def _has_name(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


if sys.platform == "win32":

    def _lock(descriptor: int) -> None:
        pass

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
