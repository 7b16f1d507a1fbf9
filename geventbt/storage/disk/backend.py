"""`DiskBackend`: a torrent's files in a folder, with a parts file, a lock and a resume file of our own beside them."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bitarray import bitarray

from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.metainfo.paths import is_state_dir
from geventbt.storage.backend import ChangedData, MissingData, StorageBackend
from geventbt.storage.disk.file_mapper import FileMapper
from geventbt.storage.disk.file_pool import SHARED, FilePool
from geventbt.storage.disk.ownership import Ownership
from geventbt.storage.disk.recorder import Recorder
from geventbt.storage.disk.relocation import remove_empty
from geventbt.storage.disk.resume_file import ResumeFile
from geventbt.storage.disk.state_dir import StateDir
from geventbt.storage.layout import Layout

_log = logging.getLogger("geventbt")


class DiskBackend(StorageBackend):
    """The files of a torrent on the disk: the default backend. No file is made before it is needed.

    Args:
        torrent: the torrent.
        folder: the folder that its file or folder is in, or will be.
        preallocate: whether `make` takes the room for the files on the disk at once. By default they are sparse.
        overwrite: whether a file that is not the torrent's, in the place of one of its files, may be overwritten.
        max_open_files: how many files are open at a time; None for as many as fit into the pool that all torrents of
            the process share.

    Raises:
        StorageError: the torrent has the name of our own folder, ``.geventbt``.
    """

    def __init__(
        self,
        torrent: Torrent,
        folder: str | os.PathLike[str],
        *,
        preallocate: bool = False,
        overwrite: bool = False,
        max_open_files: int | None = None,
    ) -> None:
        if any(map(is_state_dir, {file.path[0] for file in torrent.files})):
            raise StorageError(
                f"a torrent named {torrent.name!r} cannot be stored: that is where geventbt keeps its own files"
            )
        layout = Layout(torrent.files, torrent.geometry)
        folder = Path(os.path.abspath(folder))
        pool = SHARED if max_open_files is None else FilePool(lambda: max_open_files)
        self._torrent = torrent
        self._folder = folder
        self._preallocate = preallocate
        self._state_dir = StateDir(folder, torrent.swarm_hash)
        self._resume_file = ResumeFile(torrent, self._state_dir)
        self._ownership = Ownership(torrent, folder, layout, self._resume_file, overwrite=overwrite)
        self._mapper = FileMapper(torrent, folder, self._state_dir, layout, self._ownership, self._resume_file, pool)
        self._files = self._mapper.files
        self._recorder = Recorder(torrent, layout, self._mapper, self._resume_file, self._ownership)

    def begin(self, have: bitarray, selected: Collection[int] | None) -> None:
        """Take note of the verified pieces and the wanted files."""
        self._mapper.begin(have, selected)

    def path(self, file: int) -> str:
        """Where a file is, or would be."""
        return self._files.path(file)

    def size(self, file: int) -> int:
        """The length of a file as it is now, 0 if it is not there."""
        return self._mapper.size(file)

    def read(self, file: int, offset: int, length: int) -> bytes:
        """Read a range of a file."""
        with self._mapper.invalidate_on_missing(file):
            return self._mapper.read(file, offset, length)

    def read_cached(self, file: int, offset: int, length: int) -> bytes | bytearray | None:
        """Read a range of a file if the system has it in memory."""
        return self._mapper.read_cached(file, offset, length)

    def read_into(self, file: int, offset: int, view: memoryview) -> None:
        """Fill a buffer with a range of a file."""
        self._mapper.read_into(file, offset, view)

    def write(self, file: int, offset: int, data: memoryview) -> None:
        """Write a range of a file, or of the parts file where the file is not wanted."""
        with self._mapper.invalidate_on_missing(file):
            self._mapper.write(file, offset, data)

    @contextmanager
    def writing(self, files: Iterable[int]) -> Iterator[None]:
        """Move wanted files out of the parts file, and take all; they stay in their places while the block runs."""
        files = list(files)
        for file in files:
            self._leave_parts(file)
        with self._mapper.hold_location(files), self._mapper.still_there(files):
            self._files.make(file for file in files if not self._mapper.in_parts(file))
            yield

    def select(self, selected: Collection[int] | None) -> None:
        """Move the files that are wanted from now on out of the parts file.

        Raises:
            StorageError: the disk failed, or there is a file that is not ours in the place of one
                (``errno.EEXIST``). The same files as before are then wanted.
        """
        before, self._mapper.selected = self._mapper.selected, selected
        try:
            for file in range(len(self._torrent.files)):
                self._leave_parts(file)
        except StorageError:
            self._mapper.selected = before
            raise
        self._mapper.drop_parts()

    def make(self, files: Iterable[int]) -> None:
        """Make files of their full length. One of the right length is left alone, and one that is longer is cut if a
        piece of it is verified.

        Raises:
            StorageError: one cannot be made: ``errno.ENOSPC`` if there is no room for it, ``errno.EEXIST`` if one that
                is not the torrent's is in its place. In that case none is made.
            MissingData, ChangedData: some were deleted, replaced or changed, and their pieces have left `have`. All
                others are made.
        """
        files = [file for file in files if not self._is_impossible(file)]
        self._ownership.register()
        for file in files:
            if not self._is_as_it_should_be(file):
                self._files.check_writable(file)
        self._mapper.keep_out(set(range(len(self._torrent.files))) - set(files))
        for file in files:
            self._leave_parts(file)
        self._files.make(file for file in files if self._preallocate or not self._is_as_it_should_be(file))
        lost: list[StorageError] = []
        for file in files:
            if self._preallocate or not self._mapper.has_length(file):
                try:
                    self._make(file)
                except (MissingData, ChangedData) as error:
                    lost.append(error)
        self._mapper.drop_parts()
        if lost:
            raise lost[0]

    def finish(self, files: Iterable[int]) -> None:
        """Look at files of which all pieces are trusted: cut one that has grown, and find one that is gone.

        Raises:
            MissingData, ChangedData: one was deleted, replaced or changed. Its pieces are then no longer in `have`.
            StorageError: the disk failed.
        """
        error: StorageError | None = None
        for file in files:
            try:
                with self._mapper.invalidate_on_missing(file):
                    self._mapper.finish(file)
            except (MissingData, ChangedData) as lost:
                error = error or lost
        if error is not None:
            raise error

    @property
    def is_recorded(self) -> bool:
        """Whether there is a record."""
        return self._resume_file.exists

    def withdraw(self, pieces: bitarray) -> bool:
        """Take pieces out of the record. Returns whether any was in it."""
        return self._recorder.withdraw(pieces)

    def possible(self, layout: Layout) -> bitarray:
        """The pieces whose bytes may all be on the disk."""
        return self._mapper.possible()

    def checking(self, pieces: bitarray) -> AbstractContextManager[None]:
        """Enclose a check of pieces, after which their files are trusted as they looked before it."""
        return self._recorder.verifying(pieces)

    def lock(self) -> None:
        """Keep every other program, and every other storage of this one, away from this torrent in this folder."""
        self._state_dir.lock()
        self._ownership.register()

    def restore(self) -> bitarray:
        """Trust what the last checkpoint recorded of files that look as they did then."""
        return self._recorder.restore()

    def checkpoint(self) -> None:
        """Make all that was written safe on the disk, and record which pieces are there."""
        self._recorder.checkpoint()
        self._files.close_unused()

    def remove(self) -> None:
        """Delete the files that are the torrent's own, and all that is recorded of it."""
        for index, file in enumerate(self._torrent.files):
            if file.stored and self._is_own(index):
                self._files.remove(index)
                remove_empty(os.path.dirname(self._files.path(index)), self._folder)
        self._files.remove(self._mapper.parts)
        self._state_dir.remove("resume")

    def _is_own(self, index: int) -> bool:
        """Whether there is a file that is the torrent's, and no other torrent's."""
        status, path = self._files.status(index), self._files.path(index)
        if status is None:
            return False
        try:
            self._ownership.check(index, path, status)
        except StorageError as error:
            _log.info("not deleted: %s: %s", path, error)
            return False
        return not self._ownership.is_shared(index, status)

    def close(self) -> None:
        """Close all files, and release the lock."""
        self._files.close()
        self._ownership.release()
        self._state_dir.close()

    def _is_impossible(self, file: int) -> bool:
        """Whether a file cannot be made, so that its bytes are kept in the parts file. The others can."""
        if not self._files.is_path_too_long(file):
            return False
        path = self._files.path(file)
        _log.warning("a path of %d bytes is too long for a file: its data is kept beside: %.100r", len(path), path)
        return True

    def _is_as_it_should_be(self, file: int) -> bool:
        """Whether a file has its length, and a piece of it is verified or there is nothing in it."""
        is_proven = self._ownership.is_proven(file) or not self._torrent.files[file].length
        return is_proven and self._mapper.has_length(file)

    def _make(self, file: int) -> None:
        """Make a file, or give it its length; but nothing is cut before a piece of it is verified."""
        length = self._torrent.files[file].length
        if not self._ownership.is_proven(file) and self._mapper.size(file) > length:
            return
        with self._mapper.invalidate_on_missing(file):
            self._mapper.make(file, allocate=self._preallocate)

    def _leave_parts(self, file: int) -> None:
        """Move a file out of the parts file if it is wanted."""
        if self._mapper.is_selected(file) and self._mapper.in_parts(file):
            with self._mapper.invalidate_on_missing(file):
                self._mapper.leave_parts(file)
