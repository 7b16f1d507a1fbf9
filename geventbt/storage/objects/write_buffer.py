"""`WriteBuffer`: verified data that is not in the store yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from geventbt import limits
from geventbt.storage.objects.files import ObjectFiles
from geventbt.storage.objects.runs import Run
from geventbt.storage.objects.store import ObjectStore


class WriteBuffer:
    """Keeps what is written in memory until a part is whole, or memory runs short. Only `flush` makes it durable.

    Its methods may be called in several threads.

    Args:
        store: where the parts are put.
        files: knows what has come.
    """

    def __init__(self, store: ObjectStore, files: ObjectFiles) -> None:
        self._store = store
        self._files = files
        self._held: dict[tuple[int, int], int] = {}
        self._held_bytes = 0
        self._sending: set[tuple[int, int]] = set()

    def write(self, file: int, offset: int, data: memoryview) -> None:
        """Write a range of a file, in memory. Whole parts are sent to the store, and others when memory runs short.

        Raises:
            StorageError: the store failed. Nothing that was written before is lost.
        """
        if self._held_bytes + len(data) > limits.STORE_BUFFER:
            self._send(self._fullest())
        self._hold(file, offset, data)
        whole = self._whole()
        if sum(whole.values()) >= limits.STORE_BATCH:
            self._send(whole)

    def flush(self) -> None:
        """Send to the store what is in memory.

        Raises:
            StorageError: the store failed.
        """
        with self._files.lock:
            keys = list(self._held)
        while keys:
            self._send(keys[:4])
            del keys[:4]

    def forget(self, file: int) -> None:
        """Let go of what is in memory of a file, which has been joined. Called with the lock of the files."""
        for key in [key for key in self._held if key[0] == file]:
            self._held_bytes -= self._held.pop(key)

    def _hold(self, file: int, offset: int, data: memoryview) -> None:
        """Keep data in memory, by parts."""
        runs = self._files.runs[file]
        while data:
            number, skip = divmod(offset, runs.part)
            run = Run(offset, min(len(data), runs.part - skip), bytes(data[: runs.part - skip]))
            with self._files.lock:
                covered = runs.add(run)
                grown = run.length - sum(old.length for old in covered)
                self._held[file, number] = self._held.get((file, number), 0) + grown
                self._held_bytes += grown
            offset += run.length
            data = data[run.length :]

    def _whole(self) -> dict[tuple[int, int], int]:
        """The parts that are whole in memory, and not being sent, with their bytes."""
        with self._files.lock:
            return {
                key: held
                for key, held in self._held.items()
                if held >= self._files.runs[key[0]].range_of(key[1])[1] and key not in self._sending
            }

    def _fullest(self) -> list[tuple[int, int]]:
        """Some of the parts that have most in memory: `limits.STORE_BATCH` of them."""
        with self._files.lock:
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
        with self._files.lock:
            keys = [key for key in keys if key in self._held]
            self._sending.update(keys)
            held = {key: [run for run in self._files.runs[key[0]].runs(key[1]) if run.data is not None] for key in keys}
        try:
            joined = {key: list(_join(runs)) for key, runs in held.items()}
            self._store.put(
                {
                    self._files.part_path(file, run): run.data or b""
                    for (file, _), runs in joined.items()
                    for run in runs
                }
            )
            with self._files.lock:
                unused = [path for key in keys for path in self._note_sent(key, held[key], joined[key])]
            self._files.discard(unused)
        finally:
            with self._files.lock:
                self._sending.difference_update(keys)

    def _note_sent(self, key: tuple[int, int], held: list[Run], sent: list[Run]) -> list[str]:
        """Note that a part is in the store. Returns the objects that are not needed any more."""
        runs = self._files.runs[key[0]]
        stored = [run._replace(data=None) for run in sent]
        if key not in self._held:
            # Another thread has sent the same, or the whole file has been joined meanwhile.
            return [self._files.part_path(key[0], run) for run in stored if run not in runs]
        for run in stored:
            runs.add(run)
        for run in held:
            runs.remove(run)
        left = sum(run.length for run in runs.runs(key[1]) if run.data is not None)
        self._held_bytes -= self._held.pop(key) - left
        if left:
            self._held[key] = left
        return []


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
