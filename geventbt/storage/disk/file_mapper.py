"""Maps the bytes of a torrent's files to files on the disk: the file itself, or the parts file.

A piece on the border of a file that is not wanted has bytes of that file, too. They must be kept, for the piece to be
verified and served, but the file must not be made for them. So they go into one sparse file of our own, the parts file,
at the offset that they have in the torrent's stream. If the file is wanted later, they are moved.

A file that is there is always used. Bytes only ever move from the parts file to the file itself, and only while nothing
is written to the parts file.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bitarray import bitarray
from bitarray.util import zeros

from geventbt.concurrency.native import new_reentrant_lock
from geventbt.errors import StorageError
from geventbt.metainfo import Torrent, TorrentFile
from geventbt.metainfo.paths import STATE_DIR
from geventbt.storage.backend import MissingData
from geventbt.storage.disk.file_pool import SHARED, FilePool
from geventbt.storage.disk.losses import Losses
from geventbt.storage.disk.open_file import FileChanged, FileGone
from geventbt.storage.disk.open_files import OpenFiles
from geventbt.storage.disk.ownership import Ownership
from geventbt.storage.disk.parts_file import PartsFile
from geventbt.storage.disk.record import Fingerprint
from geventbt.storage.disk.resume_file import ResumeFile
from geventbt.storage.disk.state_dir import StateDir
from geventbt.storage.layout import Layout

_IN_PLACE, _IN_PARTS = 1, 2
"""Where the bytes of a file are; 0 for not known yet."""


class FileMapper:
    """Reads and writes ranges of a torrent's files, wherever they are.

    Args:
        torrent: the torrent.
        folder: the folder of its data.
        state_dir: the folder of our own files there.
        layout: the torrent's layout.
        ownership: knows which files are the torrent's own.
        resume_file: where the files are recorded that are kept out.
        pool: keeps files open.

    Attributes:
        files: the files of the torrent; the parts file is the one behind the last.
        parts: the index of the parts file.
        have: the verified pieces: only their bytes are moved. To be set by `begin`.
        selected: indices of the wanted files, or None for all.
    """

    def __init__(
        self,
        torrent: Torrent,
        folder: Path,
        state_dir: StateDir,
        layout: Layout,
        ownership: Ownership,
        resume_file: ResumeFile,
        pool: FilePool = SHARED,
    ) -> None:
        parts = TorrentFile((STATE_DIR, state_dir.path("parts").name), torrent.geometry.length, 0)
        self.files = OpenFiles([*torrent.files, parts], folder, self, pool)
        self.parts = len(torrent.files)
        self._parts_file = PartsFile(torrent, layout, self.files, self.parts)
        self.selected: Collection[int] | None = None
        self._torrent = torrent
        self._state_dir = state_dir
        self._layout = layout
        self._ownership = ownership
        self._resume_file = resume_file
        ownership.is_selected = self.is_selected
        self.have: bitarray = zeros(torrent.geometry.pieces, "big")
        # One byte of each file, and of the parts file.
        self._places = bytearray(len(torrent.files) + 1)
        self._moving = new_reentrant_lock()
        self._losses = Losses()

    def begin(self, have: bitarray, selected: Collection[int] | None) -> None:
        """Take note of the verified pieces and the wanted files."""
        self.have = self._ownership.have = have
        self.selected = selected

    def in_parts(self, index: int) -> bool:
        """Whether the bytes of a file are in the parts file, or would go there."""
        if self._places[index] == _IN_PLACE:
            return False
        with self._moving:
            if not self._places[index]:
                self._places[index] = _IN_PARTS if self._belongs_in_parts(index) else _IN_PLACE
            return self._places[index] == _IN_PARTS

    def is_selected(self, index: int) -> bool:
        """Whether a file is wanted."""
        return self.selected is None or index in self.selected

    def read(self, index: int, offset: int, length: int) -> bytes:
        """Read a range of a file."""
        with self._at(index, offset) as (place, position), self.files.use(place) as file:
            try:
                return file.read(position, length)
            except FileChanged:
                if not self._accepts_shared(index):
                    raise
            return file.read(position, length)

    def read_cached(self, index: int, offset: int, length: int) -> bytes | bytearray | None:
        """A range of a file that is known to be in its own place, if it is in memory; never waits."""
        if self._places[index] != _IN_PLACE:
            return None
        return self.files.read_cached(index, offset, length)

    def read_into(self, index: int, offset: int, view: memoryview) -> None:
        """Fill a buffer with a range of a file."""
        with self._at(index, offset) as (place, position), self.files.use(place) as file:
            file.read_into(position, view)

    def write(self, index: int, offset: int, data: memoryview) -> None:
        """Write a range of a file."""

        def write() -> None:
            with self._at(index, offset) as (place, position), self.files.use(place, writable=True) as file:
                file.write(position, data)

        self._change(index, write)

    def make(self, index: int, *, allocate: bool) -> None:
        """Make a file of its full length, sparse or with all of its room taken."""

        def make() -> None:
            if self.files.record(index).is_known:
                self.files.check_there(index)
            with self.files.use(index, writable=True) as file:
                if allocate:
                    file.allocate(self._torrent.files[index].length)

        self._change(index, make)

    def sync(self, index: int) -> None:
        """Block until what was written to a file, or to the parts file, is on the disk."""
        with self.invalidate_on_missing(index):
            self._change(index, lambda: self.files.sync(index))

    def _change(self, index: int, change: Callable[[], None]) -> None:
        try:
            change()
        except FileChanged:
            if not self._accepts_shared(index):
                raise
            change()

    def _accepts_shared(self, index: int) -> bool:
        """Whether to go on with a changed file, since another torrent of this process has the same file there: it has
        changed it, and only writes what is right."""
        status = self.files.status(index)
        if index == self.parts or status is None or self.in_parts(index):
            return False
        if not self._ownership.is_shared(index, status):
            return False
        self.files.record(index).accept_change(status)
        return True

    @contextmanager
    def hold_location(self, files: Iterable[int]) -> Iterator[None]:
        """Keep files at their places as long as the block runs."""
        if any(self.in_parts(index) for index in files):
            with self._moving:
                yield
        else:
            yield

    def leave_parts(self, index: int) -> None:
        """Move what the parts file has of a file into the file itself, which is there with all of it or not at all.

        Raises:
            MissingData: if the parts file does not have it any more.
            StorageError: if it cannot be moved: ``errno.EEXIST`` where there is a file in its place that is not ours.
                It then stays where it was.
        """
        with self._moving:
            if not self.in_parts(index) or self.files.is_path_too_long(index):
                return
            spans = list(self._parts_file.spans_of(index, self.have))
            if spans and self.files.status(index) is not None:
                what = "another file was put there while the torrent was in use: move it away"
                raise StorageError(errno.EEXIST, what, self.files.path(index))
            if spans:
                self._parts_file.move(index, spans, self._state_dir.path(f"{index}.new"))
            self._places[index] = _IN_PLACE

    def drop_parts(self) -> None:
        """Delete the parts file, if nothing can be in it any more."""
        with self._moving:
            stored = (index for index, file in enumerate(self._torrent.files) if file.stored and file.length)
            if self._parts_file.is_there and not any(self.in_parts(index) for index in stored):
                self.files.remove(self.parts)

    def has_length(self, index: int) -> bool:
        """Whether a file is there and as long as it should be."""
        status = self.files.status(index)
        return status is not None and status.st_size == self._torrent.files[index].length

    def finish(self, index: int) -> None:
        """Look at a file of which all pieces are trusted, and cut it if it has grown.

        Raises:
            FileGone, FileChanged: if it is not as it was after our last change.
        """
        if self.in_parts(index):
            return
        status = self.files.check_there(index)
        is_changed = self.files.record(index).fingerprint not in (None, Fingerprint.of(status))
        if is_changed and not self._ownership.is_shared(index, status):
            raise FileChanged(self.files.path(index))
        length = self._torrent.files[index].length
        if status.st_size != length:
            with self.files.use(index, writable=True) as file:
                file.set_length(length)

    def fingerprint(self, index: int) -> Fingerprint | None:
        """The fingerprint of a file as it is now, or None if it is not there."""
        status = self.files.status(index)
        return Fingerprint.of(status) if status else None

    def possible(self) -> bitarray:
        """The pieces whose bytes may all be on the disk."""
        files = self._torrent.files
        possible = self._layout.covered(lambda i: files[i].length if self.in_parts(i) else self.size(i))
        in_parts = self._parts_file.pieces()
        for index, file in enumerate(files):
            if file.stored and self.in_parts(index):
                pieces = self._layout.pieces(file)
                possible[pieces.start : pieces.stop] &= in_parts[pieces.start : pieces.stop]
        return possible

    def keep_out(self, files: Iterable[int]) -> None:
        """Have the bytes of files that are not wanted go to the parts file, where one that is not ours is in the place.

        Raises:
            StorageError: that cannot be recorded.
        """
        with self._moving:
            kept_out = [index for index in files if not self.in_parts(index) and not self._may_be_written(index)]
            self._resume_file.note_made({}, kept_out)
            for index in kept_out:
                self._places[index] = _IN_PARTS

    def recall_kept_out(self) -> None:
        """Have the bytes of files that were kept out, as the record says, looked for in the parts file again."""
        with self._moving:
            for index in self._resume_file.kept_out:
                if not self.is_selected(index) and self._parts_file.is_there:
                    self._places[index] = _IN_PARTS

    def _may_be_written(self, index: int) -> bool:
        if self.files.status(index) is None:
            return True
        try:
            self.files.check_writable(index)
        except StorageError:
            return False
        return True

    @contextmanager
    def invalidate_on_missing(self, index: int) -> Iterator[None]:
        """Clear the pieces of a file in `have` if it turns out in the block that it is gone, or a part of it, or has
        been changed."""
        try:
            yield
        except FileChanged:
            self.give_up(index)
            raise
        except MissingData as error:
            # See `on_lost` for a file that is gone.
            if not isinstance(error, FileGone):
                self.invalidate(index, self.size(index))
            raise

    def give_up(self, index: int) -> None:
        """Trust nothing of a file, or of the parts file if that has its bytes, that another program has changed."""
        place = self.parts if index == self.parts or self.in_parts(index) else index
        self.files.close_file(place)
        self._ownership.recorded.discard(index)
        self.invalidate(index)
        status = self.files.status(place)
        if status is not None:
            self.files.record(place).accept_change(status)

    def invalidate(self, index: int, start: int = 0) -> None:
        """Clear in `have` the pieces that have bytes of a file from `start` on. If the file is in the parts file, or is
        the parts file, clear those of all files in it."""
        lost = {index: start}
        if index == self.parts or self.in_parts(index):
            lost = {i: 0 for i, file in enumerate(self._torrent.files) if file.stored and self.in_parts(i)}
        self._clear(lost)

    def _clear(self, lost: dict[int, int]) -> None:
        """Clear in `have` the pieces that have bytes of files, each from an offset on."""
        self._losses.note(lost)
        for index, start in lost.items():
            self._layout.clear(self.have, index, start)

    @contextmanager
    def still_there(self, indices: Collection[int]) -> Iterator[None]:
        """Enclose the writing of a piece: if another thread finds a file lost meanwhile, the piece may be in one that
        is not the torrent's any more.

        Raises:
            FileGone: one is, and the piece is not to be trusted.
        """
        before = self._losses.count
        yield
        for index in self._losses.since(before).intersection(indices):
            raise FileGone(self.files.path(index))

    @contextmanager
    def checking(self) -> Iterator[None]:
        """Enclose a check: what is hashed is at the files' paths, and not trusted if it is lost before the end."""
        self.files.close_file()
        before = self._losses.count
        yield
        for index in self._losses.since(before) - {self.parts}:
            self._layout.clear(self.have, index)

    # ------------------------------------------------------------------ for the files: see `WriteGuard`

    def check(self, index: int, path: str, status: os.stat_result) -> None:
        """Check that a file may be written to."""
        self._ownership.check(index, path, status)

    def take(self, index: int, path: str, status: os.stat_result) -> None:
        """Check a file, and take it to be written to."""
        self._ownership.take(index, path, status)

    def record_taken(self) -> None:
        """Record the files that were taken."""
        self._ownership.record_taken()

    def on_lost(self, index: int) -> None:
        """Trust nothing of a file that is gone, or of what was in the parts file if it is that."""
        self._ownership.on_lost(index)
        # Files are being opened by those who move them: no lock is taken for this.
        is_parts = index == self.parts
        lost = [i for i, place in enumerate(self._places) if place == _IN_PARTS] if is_parts else [index]
        self._clear(dict.fromkeys(lost, 0))

    # ------------------------------------------------------------------ where the bytes are

    def size(self, index: int) -> int:
        """The length of a file, 0 if it is not there."""
        fingerprint = self.fingerprint(index)
        return fingerprint.size if fingerprint else 0

    def _belongs_in_parts(self, index: int) -> bool:
        if not self._torrent.files[index].stored:
            return False
        if self.files.is_path_too_long(index):
            return True
        if self.files.status(index) is not None:
            return False
        return not self.is_selected(index) or self._parts_file.is_there

    @contextmanager
    def _at(self, index: int, offset: int) -> Iterator[tuple[int, int]]:
        """The file, and the position in it, of a byte of a file; it stays there as long as the block runs."""
        if not self.in_parts(index):
            yield index, offset
            return
        with self._moving:
            if self.in_parts(index):
                yield self.parts, self._torrent.files[index].offset + offset
            else:
                yield index, offset
