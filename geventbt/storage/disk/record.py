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

from geventbt.concurrency.native import new_lock

_STEPS = (1, 2_000_000_000)
"""Nanoseconds by which times can be told apart: by file systems of today, and by all."""


class Fingerprint(NamedTuple):
    """How a file looks: it changes with its contents."""

    size: int
    """In bytes."""
    mtime: int
    """When it was changed, in nanoseconds since 1970."""

    @classmethod
    def of(cls, status: os.stat_result) -> Fingerprint:
        """The fingerprint of a file, of which the system tells this."""
        return cls(status.st_size, status.st_mtime_ns)


class FileRecord:
    """What is known of one file, whether it is open or not. Its methods may be called from several threads at once.

    Attributes:
        fingerprint: how it looked when we last had a hand in it, or None if it was not there.
        externally_modified: somebody else has changed it since its pieces were verified.
        unsynced: we have written to it, and not yet made sure that it is on the disk.
        identity: device and inode of what we have written to.
    """

    __slots__ = ("_lock", "_trusted", "_writers", "externally_modified", "fingerprint", "identity", "unsynced")

    def __init__(self) -> None:
        self.fingerprint: Fingerprint | None = None
        self.externally_modified = False
        self.unsynced = False
        self.identity: tuple[int, int] | None = None
        self._trusted: Fingerprint | None = None
        self._lock = new_lock()
        self._writers = 0

    def trusted_fingerprint(self) -> Fingerprint | None:
        """The fingerprint that vouches for the verified pieces of this file, or None. With our next change it looks
        different."""
        with self._lock:
            self._trusted = None if self.externally_modified else self.fingerprint
            return self._trusted

    def renew(self, fingerprint: Fingerprint | None) -> None:
        """Begin again with a file that looks like this, and is recorded so."""
        with self._lock:
            self.fingerprint = self._trusted = fingerprint
            self.externally_modified = False

    def notice_cut(self, status: os.stat_result) -> bool:
        """Whether somebody has cut it short since we had a hand in it. This is told once."""
        if self.fingerprint is None or status.st_size >= self.fingerprint.size:
            return False
        self.fingerprint, self.externally_modified = Fingerprint.of(status), True
        return True

    def compare(self, status: os.stat_result) -> None:
        """Compare how it looks with how it should."""
        fingerprint = Fingerprint.of(status)
        if self.fingerprint is None:
            self.fingerprint = fingerprint
        elif self.fingerprint != fingerprint:
            self.externally_modified = True

    @contextmanager
    def changing(self, descriptor: int) -> Iterator[bool]:
        """Around each change that we make, so that it is not taken for a stranger's. Several threads may write at once:
        how the file looks is noted before the first and after the last of them.

        Yields whether the file is at least as long as it was: if not, verified pieces are gone.
        """
        with self._lock:
            whole = True
            if not self._writers:
                status = os.fstat(descriptor)
                whole = not self.notice_cut(status)
                self.compare(status)
                self.identity = (status.st_dev, status.st_ino)
            self._writers += 1
        try:
            yield whole
        finally:
            with self._lock:
                self._writers -= 1
                # Only now: whoever makes the file safe in the meantime may have missed this change.
                self.unsynced = True
                if not self._writers:
                    self.fingerprint = Fingerprint.of(self._different(descriptor))

    def _different(self, descriptor: int) -> os.stat_result:
        """How the file looks after a change. Its time is moved on if the clock of the file system has not.

        Whoever kills us just before that has the last pieces fetched again: the file looks as it did without them.
        """
        status = os.fstat(descriptor)
        for step in _STEPS if os.utime in os.supports_fd else ():
            if Fingerprint.of(status) != self._trusted:
                break
            os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns + step))
            status = os.fstat(descriptor)
        return status
