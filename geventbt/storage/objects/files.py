"""`ObjectFiles`: the files of one torrent in a store, which are written in parts and joined when they are complete."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from time import monotonic

from geventbt import limits
from geventbt.concurrency.native import new_lock
from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.metainfo.paths import STATE_DIR
from geventbt.storage.backend import ChangedData, MissingData
from geventbt.storage.objects.cache import RangeCache
from geventbt.storage.objects.runs import FileRuns, Run, Source
from geventbt.storage.objects.store import ObjectStore, Stored

_PART = re.compile(r"([0-9]{1,9})-([0-9]{1,18})-([0-9]{1,18})")
"""The name of a part object: index of the file, offset and length."""


class ObjectFiles:
    """The bytes of a torrent's files in a store, verified or not. Its methods may be called in several threads.

    What is written is kept in memory until a part is whole, or memory runs short. Only `flush` makes it durable.

    Args:
        torrent: the torrent.
        store: where the objects are.
        overwrite: whether an object that is not the torrent's may be replaced.

    Attributes:
        runs: what has come of each file, by index.
        found: the objects of files as they were last seen, by index.
    """

    def __init__(self, torrent: Torrent, store: ObjectStore, *, overwrite: bool) -> None:
        self._torrent = torrent
        self._store = store
        self._overwrite = overwrite
        self._paths = ["/".join(file.path) for file in torrent.files]
        self.folder = f"{STATE_DIR}/{torrent.swarm_hash.hex()}"
        self.runs = [FileRuns(file.length) for file in torrent.files]
        self.found: dict[int, Stored] = {}
        self._cache = RangeCache(store)
        self._lock = new_lock()
        self._held: dict[tuple[int, int], int] = {}
        self._held_bytes = 0
        self._sending: set[tuple[int, int]] = set()
        self._looked: dict[int, float] = {}
        self._obsolete: list[str] = []

    # ------------------------------------------------------------------ what is there

    def load(self) -> None:
        """Find the objects of all files, and the parts that an earlier run has left."""
        self._store.check_bucket()
        self.look_again()
        for name, stored in self._store.find(self.folder).items():
            match = _PART.fullmatch(name.removeprefix(f"{self.folder}/"))
            if match is not None:
                file, offset, length = map(int, match.groups())
                if file < len(self.runs) and 0 < length == stored.size:
                    self._load_part(file, Run(offset, length))

    def look_again(self) -> None:
        """Take the objects of all files as they are now. What is read of them afterwards is hashed by the caller."""
        stored = [index for index, file in enumerate(self._torrent.files) if file.stored]
        objects: dict[str, Stored] = {}
        for top in {self._torrent.files[index].path[0] for index in stored}:
            single = self._store.stat(top) if top in self._paths else None
            objects.update({top: single} if single else self._store.find(top))
        self._cache.forget()
        with self._lock:
            for index in stored:
                self._note_found(index, objects.get(self._paths[index]))

    def url(self, file: int) -> str:
        """The URL of a file."""
        return self._store.url(self._paths[file])

    def foreign(self, file: int) -> StorageError:
        """The error of an object that is not the torrent's in the place of a file."""
        text = (
            "there is a file already that is not the torrent's; choose another place, or have it overwritten "
            "(overwrite=True, --overwrite)"
        )
        return StorageError(errno.EEXIST, text, self.url(file))

    def check_unchanged(self, file: int) -> None:
        """Look at the object of a file.

        Raises:
            MissingData, ChangedData: it is not as it was.
        """
        before, now = self.found.get(file), self._store.stat(self._paths[file])
        self._looked[file] = monotonic()
        if before == now:
            return
        self._cache.forget(self._paths[file])
        with self._lock:
            self._note_found(file, now)
        if now is None:
            raise MissingData(errno.ENOENT, "it is not there any more", self.url(file))
        raise ChangedData(errno.EBUSY, "another program has changed it", self.url(file))

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
            with self._lock:
                runs.add(run)

    # ------------------------------------------------------------------ reading

    def read(self, file: int, offset: int, length: int) -> bytes:
        """Read a range of a file.

        Raises:
            MissingData, ChangedData: it is not there, or not as it was.
            StorageError: it cannot be read.
        """
        while True:
            with self._lock:
                sources = self.runs[file].locate(offset, length)
            if sources is None:
                raise MissingData(errno.ENOENT, f"{length} bytes at {offset} are not there", self.url(file))
            try:
                parts = [self._read(file, source) for source in sources]
            except MissingData:
                # Gone, or joined in this very moment: then they are found in another place.
                with self._lock:
                    if self.runs[file].locate(offset, length) == sources:
                        raise
                continue
            return parts[0] if len(parts) == 1 else b"".join(parts)

    def shares(self, file: int, offset: int, length: int) -> bool:
        """Whether the object of a file has the same bytes in a range as there are, in parts or in it alone."""
        runs, found = self.runs[file], self.found.get(file)
        if found is None or offset + length > found.size:
            return False
        is_in_it = all(source.run is None for source in runs.locate(offset, length) or ())
        return is_in_it or self.read(file, offset, length) == self._read(file, Source(None, offset, length))

    def read_cached(self, file: int, offset: int, length: int) -> bytes | None:
        """Read a range of a file that is in memory in one piece; None if it is not."""
        with self._lock:
            sources = self.runs[file].locate(offset, length)
        if sources is None or len(sources) > 1:
            return None
        run, start, _ = sources[0]
        if run is None:
            is_fresh = monotonic() < self._looked.get(file, 0.0) + limits.STORE_LOOK_INTERVAL
            return self._cache.peek(self._paths[file], start, length) if is_fresh else None
        if run.data is not None:
            return run.data[start : start + length]
        return self._cache.peek(self._part_path(file, run), start, length)

    def _read(self, file: int, source: Source) -> bytes:
        run, start, length = source
        if run is None:
            if monotonic() >= self._looked.get(file, 0.0) + limits.STORE_LOOK_INTERVAL:
                self.check_unchanged(file)
            try:
                return self._cache.read(self._paths[file], self.found[file].size, start, length)
            except (MissingData, KeyError):
                self.check_unchanged(file)
                raise MissingData(errno.ENOENT, "it is not there any more", self.url(file)) from None
        if run.data is not None:
            return run.data[start : start + length]
        try:
            return self._cache.read(self._part_path(file, run), run.length, start, length)
        except MissingData:
            with self._lock:
                self.runs[file].remove(run)
            raise

    def _part_path(self, file: int, run: Run) -> str:
        return f"{self.folder}/{file}-{run.offset}-{run.length}"

    # ------------------------------------------------------------------ writing

    def write(self, file: int, offset: int, data: memoryview) -> None:
        """Write a range of a file, in memory. Whole parts are sent to the store, and others when memory runs short.

        Raises:
            StorageError: the store failed. Nothing that was written before is lost.
        """
        if self._held_bytes + len(data) > limits.STORE_BUFFER:
            self._send(self._fullest())
        self._hold(file, offset, data)
        whole = self._whole()
        if sum(self._held[key] for key in whole) >= limits.STORE_BATCH:
            self._send(whole)

    def flush(self) -> None:
        """Send to the store what is in memory.

        Raises:
            StorageError: the store failed.
        """
        with self._lock:
            keys = list(self._held)
        while keys:
            self._send(keys[:4])
            del keys[:4]

    def _hold(self, file: int, offset: int, data: memoryview) -> None:
        """Keep data in memory, by parts."""
        runs = self.runs[file]
        while data:
            number, skip = divmod(offset, runs.part)
            run = Run(offset, min(len(data), runs.part - skip), bytes(data[: runs.part - skip]))
            with self._lock:
                covered = runs.add(run)
                grown = run.length - sum(old.length for old in covered)
                self._held[file, number] = self._held.get((file, number), 0) + grown
                self._held_bytes += grown
            offset += run.length
            data = data[run.length :]

    def _whole(self) -> list[tuple[int, int]]:
        """The parts that are whole in memory, and not being sent."""
        with self._lock:
            return [
                key
                for key, held in self._held.items()
                if held >= self.runs[key[0]].range_of(key[1])[1] and key not in self._sending
            ]

    def _fullest(self) -> list[tuple[int, int]]:
        """Some of the parts that have most in memory: `limits.STORE_BATCH` of them."""
        with self._lock:
            keys = sorted(self._held.keys() - self._sending, key=self._held.__getitem__, reverse=True)
            total = 0
            chosen = []
            for key in keys:
                if total >= limits.STORE_BATCH:
                    break
                total += self._held[key]
                chosen.append(key)
        return chosen

    def _send(self, keys: Iterable[tuple[int, int]]) -> None:
        """Put what is in memory of some parts into the store, all at once: neighbours together in one object."""
        with self._lock:
            keys = [key for key in keys if key in self._held]
            self._sending.update(keys)
            held = {key: [run for run in self.runs[key[0]].runs(key[1]) if run.data is not None] for key in keys}
        try:
            joined = {key: list(_join(runs)) for key, runs in held.items()}
            self._store.put(
                {self._part_path(file, run): run.data or b"" for (file, _), runs in joined.items() for run in runs}
            )
            with self._lock:
                for key in keys:
                    self._note_sent(key, held[key], joined[key])
        finally:
            with self._lock:
                self._sending.difference_update(keys)

    def _note_sent(self, key: tuple[int, int], held: list[Run], stored: list[Run]) -> None:
        runs = self.runs[key[0]]
        if key not in self._held:
            # Another thread has sent the same, or joined the whole file meanwhile.
            paths = {run: self._part_path(key[0], run) for run in stored if run._replace(data=None) not in runs}
            self._obsolete += paths.values()
            return
        for run in stored:
            runs.add(run._replace(data=None))
        for run in held:
            runs.remove(run)
        left = sum(run.length for run in runs.runs(key[1]) if run.data is not None)
        self._held_bytes -= self._held.pop(key) - left
        if left:
            self._held[key] = left

    # ------------------------------------------------------------------ whole files

    def make_empty(self, file: int) -> None:
        """Make a file without bytes."""
        if file not in self.found:
            self._store.put({self._paths[file]: b""})
            self._take_new(file)

    def join(self, file: int) -> None:
        """Make the object of a file of which all bytes are there. Its parts are deleted by `drop_parts`.

        Raises:
            StorageError: the store failed, or there is another program's object (``errno.EEXIST``).
        """
        self._check_place(file)
        runs, path = self.runs[file], self._paths[file]
        if runs.length <= runs.part:
            self._store.put({path: self.read(file, 0, runs.length)})
        elif self._store.merges and runs.is_independent:
            self._merge(path, self._make_whole_parts(file))
        else:
            self._store.put_stream(path, self._stream(file))
        self._obsolete += [self._part_path(file, run) for run in runs if run.data is None]
        self._take_new(file)
        with self._lock:
            for number in runs.numbers:
                self._held_bytes -= self._held.pop((file, number), 0)
            runs.clear()

    def drop_parts(self) -> None:
        """Delete the parts of files that have been joined."""
        self._store.remove(self._obsolete)
        self._obsolete = []

    def _check_place(self, file: int) -> None:
        """See that nothing has come in the place of a file since it was looked at."""
        if self.found.get(file) is None and not self._overwrite and self._store.stat(self._paths[file]) is not None:
            raise self.foreign(file)
        if file in self.found:
            self.check_unchanged(file)

    def _take_new(self, file: int) -> None:
        """Look at an object that has just been made."""
        now, length = self._store.stat(self._paths[file]), self.runs[file].length
        if now is None or now.size != length:
            there = "nothing" if now is None else f"{now.size} bytes"
            raise StorageError(errno.EIO, f"{length} bytes were written, and {there} is there", self.url(file))
        self._cache.forget(self._paths[file])
        self._looked[file] = monotonic()
        with self._lock:
            self._note_found(file, now)

    def _make_whole_parts(self, file: int) -> list[str]:
        """Have each part of a file in one object. Returns their paths."""
        runs = self.runs[file]
        whole = [Run(*runs.range_of(number)) for number in runs.numbers]
        missing = [run for run in whole if run not in runs.runs(run.offset // runs.part)]
        step = max(1, limits.STORE_BATCH // runs.part)
        for at in range(0, len(missing), step):
            self._make_parts(file, missing[at : at + step])
        return [self._part_path(file, run) for run in whole]

    def _make_parts(self, file: int, parts: list[Run]) -> None:
        """Make part objects of what is in memory and in smaller ones."""
        runs = self.runs[file]
        with self._lock:
            sources = [runs.locate(part.offset, part.length) or [] for part in parts]
        wanted = {
            source: (self._part_path(file, source.run), source.start, source.start + source.length)
            for found in sources
            for source in found
            if source.run is not None and source.run.data is None
        }
        fetched: dict[Source, bytes] = dict(zip(wanted, self._store.get_all(list(wanted.values())), strict=True))
        datas = [
            b"".join(fetched[source] if source in fetched else self._read(file, source) for source in found)
            for found in sources
        ]
        self._store.put({self._part_path(file, part): data for part, data in zip(parts, datas, strict=True)})
        with self._lock:
            for part in parts:
                runs.add(part)

    def _merge(self, path: str, parts: list[str]) -> None:
        """Have the store join parts, in several steps if it takes only so many at a time."""
        level = 0
        while len(parts) > self._store.merges:
            level += 1
            groups = iter(parts)
            parts = []
            while group := list(islice(groups, self._store.merges)):
                parts.append(f"{self.folder}/join-{level}-{len(parts)}")
                self._store.merge(parts[-1], group)
                self._obsolete.append(parts[-1])
        self._store.merge(path, parts)

    def _stream(self, file: int) -> Iterator[bytes]:
        for number in self.runs[file].numbers:
            yield self.read(file, *self.runs[file].range_of(number))


def _join(runs: list[Run]) -> Iterator[Run]:
    """Join ranges in memory that touch or overlap."""
    joined: list[bytes] = []
    begin = end = -1
    for run in sorted(runs):
        assert run.data is not None
        if run.offset > end:
            if joined:
                yield Run(begin, end - begin, b"".join(joined))
            joined, begin, end = [], run.offset, run.offset
        if run.end > end:
            joined.append(run.data[end - run.offset :])
            end = run.end
    if joined:
        yield Run(begin, end - begin, b"".join(joined))
