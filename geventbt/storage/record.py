"""What we know of a file on the disk: how it looked when we last had a hand in it.

A checkpoint vouches for a file by its size and time of change, so these must never cover what somebody else has done to
it: if a file does not look as we left it, even if we write to it afterwards, nobody vouches for it any more until it
has been hashed again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from geventbt.metainfo.native import new_lock


class Stamp(NamedTuple):
    """How a file looks: it changes with its contents."""

    size: int
    """In bytes."""
    mtime: int
    """When it was changed, in nanoseconds since 1970."""

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """The stamp of a file, of which the system tells this."""
        return cls(status.st_size, status.st_mtime_ns)


class FileRecord:
    """What is known of one file, whether it is open or not. Its methods may be called from several threads at once.

    Attributes:
        stamp: how it looked when we last had a hand in it, or None if it was not there.
        foreign: somebody else has changed it since its pieces were verified.
        unsynced: we have written to it, and not yet made sure that it is on the disk.
        identity: device and inode of what we have written to.
    """

    __slots__ = ("_writing", "foreign", "identity", "stamp", "unsynced")

    def __init__(self) -> None:
        self.stamp: Stamp | None = None
        self.foreign = False
        self.unsynced = False
        self.identity: tuple[int, int] | None = None
        self._writing = new_lock()

    @property
    def trusted(self) -> Stamp | None:
        """The stamp that vouches for the verified pieces of this file, or None."""
        return None if self.foreign else self.stamp

    def renew(self, stamp: Stamp | None) -> None:
        """Begin again with how it looks now: nothing is yet verified, or all of it is still as it was then."""
        self.stamp = stamp
        self.foreign = False

    def look(self, status: os.stat_result) -> None:
        """Compare how it looks with how it should."""
        stamp = Stamp.of(status)
        if self.stamp is None:
            self.stamp = stamp
        elif self.stamp != stamp:
            self.foreign = True

    @contextmanager
    def changing(self, descriptor: int) -> Iterator[None]:
        """Around each change that we make. One thread at a time, so that no other change of ours is taken for a
        stranger's."""
        with self._writing:
            self.look(os.fstat(descriptor))
            try:
                yield
            finally:
                status = os.fstat(descriptor)
                self.stamp = Stamp.of(status)
                self.identity = (status.st_dev, status.st_ino)
                # Only now: whoever makes the file safe in the meantime may have missed this change.
                self.unsynced = True
