"""Where the files of a torrent are on the disk, and which symbolic links are followed on the way to them.

A torrent never makes a link, so one that is there is of somebody else's making. One in the place of the torrent's own
file or folder is what its user has put there: it is followed to read, and so to seed, and nothing is written through
it. One further down could have been put there by anybody who shares the folder, and is not followed at all.
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


class DiskPaths:
    """The paths of a torrent's files.

    Args:
        files: the files of the torrent.
        folder: the folder that they are in. Links on the way to it are the user's own and are followed.
    """

    def __init__(self, files: Sequence[TorrentFile], folder: Path) -> None:
        self._files = files
        self._folder = folder
        self._is_raw: dict[int, bool] = {}

    def path(self, index: int) -> Path:
        """Where a file is, or would be: by its safe name, or by the raw one that another program has given it."""
        file = self._files[index]
        if file.raw_path is None:
            return self._folder.joinpath(*file.path)
        safe, raw = self._folder.joinpath(*file.path), self._folder.joinpath(*file.raw_path)
        if index not in self._is_raw:
            self._is_raw[index] = not os.path.lexists(safe) and os.path.lexists(raw)
        return raw if self._is_raw[index] else safe

    def status(self, index: int) -> os.stat_result:
        """The status of a file, or of what is in its place. Raises an OSError if nothing is there."""
        path = self.path(index)
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode) and path.parent == self._folder:
            return path.stat()
        return status

    def to_read(self, index: int) -> Path:
        """The path by which a file is opened to be read.

        Raises:
            StorageError: it has a symbolic link in it that is not followed.
        """
        path = self.path(index)
        root, *below = path.relative_to(self._folder).parts
        base = os.path.join(os.path.realpath(self._folder), root)
        if root != STATE_DIR and os.path.islink(base):
            base = os.path.realpath(base)
            path = Path(base, *below)
        if below and (_has_link(base, below[:-1]) or path.is_symlink()):
            raise _link_error(path, "a symbolic link within the torrent's folder, which is not followed")
        return path

    def to_write(self, index: int) -> Path:
        """The path by which a file is opened to be written.

        Raises:
            StorageError: it has a symbolic link in it.
        """
        path = self.path(index)
        if path.is_symlink() or _has_link(os.path.realpath(self._folder), path.relative_to(self._folder).parts[:-1]):
            what = "a symbolic link in its path, through which nothing is written: choose the folder that it leads to"
            raise _link_error(path, what)
        return path


def _has_link(base: str, parts: Sequence[str]) -> bool:
    """Whether there is a symbolic link below a folder, which itself has none in its path."""
    path = os.path.join(base, *parts)
    return os.path.normcase(os.path.realpath(path)) != os.path.normcase(path)


def _link_error(path: Path, what: str) -> StorageError:
    return StorageError(errno.ELOOP, what, os.fspath(path))
