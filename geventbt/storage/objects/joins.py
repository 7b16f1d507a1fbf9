"""`Joins`: files that are complete become one object each."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from itertools import islice

from geventbt import limits
from geventbt.errors import StorageError
from geventbt.storage.objects.files import ObjectFiles
from geventbt.storage.objects.runs import Run, Source
from geventbt.storage.objects.store import ObjectStore
from geventbt.storage.objects.write_buffer import WriteBuffer

_COMPARED = 1 * limits.MIB
"""Bytes that tell whether an object that another program has made is the same file."""


class Joins:
    """Makes the objects of files, and sees that they take the place of no other.

    Args:
        store: where the objects are.
        files: knows what has come.
        buffer: has what is not in the store yet.
        overwrite: whether an object that is not the torrent's may be replaced.
    """

    def __init__(self, store: ObjectStore, files: ObjectFiles, buffer: WriteBuffer, *, overwrite: bool) -> None:
        self._store = store
        self._files = files
        self._buffer = buffer
        self._overwrite = overwrite

    def foreign(self, file: int) -> StorageError:
        """The error of an object that is not the torrent's in the place of a file."""
        text = (
            "there is a file already that is not the torrent's; choose another place, or have it overwritten "
            "(overwrite=True, --overwrite)"
        )
        return StorageError(errno.EEXIST, text, self._files.url(file))

    def make_empty(self, file: int) -> None:
        """Make a file without bytes."""
        if file not in self._files.found:
            self._store.put({self._files.paths[file]: b""})
            self._files.note_made(file)

    def join(self, file: int) -> None:
        """Make the object of a file of which all bytes are there. Its parts are discarded.

        Raises:
            MissingData, ChangedData: another program has deleted parts of it, or changed it.
            StorageError: the store failed, or there is another program's object (``errno.EEXIST``).
        """
        self._check_place(file)
        try:
            self._make(file)
        except StorageError:
            # The store says only that something is missing, if at all.
            self._files.check_parts(file)
            raise
        self._files.note_made(file)
        runs = self._files.runs[file]
        with self._files.lock:
            parts = [self._files.part_path(file, run) for run in runs if run.data is None]
            self._buffer.forget(file)
            runs.clear()
        self._files.discard(parts)

    def _make(self, file: int) -> None:
        runs, path = self._files.runs[file], self._files.paths[file]
        if runs.length <= runs.part:
            self._store.put({path: self._files.read(file, 0, runs.length)})
        elif self._store.merges and runs.is_independent:
            self._merge(file, self._make_whole_parts(file))
        else:
            self._store.put_stream(path, lambda: self._stream(file))

    def _check_place(self, file: int) -> None:
        """See that nothing has come in the place of a file since it was looked at, but for the same file by another
        program that fetches the torrent to the same place."""
        if file in self._files.found:
            self._files.check_unchanged(file)
        elif not self._overwrite and not self._is_free(file):
            raise self.foreign(file)

    def _is_free(self, file: int) -> bool:
        path, length = self._files.paths[file], self._files.runs[file].length
        found = self._store.stat(path)
        if found is None:
            return True
        compared = min(length, _COMPARED)
        return found.size == length and self._store.get(path, 0, compared) == self._files.read(file, 0, compared)

    def _make_whole_parts(self, file: int) -> list[str]:
        """Have each part of a file in one object. Returns their paths."""
        runs = self._files.runs[file]
        whole = [Run(*runs.range_of(number)) for number in runs.numbers]
        missing = [run for run in whole if run not in runs.runs(run.offset // runs.part)]
        step = max(1, limits.STORE_BATCH // runs.part)
        for at in range(0, len(missing), step):
            self._make_parts(file, missing[at : at + step])
        return [self._files.part_path(file, run) for run in whole]

    def _make_parts(self, file: int, parts: list[Run]) -> None:
        """Make part objects of what is in memory and in smaller ones."""
        runs = self._files.runs[file]
        with self._files.lock:
            sources = [runs.locate(part.offset, part.length) or [] for part in parts]
        wanted = {
            source: (self._files.part_path(file, source.run), source.start, source.start + source.length)
            for found in sources
            for source in found
            if source.run is not None and source.run.data is None
        }
        fetched: dict[Source, bytes] = dict(zip(wanted, self._store.get_all(list(wanted.values())), strict=True))
        datas = [
            b"".join(
                fetched[source] if source in fetched else self._files.read_source(file, source) for source in found
            )
            for found in sources
        ]
        self._store.put({self._files.part_path(file, part): data for part, data in zip(parts, datas, strict=True)})
        with self._files.lock:
            for part in parts:
                runs.add(part)

    def _merge(self, file: int, parts: list[str]) -> None:
        """Have the store join parts, in several steps if it takes only some at a time."""
        level = 0
        while len(parts) > self._store.merges:
            level += 1
            groups = iter(parts)
            parts = []
            while group := list(islice(groups, self._store.merges)):
                parts.append(f"{self._files.folder}/{file}-join-{level}-{len(parts)}")
                self._store.merge(parts[-1], group)
            self._files.discard(parts)
        self._store.merge(self._files.paths[file], parts)

    def _stream(self, file: int) -> Iterator[bytes]:
        runs = self._files.runs[file]
        for number in runs.numbers:
            yield self._files.read(file, *runs.range_of(number))
        if not runs.is_independent:
            # What was there already has been verified before: it must not have been changed while it was copied.
            self._files.check_unchanged(file)
