"""Which files on the disk are a torrent's own: no other is ever written to, cut or replaced.

A file is the torrent's own if we have made it, in this run or, as the record says, in an earlier one; if a piece of it
is right; or if there is no data in it that could be lost. Of several torrents in one place the first to take a file is
its owner, and others may only write there if the contents are the same. The user may give all others away
(``overwrite``).

Each file is recorded as ours before it gets its length or a byte of data, so that a restart after a kill recognises it.
"""

from __future__ import annotations

import errno
import os
import stat
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from weakref import WeakSet

from bitarray import bitarray
from bitarray.util import zeros

from geventbt import limits
from geventbt.concurrency.native import new_reentrant_lock
from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.metainfo.paths import FOLDS_NAMES
from geventbt.metainfo.piece_hashes import PieceHashes
from geventbt.storage.disk.open_file import SAFE_OPEN_FLAGS, data_ranges
from geventbt.storage.disk.resume_file import ResumeFile
from geventbt.storage.layout import Layout

_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFLNK: "a link"}
_present: defaultdict[str, WeakSet[Ownership]] = defaultdict(WeakSet)
"""The torrents that this process uses, by the path of their file or folder."""
_taking = new_reentrant_lock()
"""Two torrents must not take one file at the same moment."""


class Ownership:
    """Knows the files of one torrent that are its own.

    Args:
        torrent: the torrent.
        folder: the folder that its file or folder is in.
        layout: the torrent's layout.
        resume_file: where the files that are ours are recorded.
        overwrite: whether any file in the place of one of the torrent's may be written to.

    Attributes:
        have: the verified pieces.
        is_selected: whether a file is wanted, by its index.
        recorded: indices of the files that look as the record says, and have a piece that it says is verified.
    """

    def __init__(
        self, torrent: Torrent, folder: Path, layout: Layout, resume_file: ResumeFile, *, overwrite: bool
    ) -> None:
        self.have: bitarray = zeros(torrent.geometry.pieces, "big")
        self.is_selected: Callable[[int], bool] = lambda index: True
        self.recorded: set[int] = set()
        self._torrent = torrent
        self._layout = layout
        self._resume_file = resume_file
        self._overwrite = overwrite
        # The inodes of those that were taken; 0 for none.
        self._taken = array("Q", bytes(8 * len(torrent.files)))
        self._unrecorded: dict[int, int] = {}
        self._root = os.path.join(os.path.realpath(folder), torrent.files[0].path[0])
        self._root = self._root.casefold() if FOLDS_NAMES else self._root
        self._indices: dict[tuple[str, ...], int] | None = None

    def register(self) -> None:
        """Be known to other torrents of this process in the same place."""
        with _taking:
            _present[self._root].add(self)

    def release(self) -> None:
        """Leave all files to other torrents."""
        with _taking:
            others = _present.get(self._root)
            if others is not None:
                others.discard(self)
                if not others:
                    del _present[self._root]

    def is_shared(self, index: int, status: os.stat_result) -> bool:
        """Whether another torrent of this process has the same file in the same place."""
        with suppress(StorageError):
            return self._shares(index, "", status)
        return False

    def _shares(self, index: int, path: str, status: os.stat_result) -> bool:
        """Whether another torrent of this process has taken this very file, for the same contents.

        Raises:
            StorageError: for other contents.
        """
        shares = False
        for rival in self._rivals():
            other = rival._index_of(self._torrent.files[index].path)
            if other is None or not rival.is_selected(other) or not rival._has_taken(other, status):
                continue
            if rival._contents(other) != self._contents(index):
                what = f"it belongs to another torrent of this program, {rival._torrent.name!r}: choose another folder"
                raise StorageError(errno.EEXIST, what, path)
            shares = True
        return shares

    def _rivals(self) -> Iterable[Ownership]:
        with _taking:
            return [other for other in _present.get(self._root, ()) if other is not self]

    def _has_taken(self, index: int, status: os.stat_result) -> bool:
        return self._taken[index] == _inode(status) or self.is_proven(index)

    def _index_of(self, path: tuple[str, ...]) -> int | None:
        if self._indices is None:
            self._indices = {_folded(file.path): index for index, file in enumerate(self._torrent.files) if file.stored}
        return self._indices.get(_folded(path))

    @cached_property
    def _hashes(self) -> PieceHashes:
        """Only needed where two torrents have one path."""
        return self._torrent.hashes()

    def _contents(self, index: int) -> tuple[object, ...]:
        """Equal for files that are surely the same: by their pieces, which may have bytes of their neighbours."""
        geometry, file = self._torrent.geometry, self._torrent.files[index]
        hashes = [self._hashes.expected(piece) for piece in self._layout.pieces(file)]
        return file.length, geometry.piece_length, geometry.piece_at(file.offset)[1], hashes

    def check(self, index: int, path: str, status: os.stat_result) -> None:
        """Check that a file may be written to; see `WriteGuard`.

        Raises:
            StorageError: it may not (``errno.EEXIST``).
        """
        if index >= len(self._torrent.files):
            # The parts file.
            return
        if not stat.S_ISREG(status.st_mode):
            raise StorageError(
                errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EEXIST,
                f"{_KINDS.get(stat.S_IFMT(status.st_mode), 'not a regular file')} is in the place of a file of the "
                "torrent: move it away, or choose another folder",
                path,
            )
        if not self._shares(index, path, status) and not self._is_own(index, path, status):
            raise StorageError(
                errno.EEXIST,
                "a file that is not the torrent's is there, or was changed: move it away, choose another folder, or "
                "have it overwritten (overwrite=True, --overwrite)",
                path,
            )

    def take(self, index: int, path: str, status: os.stat_result) -> None:
        """Take a file that is going to be written to, unless another torrent was first; see `WriteGuard`.

        Raises:
            StorageError: it may not be written to (``errno.EEXIST``).
        """
        with _taking:
            self.check(index, path, status)
            if index < len(self._taken) and self._taken[index] != _inode(status):
                self._taken[index] = _inode(status)
                self._unrecorded[index] = status.st_ino

    def record_taken(self) -> None:
        """Record the files that were taken; see `WriteGuard`.

        Raises:
            StorageError: they cannot be recorded. They are then not to be written to.
        """
        if self._unrecorded:
            with _taking:
                taken = dict(self._unrecorded)
            self._resume_file.note_made(taken)
            with _taking:
                # Another dictionary: one that was large once takes its memory for ever.
                self._unrecorded = dict(self._unrecorded.items() - taken.items())

    def on_lost(self, index: int) -> None:
        """A file has been deleted or replaced by another program; see `WriteGuard`."""
        self.recorded.discard(index)
        with _taking:
            if index < len(self._taken):
                self._taken[index] = 0
            self._unrecorded.pop(index, None)
        self._resume_file.forget_made(index)

    def is_proven(self, index: int) -> bool:
        """Whether a piece of a file is verified."""
        pieces = self._layout.pieces(self._torrent.files[index])
        return bool(self.have[pieces.start : pieces.stop].any())

    def _is_own(self, index: int, path: str, status: os.stat_result) -> bool:
        if self._overwrite or index in self.recorded or self.is_proven(index):
            return True
        # Our own writing never changes the length of a file once it is made.
        is_whole = status.st_size == self._torrent.files[index].length
        made = self._resume_file.made.get(index)
        if is_whole and made == status.st_ino:
            return True
        # A folder that was copied has other inodes, and its holes may have become zeros.
        return status.st_size == 0 or _is_blank(path, with_zeros=is_whole and made is not None)


def _inode(status: os.stat_result) -> int:
    """The inode, as far as it fits into an array: on Windows it may have 128 bits."""
    return status.st_ino & 0xFFFF_FFFF_FFFF_FFFF


def _folded(path: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part.casefold() for part in path) if FOLDS_NAMES else path


def _is_blank(path: str, *, with_zeros: bool) -> bool:
    """Whether a file is one hole, as programs make them before they fetch anything.

    Args:
        path: the file.
        with_zeros: whether it may also have data, if that is zeros.
    """
    descriptor = os.open(path, os.O_RDONLY | SAFE_OPEN_FLAGS)
    try:
        return all(with_zeros and _is_zeros(descriptor, *found) for found in data_ranges(descriptor))
    finally:
        os.close(descriptor)


def _is_zeros(descriptor: int, start: int, end: int) -> bool:
    os.lseek(descriptor, start, os.SEEK_SET)
    while start < end and (part := os.read(descriptor, min(end - start, limits.MIB))):
        if part.count(0) != len(part):
            return False
        start += len(part)
    return True
