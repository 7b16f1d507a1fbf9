"""The fingerprint of a file on the disk after our last change, to notice changes by other programs.

A checkpoint trusts a file by its size and time of modification, so these must never cover a change by another program:
a file that differs from its fingerprint, even if we write to it afterwards, is not trusted until it is hashed again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from geventbt.concurrency.native import new_lock

_INODE_BITS = 128
"""On Windows; elsewhere half of it."""
_STEPS = (1, 2_000_000_000)
"""Nanoseconds that are the resolution of times: of current file systems, and of all."""


class Fingerprint(NamedTuple):
    """The size and time of modification of a file, which change with its contents."""

    size: int
    """In bytes."""
    mtime: int
    """Time of modification, in nanoseconds since 1970."""

    @classmethod
    def of(cls, status: os.stat_result) -> Fingerprint:
        """The fingerprint of a file from its status."""
        return cls(status.st_size, status.st_mtime_ns)


class FileRecord:
    """What is known of one file, whether it is open or not. Its methods may be called from several threads at once.

    Args:
        lock: other records may share it: none is taken while another one is held. None for one of its own.

    Attributes:
        fingerprint: its fingerprint after our last change or look, or None if it was not there.
        externally_modified: another program has changed it since its pieces were verified.
        unread_change: it has been noticed that another program has changed it, and its pieces are still trusted.
        unsynced: we have written to it since it was last synced to the disk.
        identity: device and inode, as one number, of the file that we have written to.
    """

    __slots__ = (
        "_lock",
        "_trusted",
        "_writers",
        "externally_modified",
        "fingerprint",
        "identity",
        "unread_change",
        "unsynced",
    )

    def __init__(self, lock: AbstractContextManager[bool] | None = None) -> None:
        self.fingerprint: Fingerprint | None = None
        self.externally_modified = False
        self.unread_change = False
        self.unsynced = False
        self.identity: int | None = None
        self._trusted: Fingerprint | None = None
        self._lock = lock or new_lock()
        self._writers = 0

    def trusted_fingerprint(self) -> Fingerprint | None:
        """The fingerprint by which a restart may trust the verified pieces of this file, or None. Our next change makes
        another one."""
        with self._lock:
            self._trusted = None if self.externally_modified else self.fingerprint
            return self._trusted

    def renew(self, fingerprint: Fingerprint | None) -> None:
        """Start again with a file that has this fingerprint, and is recorded with it."""
        with self._lock:
            self.fingerprint = self._trusted = fingerprint
            self.externally_modified = self.unread_change = False

    def notice_cut(self, status: os.stat_result) -> bool:
        """Whether it has been cut short by another program since our last change. True only once."""
        if self.fingerprint is None or status.st_size >= self.fingerprint.size:
            return False
        self.fingerprint, self.externally_modified = Fingerprint.of(status), True
        return True

    @property
    def is_known(self) -> bool:
        """Whether the file has been seen, or written to."""
        return self.fingerprint is not None or self.identity is not None

    def is_replaced(self, status: os.stat_result) -> bool:
        """Whether it is another file than the one that we have written to."""
        return self.identity not in (None, _identity(status))

    def is_changed(self, descriptor: int) -> bool:
        """Whether another program has changed it since our last change or look.

        That cannot be seen while we write to it; the next call sees it.
        """
        with self._lock:
            if not self.unread_change and not self._writers:
                self.compare(os.fstat(descriptor))
            return self.unread_change

    def looks_like(self, status: os.stat_result) -> bool:
        """Whether it is surely as it was after our last change or look. Never waits."""
        return not self._writers and not self.unread_change and self.fingerprint == Fingerprint.of(status)

    def compare(self, status: os.stat_result) -> None:
        """Note it as externally modified if its fingerprint differs."""
        fingerprint = Fingerprint.of(status)
        if self.fingerprint is None:
            self.fingerprint = fingerprint
        elif self.fingerprint != fingerprint:
            self.externally_modified = self.unread_change = True

    def accept_change(self, status: os.stat_result) -> None:
        """Take a file as it is now, after its pieces have been given up: they are hashed before they are trusted."""
        with self._lock:
            self.fingerprint = Fingerprint.of(status)
            self.unread_change = False

    @contextmanager
    def changing(self, descriptor: int, *, has_data: bool = True) -> Iterator[bool]:
        """Enclose a change that we make, so that it is not taken for another program's. Several threads may write at
        once: the fingerprint is compared before the first and taken after the last of them.

        Args:
            descriptor: of the file.
            has_data: whether it has to be synced before what was changed can be trusted.

        Yields whether the file is at least as long as it was: if not, verified pieces are gone.
        """
        with self._lock:
            whole = True
            if not self._writers:
                status = os.fstat(descriptor)
                whole = not self.notice_cut(status)
                self.compare(status)
                self.identity = _identity(status)
            self._writers += 1
        try:
            yield whole
        finally:
            with self._lock:
                self._writers -= 1
                # Only now: a sync in the meantime may have missed this change.
                self.unsynced = self.unsynced or has_data
                if not self._writers:
                    now = Fingerprint.of(self._different(descriptor))
                    if not has_data or self.fingerprint is None or now.size >= self.fingerprint.size:
                        self.fingerprint = now
                    # Else it was cut short meanwhile, which the next look is to see.

    def _different(self, descriptor: int) -> os.stat_result:
        """The status of the file after a change. Its time is advanced if the clock of the file system has not moved.

        If we are killed just before that, the last pieces are fetched again: the fingerprint is the one without them.
        """
        status = os.fstat(descriptor)
        for step in _STEPS if os.utime in os.supports_fd else ():
            if Fingerprint.of(status) != self._trusted:
                break
            os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns + step))
            status = os.fstat(descriptor)
        return status


def _identity(status: os.stat_result) -> int:
    """Device and inode: a torrent may have hundreds of thousands of files, and a tuple takes three times as much
    memory."""
    return status.st_dev << _INODE_BITS | status.st_ino
