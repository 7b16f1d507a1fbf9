"""`StorageBackend`: the interface between a `Storage` and the place where the bytes of a torrent's files are.

A backend knows files by their index in the torrent and bytes by their offset, and nothing of hashes: it is only given
bytes of verified pieces, and what it returns is hashed or has been. To write one, subclass `StorageBackend` and define
`read`, `write` and `size`; every other method has a default that is correct for a backend that needs no more::

    class Database(geventbt.StorageBackend):
        def __init__(self, torrent, folder): ...
        def read(self, file, offset, length): ...
        def write(self, file, offset, data): ...
        def size(self, file): ...

    client.add(torrent, storage=Database)

All methods may block, and are called in native threads, several at once, except for `read_cached`, which is called on
the hub. A range may be written again, but never with other bytes.

Three things make data survive, and keep what is wrong from being trusted:

- What `write` has returned from can be read at once. Only `checkpoint` makes it durable: the pieces that were in
  `have` when it was called, when it returns, outlive a crash of the machine. A record of `have` is written after the
  bytes that it names, never before them.
- `restore` trusts what is recorded of a file only if it is the same file, unchanged: a backend notes what changes
  with the content (size, time and inode; an ETag), and compares it. All else is to be hashed. A backend without a
  record inherits that: everything is hashed at each start.
- Where another program has changed a file meanwhile, `ChangedData` is raised, and `MissingData` where bytes are gone.
  Then the storage trusts those pieces no more, hashes them, and fetches what is wrong. Bytes that took the place of
  verified ones must never be returned as if they were these.

All other failures are a `StorageError` with an ``errno`` and a file name. Its ``errno`` decides what becomes of the
torrent: it tries again by itself where the fault may pass (``ENOSPC``, ``EDQUOT``, ``EIO``, ``ETIMEDOUT``, ``EROFS``
and some others), and waits for the user otherwise (``EACCES``, ``EEXIST``, ...).
"""

from __future__ import annotations

import errno
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol, TypeAlias

from bitarray import bitarray

from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.storage.layout import Layout


class MissingData(StorageError):
    """A file is not there, or ends before the bytes that were asked for."""


class ChangedData(StorageError):
    """A file has been changed by another program: nothing of it is trusted until it has been hashed again."""


class StorageBackend(Protocol):
    """The bytes of one torrent's files. Subclass it to inherit the defaults; see `geventbt.storage.backend`.

    Padding files (BEP 47) are never read, written or made.
    """

    @abstractmethod
    def read(self, file: int, offset: int, length: int) -> bytes:
        """Read a range of a file.

        Args:
            file: the file's index in the torrent.
            offset: where the range begins in the file.
            length: its bytes, at least 1, all within the file.

        Returns:
            Exactly `length` bytes.

        Raises:
            MissingData: they are not all there. The pieces beyond `size` are then no longer trusted.
            ChangedData: the file is not as it was. None of its pieces is then trusted any longer.
            StorageError: they cannot be read now. The piece is then no longer trusted.
        """

    @abstractmethod
    def write(self, file: int, offset: int, data: memoryview) -> None:
        """Write a range of a file, all of it. The file is made if it is not there.

        Other ranges must stay as they are. `data` must not be kept: its buffer is used again.

        Raises:
            StorageError: it cannot be written: ``errno.ENOSPC`` if there is no room for it.
        """

    @abstractmethod
    def size(self, file: int) -> int:
        """The length of a file as it is now, 0 if it is not there. Bytes below it may be holes that were never
        written; they fail their hash."""

    def read_into(self, file: int, offset: int, view: memoryview) -> None:
        """Fill a buffer with a range of a file; as `read`."""
        view[:] = self.read(file, offset, len(view))

    def read_cached(self, file: int, offset: int, length: int) -> bytes | bytearray | None:
        """Read a range of a file if that takes no waiting and cannot fail; None otherwise, and by default."""
        return None

    def begin(self, have: bitarray, selected: Collection[int] | None) -> None:
        """Take note of the state of the `Storage` that uses this backend. Called once, before all other methods.

        Args:
            have: the verified pieces, kept up to date by the storage. A backend that finds data gone may clear them.
            selected: indices of the wanted files, or None for all.
        """
        return

    def select(self, selected: Collection[int] | None) -> None:
        """Take note of the wanted files. Pieces on their borders have bytes of other files, which are written, too.

        Raises:
            StorageError: it failed. The same files as before are then wanted.
        """
        return

    def make(self, files: Iterable[int]) -> None:
        """Make these files, each of its full length, unless they are there.

        Raises:
            StorageError: one cannot be made, or there is another file in its place (``errno.EEXIST``).
        """
        return

    def finish(self, files: Iterable[int]) -> None:
        """Look at files of which all pieces are trusted: cut one that has grown, and find one that is gone.

        Raises:
            MissingData, ChangedData: one is not as it was. Its pieces are then no longer trusted.
            StorageError: the disk failed.
        """
        return

    @property
    def is_recorded(self) -> bool:
        """Whether there is a record."""
        return False

    def withdraw(self, pieces: bitarray) -> bool:
        """Take pieces out of what the last `checkpoint` recorded. Returns whether any was in it.

        Raises:
            StorageError: it failed.
        """
        return False

    def writing(self, files: Iterable[int]) -> AbstractContextManager[None]:
        """Enclose the writes of one piece, and its mark in `have`, in a context.

        Args:
            files: indices of the files that it has bytes of.
        """
        return nullcontext()

    def possible(self, layout: Layout) -> bitarray:
        """The pieces that may be there, and are therefore worth hashing: by default those within the sizes."""
        return layout.covered(self.size)

    def checking(self, pieces: bitarray) -> AbstractContextManager[None]:
        """Enclose a check of pieces in a context."""
        return nullcontext()

    def lock(self) -> None:
        """Keep every other program away from these files until `close`. Calling it again does no harm.

        Raises:
            StorageError: another one uses them (``errno.EBUSY``).
        """
        return

    def restore(self) -> bitarray | None:
        """Set in `have` the pieces that the last `checkpoint` recorded, of files that have not changed since.

        Returns:
            The pieces that must be hashed before they can be trusted; None for all that may be there, as by default.
        """
        return None

    def checkpoint(self) -> None:
        """Make durable what was written, and record `have` for the next `restore`, where that is supported.

        Raises:
            StorageError: it failed.
        """
        return

    def remove(self) -> None:
        """Delete all data of the torrent, and the record. Only `close` is called afterwards.

        Raises:
            StorageError: it failed, or is not supported, as by default.
        """
        raise StorageError(errno.ENOTSUP, f"{type(self).__name__} cannot delete data")

    def close(self) -> None:
        """Release everything. No other method is called afterwards."""
        return


StorageFactory: TypeAlias = Callable[[Torrent, Path], StorageBackend]
"""Called with a torrent and the folder that its user gave; returns the backend for it. A class of backends is one."""
