"""Ranges of objects that were read, kept for the reads that follow."""

from __future__ import annotations

from collections import OrderedDict

from geventbt import limits
from geventbt.concurrency.native import new_lock
from geventbt.storage.objects.store import ObjectStore


class RangeCache:
    """Reads objects by ranges of `limits.STORE_RANGE`, and keeps the last `limits.STORE_RANGES` of them.

    A store far away takes the same time for 4 MiB as for a block of 16 KiB, and peers ask for the blocks in order.

    Args:
        store: has the objects.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._lock = new_lock()
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    def read(self, path: str, size: int, offset: int, length: int) -> bytes:
        """Read a range of an object of `size` bytes, in this native thread.

        Raises:
            MissingData: the object is not there, or shorter.
            StorageError: it cannot be read.
        """
        end = offset + length
        parts = []
        while offset < end:
            number, skip = divmod(offset, limits.STORE_RANGE)
            kept = self._range(path, size, number)
            part = kept[skip : skip + end - offset]
            parts.append(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def peek(self, path: str, offset: int, length: int) -> bytes | None:
        """A range that is kept; None if it is not, or in more than one of those kept."""
        number, skip = divmod(offset, limits.STORE_RANGE)
        kept = self._kept.get((path, number))
        return kept[skip : skip + length] if kept is not None and skip + length <= len(kept) else None

    def forget(self, path: str | None = None) -> None:
        """Read an object, or all, anew from now on."""
        with self._lock:
            for key in [key for key in self._kept if path in (None, key[0])]:
                del self._kept[key]

    def _range(self, path: str, size: int, number: int) -> bytes:
        key = path, number
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        begin = number * limits.STORE_RANGE
        data = self._store.get(path, begin, min(size, begin + limits.STORE_RANGE))
        with self._lock:
            self._kept[key] = data
            while len(self._kept) > limits.STORE_RANGES:
                self._kept.popitem(last=False)
        return data
