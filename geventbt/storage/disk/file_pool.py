"""The open files of all torrents of the process: few at a time, and shared by threads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from itertools import islice
from time import monotonic
from typing import TypeAlias

from geventbt.concurrency import descriptors
from geventbt.concurrency.native import new_lock
from geventbt.storage.disk.open_file import OpenFile

FileKey: TypeAlias = tuple[Hashable, int]
"""Whose file it is, and its index there."""


@dataclass(slots=True)
class Slot:
    """An open file and the number of threads that use it."""

    file: OpenFile
    writable: bool
    users: int = 0
    used_at: float = 0.0
    retired: bool = False
    """No longer among the open files: the last user closes it."""


class FilePool:
    """Keeps files open that were used last. Its methods may be called from several threads at once.

    Args:
        limit: returns how many may be open. Only files that are in use at this very moment are kept beyond it.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._slots: OrderedDict[FileKey, Slot] = OrderedDict()
        self._lock = new_lock()

    def take(self, key: FileKey, writable: bool) -> Slot | None:
        """A file that is open, for a user who is to call `leave`; None if it is not open, or not for writing."""
        with self._lock:
            slot = self._slots.get(key)
            if slot is None or (writable and not slot.writable):
                return None
            self._use(key, slot)
            return slot

    def add(self, key: FileKey, slot: Slot) -> None:
        """Take in a file that has just been opened, for a user who is to call `leave`. It replaces one of its key."""
        with self._lock:
            self._retire(key)
            self._slots[key] = slot
            self._use(key, slot)
            excess = len(self._slots) - self._limit()
            if excess > 0:
                unused = (key for key, slot in self._slots.items() if not slot.users)
                self._retire_all(list(islice(unused, excess)))

    def leave(self, slot: Slot) -> None:
        """End the use of a file."""
        with self._lock:
            slot.users -= 1
            if slot.retired and not slot.users:
                slot.file.close()

    def read_cached(self, key: FileKey, offset: int, length: int) -> bytes | bytearray | None:
        """A range of a file that is open, if it is in memory and no thread is in the way: never waits."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            slot = self._slots.get(key)
            if slot is None:
                return None
            self._slots.move_to_end(key)
            slot.used_at = monotonic()
            return slot.file.read_cached(offset, length)
        finally:
            self._lock.release()

    def close(self, owner: Hashable, index: int | None = None) -> None:
        """Close a file of an owner, or all of them; those in use when their users are done."""
        with self._lock:
            keys = [key for key in self._slots if key[0] is owner] if index is None else [(owner, index)]
            self._retire_all(keys)

    def close_unused(self, seconds: float = 0.0) -> bool:
        """Close the files that have not been used for some time. Returns whether there was one."""
        before = monotonic() - seconds
        with self._lock:
            unused = [key for key, slot in self._slots.items() if not slot.users and slot.used_at <= before]
            self._retire_all(unused)
            return bool(unused)

    def _use(self, key: FileKey, slot: Slot) -> None:
        slot.users += 1
        slot.used_at = monotonic()
        self._slots.move_to_end(key)

    def _retire_all(self, keys: list[FileKey]) -> None:
        for key in keys:
            self._retire(key)

    def _retire(self, key: FileKey) -> None:
        slot = self._slots.pop(key, None)
        if slot is not None:
            slot.retired = True
            if not slot.users:
                slot.file.close()


SHARED = FilePool(descriptors.max_files)
"""The pool of this process."""
