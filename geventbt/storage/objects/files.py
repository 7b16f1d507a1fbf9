"""`ObjectFiles`: where the bytes of a torrent's files are in a store, and how they are read.

They are written by a `WriteBuffer`, in parts, which `Joins` make to one object when a file is complete.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Collection, Iterable
from time import monotonic

from geventbt import limits
from geventbt.concurrency.native import new_lock
from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.storage.backend import ChangedData, MissingData
from geventbt.storage.objects.cache import RangeCache
from geventbt.storage.objects.runs import FileRuns, Run, Source
from geventbt.storage.objects.store import ObjectStore, Stored

_PART = re.compile(r"([0-9]{1,9})-([0-9]{1,18})-([0-9]{1,18})")
"""The name of a part object: index of the file, offset and length."""
_LEFT_BEHIND = re.compile(r"[0-9]{1,9}-join-[0-9-]+|new-[0-9-]+")
"""The names of objects that are there only for a moment, unless a program is killed."""


class ObjectFiles:
    """The bytes of a torrent's files in a store, verified or not. Its methods may be called in several threads.

    Args:
        torrent: the torrent.
        store: where the objects are.

    Attributes:
        folder: the path of our own objects.
        paths: of the files, by index.
        lock: is held where `runs` are used.
        runs: what has come of each file, by index.
        found: the objects of files as they were last seen, by index.
    """

    def __init__(self, torrent: Torrent, store: ObjectStore) -> None:
        self._torrent = torrent
        self._store = store
        self.paths = ["/".join(file.path) for file in torrent.files]
        self.folder = store.folder
        self.lock = new_lock()
        self.runs = [FileRuns(file.length) for file in torrent.files]
        self.found: dict[int, Stored] = {}
        self._cache = RangeCache(store)
        self._looked: dict[int, float] = {}
        self._discarded: list[str] = []

    # ------------------------------------------------------------------ what is there

    def load(self) -> None:
        """Find the objects of all files, and what an earlier run has left."""
        self._store.check_bucket()
        self.look_again()
        for name, stored in self._store.find(self.folder).items():
            own_name = name.removeprefix(f"{self.folder}/")
            match = _PART.fullmatch(own_name)
            if match is not None:
                file, offset, length = map(int, match.groups())
                if file < len(self.runs) and 0 < length == stored.size:
                    self._load_part(file, Run(offset, length))
            elif _LEFT_BEHIND.fullmatch(own_name):
                self.discard([name])
        self._store.abort_uploads([self.folder, *{path.partition("/")[0] for path in self.paths}], self._is_ours)

    def _is_ours(self, path: str) -> bool:
        return path in self.paths or path.startswith(f"{self.folder}/")

    def look_again(self) -> list[int]:
        """Take the objects of all files as they are now. What is read of them afterwards is hashed by the caller.

        Returns:
            The files of which parts are gone, so that nothing is known of them any more.
        """
        stored = [index for index, file in enumerate(self._torrent.files) if file.stored]
        objects: dict[str, Stored] = {}
        for top in {self._torrent.files[index].path[0] for index in stored}:
            single = self._store.stat(top) if top in self.paths else None
            objects.update({top: single} if single else self._store.find(top))
        there = self._store.find(self.folder) if any(self.runs) else {}
        self._cache.forget()
        with self.lock:
            for index in stored:
                self._note_found(index, objects.get(self.paths[index]))
            return [index for index in stored if self._drop_gone(index, there)]

    def url(self, file: int) -> str:
        """The URL of a file."""
        return self._store.url(self.paths[file])

    def check_unchanged(self, file: int) -> None:
        """Look at the object of a file.

        Raises:
            MissingData, ChangedData: it is not as it was.
        """
        before, now = self.found.get(file), self._store.stat(self.paths[file])
        self._looked[file] = monotonic()
        if before == now:
            return
        self._cache.forget(self.paths[file])
        with self.lock:
            self._note_found(file, now)
        if now is None:
            raise MissingData(errno.ENOENT, "it is not there any more", self.url(file))
        raise ChangedData(errno.EBUSY, "another program has changed it", self.url(file))

    def note_made(self, file: int) -> None:
        """Look at the object of a file that has just been made.

        Raises:
            StorageError: it is not there, or has another length.
        """
        now, length = self._store.stat(self.paths[file]), self.runs[file].length
        if now is None or now.size != length:
            there = "nothing" if now is None else f"{now.size} bytes"
            raise StorageError(errno.EIO, f"{length} bytes were written, and {there} is there", self.url(file))
        self._cache.forget(self.paths[file])
        self._looked[file] = monotonic()
        with self.lock:
            self._note_found(file, now)

    def _note_found(self, file: int, stored: Stored | None) -> None:
        if stored is None:
            self.found.pop(file, None)
        else:
            self.found[file] = stored
        self.runs[file].base = min(stored.size, self.runs[file].length) if stored else 0

    def _load_part(self, file: int, run: Run) -> None:
        """Take up a part object that an earlier run of the program has left, unless it crosses a border."""
        runs = self.runs[file]
        begin, whole = runs.range_of(run.offset // runs.part)
        if run.end <= begin + whole:
            with self.lock:
                runs.add(run)

    # ------------------------------------------------------------------ reading

    def read(self, file: int, offset: int, length: int) -> bytes:
        """Read a range of a file.

        Raises:
            MissingData, ChangedData: it is not there, or not as it was.
            StorageError: it cannot be read.
        """
        while True:
            with self.lock:
                sources = self.runs[file].locate(offset, length)
            if sources is None:
                raise MissingData(errno.ENOENT, f"{length} bytes at {offset} are not there", self.url(file))
            try:
                parts = [self.read_source(file, source) for source in sources]
            except MissingData:
                with self.lock:
                    is_joined = self.runs[file].locate(offset, length) != sources
                if is_joined:
                    # In this very moment, by ourselves: it is in another place now.
                    continue
                self.check_parts(file)
                raise
            return parts[0] if len(parts) == 1 else b"".join(parts)

    def check_parts(self, file: int) -> None:
        """Look at the part objects of a file.

        Raises:
            ChangedData: some are gone. What is there in their place, if anything, has not been verified.
        """
        there = self._store.find(self.folder)
        with self.lock:
            is_changed = self._drop_gone(file, there)
        if is_changed:
            raise ChangedData(errno.EBUSY, "another program has deleted parts of it", self.url(file))

    def _drop_gone(self, file: int, there: Collection[str]) -> bool:
        """Forget the part objects of a file that are not there any more. Returns whether there were any."""
        gone = [run for run in self.runs[file] if run.data is None and self.part_path(file, run) not in there]
        for run in gone:
            self.runs[file].remove(run)
            self._cache.forget(self.part_path(file, run))
        return bool(gone)

    def shares(self, file: int, offset: int, length: int) -> bool:
        """Whether the object of a file has the same bytes in a range as there are, in parts or in it alone."""
        runs, found = self.runs[file], self.found.get(file)
        if found is None or offset + length > found.size:
            return False
        is_in_it = all(source.run is None for source in runs.locate(offset, length) or ())
        return is_in_it or self.read(file, offset, length) == self.read_source(file, Source(None, offset, length))

    def read_cached(self, file: int, offset: int, length: int) -> bytes | None:
        """Read a range of a file that is in memory in one piece; None if it is not."""
        with self.lock:
            sources = self.runs[file].locate(offset, length)
        if sources is None or len(sources) > 1:
            return None
        run, start, _ = sources[0]
        if run is None:
            is_fresh = monotonic() < self._looked.get(file, 0.0) + limits.STORE_LOOK_INTERVAL
            return self._cache.peek(self.paths[file], start, length) if is_fresh else None
        if run.data is not None:
            return run.data[start : start + length]
        return self._cache.peek(self.part_path(file, run), start, length)

    def read_source(self, file: int, source: Source) -> bytes:
        """Read a range from where it is.

        Raises:
            MissingData, ChangedData: it is not there, or not as it was.
            StorageError: it cannot be read.
        """
        run, start, length = source
        if run is None:
            if monotonic() >= self._looked.get(file, 0.0) + limits.STORE_LOOK_INTERVAL:
                self.check_unchanged(file)
            try:
                return self._cache.read(self.paths[file], self.found[file].size, start, length)
            except (MissingData, KeyError):
                self.check_unchanged(file)
                raise MissingData(errno.ENOENT, "it is not there any more", self.url(file)) from None
        if run.data is not None:
            return run.data[start : start + length]
        return self._cache.read(self.part_path(file, run), run.length, start, length)

    def part_path(self, file: int, run: Run) -> str:
        """The path of the part object of a range."""
        return f"{self.folder}/{file}-{run.offset}-{run.length}"

    # ------------------------------------------------------------------ what is not needed any more

    def discard(self, paths: Iterable[str]) -> None:
        """Have objects deleted by the next `delete_discarded`."""
        with self.lock:
            self._discarded += paths

    def delete_discarded(self) -> None:
        """Delete the objects that are not needed any more.

        Raises:
            StorageError: the store failed. They are deleted by the next call.
        """
        with self.lock:
            # A part that was joined may have come again, after another program had changed the file.
            used = {self.part_path(file, run) for file, runs in enumerate(self.runs) for run in runs if not run.data}
            paths, self._discarded = [path for path in self._discarded if path not in used], []
        try:
            self._store.remove(paths)
        except StorageError:
            self.discard(paths)
            raise
