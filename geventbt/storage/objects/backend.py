"""`FsspecBackend`: a torrent's files in any store that fsspec has a URL for, such as a bucket of S3.

Theory. Most stores have objects that are put as a whole and never changed, so all are used like that. Verified pieces
are collected in memory, by parts of 8 MiB of a file; a part that is whole is put as the object
``<file>-<offset>-<length>`` below ``.geventbt/<info hash>/``, several at a time. Where memory runs short, what there is
of the fullest parts is put in smaller objects. A file that is complete becomes one object: by the store itself where it
can join objects (S3's multipart copy, Google's compose), and by reading and writing it else. A file of one part is put
at once.

A part object only ever has verified bytes, is there as a whole or not at all, and its name says which bytes they are:
two programs that fetch the same torrent to one place do the same work twice, and no harm. The first to finish deletes
the parts; the other one then finds them gone, and the file there, which it hashes. A multipart upload in the place of
the file itself would save the join, but could not be read before its end, nor survive the program.

The record, ``.geventbt/<info hash>/resume``, is put after all that it names. A restart trusts the pieces that it names
of files whose parts and object are as they were; what has come later is hashed. Parts are deleted once the file is
joined and recorded. What a kill leaves behind is deleted by the next start, a join of S3 that was cut off (a multipart
upload that has not ended) an hour later at the earliest, as it might be another program's that is at work.

The object of a file is replaced only if a piece of it was right, or with `overwrite`. Where the torrent only seeds, it
is read by ranges of 4 MiB, and looked at every 10 s: one that has been changed is hashed again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from bitarray import bitarray
from bitarray.util import ones, zeros

from geventbt.arguments import check_flags, check_paths
from geventbt.concurrency.native import new_lock, new_reentrant_lock
from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.metainfo.paths import STATE_DIR, is_state_dir
from geventbt.storage.backend import ChangedData, MissingData, StorageBackend
from geventbt.storage.layout import Layout
from geventbt.storage.objects.files import ObjectFiles
from geventbt.storage.objects.joins import Joins
from geventbt.storage.objects.record import Record, decode, encode
from geventbt.storage.objects.store import ObjectStore
from geventbt.storage.objects.write_buffer import WriteBuffer

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class FsspecBackend:
    """Makes backends that keep the files of torrents below a URL that fsspec knows::

        client.add(torrent, storage=geventbt.FsspecBackend("s3://bucket/prefix"))

    It needs the extra ``geventbt[fsspec]``, and for most stores a package of their own, such as s3fs.

    Args:
        url: of the folder or prefix that the files and folders of torrents are in, or will be.
        overwrite: whether an object that is not the torrent's, in the place of one of its files, may be replaced.
        options: for the file system of fsspec, such as `key`, `secret` and `endpoint_url`; by default they are taken
            from the environment and the configuration of the store's library.
    """

    def __init__(self, url: str | os.PathLike[str], *, overwrite: bool = False, **options: Any) -> None:
        check_paths(url=url)
        check_flags(overwrite=overwrite)
        self.url = os.fspath(url)
        self._overwrite = overwrite
        self._options = options

    def __call__(self, torrent: Torrent, folder: str | os.PathLike[str] = "") -> StorageBackend:
        """Make the backend of a torrent. Connects to the store; to be called in a native thread.

        Args:
            torrent: the torrent.
            folder: not used; it is where other backends have their files.

        Raises:
            StorageError: there is no such kind of store, or its package is not installed.
        """
        if any(map(is_state_dir, {file.path[0] for file in torrent.files})):
            raise StorageError(
                f"a torrent named {torrent.name!r} cannot be stored: that is where geventbt keeps its own files"
            )
        store = ObjectStore(self.url, f"{STATE_DIR}/{torrent.swarm_hash.hex()}", self._options)
        return ObjectBackend(torrent, store, overwrite=self._overwrite)


class ObjectBackend(StorageBackend):
    """The files of a torrent as objects of a store; see this module.

    Args:
        torrent: the torrent.
        store: has the objects; closed with the backend.
        overwrite: whether an object that is not the torrent's may be replaced.
    """

    def __init__(self, torrent: Torrent, store: ObjectStore, *, overwrite: bool) -> None:
        self._torrent = torrent
        self._store = store
        self._overwrite = overwrite
        self._layout = Layout(torrent.files, torrent.geometry)
        self._files = ObjectFiles(torrent, store)
        self._buffer = WriteBuffer(store, self._files)
        self._joins = Joins(store, self._files, self._buffer, overwrite=overwrite)
        self._record_path = f"{self._files.folder}/resume"
        self._have = zeros(torrent.geometry.pieces, "big")
        self._selected: Collection[int] | None = None
        self._loading = new_lock()
        self._is_loaded = False
        self._saving = new_reentrant_lock()
        self._recorded = b""
        self._has_written = False
        self._is_closed = False

    # ------------------------------------------------------------------ bytes

    def read(self, file: int, offset: int, length: int) -> bytes:
        """Read a range of a file."""
        self._open()
        return self._files.read(file, offset, length)

    def read_cached(self, file: int, offset: int, length: int) -> bytes | None:
        """Read a range of a file if it is in memory."""
        return self._files.read_cached(file, offset, length)

    def write(self, file: int, offset: int, data: memoryview) -> None:
        """Write a range of a file, most often in memory only."""
        self._open()
        self._has_written = True
        self._buffer.write(file, offset, data)

    def size(self, file: int) -> int:
        """How many bytes of a file are there without a gap."""
        self._open()
        return self._files.runs[file].whole_until

    def possible(self, layout: Layout) -> bitarray:
        """The pieces whose bytes are all there."""
        self._open()
        possible = ones(self._torrent.geometry.pieces, "big")
        for index, file in enumerate(self._torrent.files):
            runs = self._files.runs[index]
            if file.stored and not runs:
                layout.clear(possible, index, runs.base)
            elif file.stored:
                for piece in layout.pieces(file):
                    if not runs.covers(*self._range(piece, index)):
                        possible[piece] = False
        return possible

    @contextmanager
    def checking(self, pieces: bitarray) -> Iterator[None]:
        """Enclose a check of pieces: they are read as they are now."""
        self._open()
        if pieces.any():
            for file in self._files.look_again():
                self._layout.clear(self._have, file)
        yield

    # ------------------------------------------------------------------ files

    def begin(self, have: bitarray, selected: Collection[int] | None) -> None:
        """Take note of the verified pieces and the wanted files."""
        self._have, self._selected = have, selected

    def select(self, selected: Collection[int] | None) -> None:
        """Take note of the wanted files. Bytes of others stay in parts."""
        self._selected = selected

    def make(self, files: Iterable[int]) -> None:
        """See that no object of another is in the place of a file, and make the files without bytes.

        Raises:
            StorageError: there is one (``errno.EEXIST``); nothing is made then.
        """
        self._open()
        files = list(files)
        for file in files:
            if not self._overwrite and file in self._files.found and not self._is_ours(file):
                raise self._joins.foreign(file)
        for file in files:
            if not self._torrent.files[file].length:
                self._joins.make_empty(file)

    def finish(self, files: Iterable[int]) -> None:
        """Make the objects of files that are complete, and look at those that are there.

        Raises:
            MissingData, ChangedData: one is not as it was.
            StorageError: the store failed.
        """
        self._open()
        error: StorageError | None = None
        with self._saving:
            for file in files:
                try:
                    with self._invalidate(file):
                        self._finish(file)
                except (MissingData, ChangedData) as lost:
                    error = error or lost
        if error is not None:
            raise error

    def _finish(self, file: int) -> None:
        found, length = self._files.found.get(file), self._torrent.files[file].length
        if self._files.runs[file] or (found is not None and found.size > length):
            self._has_written = True
            self._joins.join(file)
        elif length:
            self._files.check_unchanged(file)

    @contextmanager
    def _invalidate(self, file: int) -> Iterator[None]:
        """Trust no piece of a file that is not as it was."""
        try:
            yield
        except (MissingData, ChangedData):
            self._layout.clear(self._have, file)
            raise

    def _is_ours(self, file: int) -> bool:
        """Whether a piece of the object of a file was right, or there is nothing in either."""
        if not self._torrent.files[file].length:
            return self._files.found[file].size == 0
        pieces = self._layout.pieces(self._torrent.files[file])
        return any(self._have[piece] and self._files.shares(file, *self._range(piece, file)) for piece in pieces)

    def _range(self, piece: int, file: int) -> tuple[int, int]:
        """Offset and length of what a piece has of a file."""
        geometry, entry = self._torrent.geometry, self._torrent.files[file]
        begin = geometry.start_of(piece) - entry.offset
        end = min(entry.length, begin + geometry.piece_size(piece))
        return max(0, begin), end - max(0, begin)

    # ------------------------------------------------------------------ record

    def restore(self) -> bitarray:
        """Trust what the last checkpoint recorded of files whose objects are as they were then."""
        self._open()
        unknown = ones(len(self._have), "big")
        record = self._read_record()
        if record is None:
            return unknown
        unknown.setall(False)
        parts = self._parts()
        lost = {file for file, _, _ in record.parts - parts}
        for index, file in enumerate(self._torrent.files):
            if file.stored and (index in lost or record.files.get(index) != self._files.found.get(index)):
                pieces = self._layout.pieces(file)
                unknown[pieces.start : pieces.stop] = True
        for index, offset, length in parts - record.parts:
            start = self._torrent.files[index].offset + offset
            pieces = self._torrent.geometry.pieces_of(start, length)
            unknown[pieces.start : pieces.stop] = True
        self._have |= record.have & ~unknown & self.possible(self._layout)
        return unknown

    def checkpoint(self) -> None:
        """Make what was written durable, join the files that are complete, and record the verified pieces.

        Where nothing was written and nothing may be, as with a seed that others own, there is no record.
        """
        self._open()
        with self._saving:
            # What is verified later may still be in memory when the record is made.
            have = self._have.copy()
            for file in self._complete(have):
                with self._invalidate(file):
                    self._joins.join(file)
            self._buffer.flush()
            try:
                self._write_record(have)
            except StorageError as error:
                if self._has_written or error.errno not in _READ_ONLY:
                    raise
            self._files.delete_discarded()

    def remove(self) -> None:
        """Delete the objects that are the torrent's own, and all that is recorded of it."""
        self._open()
        files = [self._files.paths[file] for file in self._files.found if self._is_ours(file)]
        # The record first: a start after a kill trusts nothing of what is left.
        self._store.remove([self._record_path])
        self._store.remove(list(self._store.find(self._files.folder)) + files)

    def close(self) -> None:
        """Close the connections. What is not recorded yet is lost."""
        self._is_closed = True
        self._store.close()

    def _complete(self, have: bitarray) -> list[int]:
        """The wanted files of which all is verified, and something is in parts."""
        complete = []
        for index, file in enumerate(self._torrent.files):
            pieces = self._layout.pieces(file)
            is_wanted = self._selected is None or index in self._selected
            if is_wanted and self._files.runs[index] and have[pieces.start : pieces.stop].all():
                complete.append(index)
        return complete

    def _write_record(self, have: bitarray) -> None:
        # Without a mark a change could not be seen: such a file is hashed at each start.
        files = {index: (stored.size, stored.mark) for index, stored in self._files.found.items() if stored.mark}
        content = encode(self._torrent, Record(have, files, self._parts()))
        if content != self._recorded:
            self._store.put({self._record_path: content})
            self._recorded = content

    def _read_record(self) -> Record | None:
        try:
            self._recorded = self._store.get(self._record_path)
        except MissingData:
            return None
        return decode(self._torrent, self._recorded)

    def _parts(self) -> set[tuple[int, int, int]]:
        """The part objects: index of the file, offset and length."""
        return {
            (index, run.offset, run.length)
            for index, runs in enumerate(self._files.runs)
            for run in runs
            if run.data is None
        }

    def _open(self) -> None:
        """Look what is in the store, once."""
        if self._is_closed:
            raise StorageError(errno.EBADF, "the storage is closed", str(self._store))
        with self._loading:
            if not self._is_loaded:
                self._files.load()
                self._is_loaded = True
