"""Where the files of a torrent are on the disk, and which symbolic links are followed on the way to them.

A torrent never makes a link. One in the place of the torrent's own file or folder was made by its user: it is followed
to read, and so to seed, and nothing is written through it. One further down is untrusted, since others may write to the
folder, and is not followed at all.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from geventbt.errors import StorageError
from geventbt.metainfo import TorrentFile
from geventbt.metainfo.paths import STATE_DIR

_JUNCTION = 0xA0000003
"""The reparse tag of a folder that is mounted elsewhere on Windows: a link by another name."""


class DiskPaths:
    """The paths of a torrent's files.

    Args:
        files: the files of the torrent.
        folder: the folder that they are in. Links on the way to it are the user's own and are followed.
    """

    def __init__(self, files: Sequence[TorrentFile], folder: Path) -> None:
        self._files = files
        self._folder = os.fspath(folder)
        self._is_raw: dict[int, bool] = {}

    def path(self, index: int) -> str:
        """Where a file is, or would be: by its safe name, or by the raw one that another program has given it."""
        return os.path.join(self._folder, *self._parts(index))

    def status(self, index: int) -> os.stat_result:
        """The status of a file, or of what is in its place. Raises an OSError if nothing is there."""
        path = self.path(index)
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode) and os.path.dirname(path) == self._folder:
            return os.stat(path)
        return status

    def to_read(self, index: int) -> str:
        """The path by which a file is opened to be read.

        Raises:
            StorageError: it has a symbolic link in it that is not followed.
        """
        root, *below = self._parts(index)
        base = os.path.join(self._folder, root)
        if root != STATE_DIR and os.path.islink(base):
            base = os.path.realpath(base)
        if _has_link(base, below):
            raise _link_error(self.path(index), "a symbolic link within the torrent's folder, which is not followed")
        return os.path.join(base, *below)

    def to_write(self, index: int) -> str:
        """The path by which a file is opened to be written.

        Raises:
            StorageError: it has a symbolic link in it.
        """
        path = self.path(index)
        if _has_link(self._folder, self._parts(index)):
            what = "a symbolic link in its path, through which nothing is written: choose the folder that it leads to"
            raise _link_error(path, what)
        return path

    def _parts(self, index: int) -> tuple[str, ...]:
        file = self._files[index]
        if file.raw_path is None:
            return file.path
        if index not in self._is_raw:
            safe, raw = os.path.join(self._folder, *file.path), os.path.join(self._folder, *file.raw_path)
            self._is_raw[index] = not os.path.lexists(safe) and os.path.lexists(raw)
        return file.raw_path if self._is_raw[index] else file.path


def _has_link(base: str, parts: Sequence[str]) -> bool:
    """Whether there is a symbolic link below a folder, on the way to a file or in its place."""
    path = base
    for part in parts:
        path = os.path.join(path, part)
        try:
            status = os.lstat(path)
        except OSError:
            return False
        if stat.S_ISLNK(status.st_mode) or getattr(status, "st_reparse_tag", 0) == _JUNCTION:
            return True
    return False


def _link_error(path: str, what: str) -> StorageError:
    return StorageError(errno.ELOOP, what, path)
