"""Faults of the disk: which may pass, and when a torrent that one has stopped tries again. Pure."""

from __future__ import annotations

import errno
import math

from geventbt import limits
from geventbt.concurrency import descriptors
from geventbt.storage import ChangedData, MissingData

_MAY_PASS = frozenset(
    number
    for name in (
        "ENOSPC",
        "EDQUOT",
        "EFBIG",
        "EIO",
        "EMFILE",
        "ENFILE",
        "ENOMEM",
        "EAGAIN",
        "EROFS",
        "ESTALE",
        "ETIMEDOUT",
        "EHOSTDOWN",
        "EHOSTUNREACH",
    )
    if (number := getattr(errno, name, None)) is not None
)
"""A full disk or quota, a limit of the process, a drive that is away for the moment."""


def may_pass(error: BaseException) -> bool:
    """Whether a fault may be over later, by itself. What another program did to a file does not pass."""
    is_kept = not isinstance(error, (ChangedData, MissingData))
    return is_kept and isinstance(error, OSError) and error.errno in _MAY_PASS


class DiskFaults:
    """The fault that has stopped a torrent, if any, and when to try again.

    Attributes:
        pending: a fault that has not been dealt with, or None.
        retry_at: when to try again; infinite for not by ourselves.
    """

    def __init__(self) -> None:
        self.pending: Exception | None = None
        self.retry_at = math.inf
        self._delay = limits.DISK_RETRY_FIRST

    def note(self, error: Exception) -> None:
        """Note a fault, to be dealt with soon; a shortage of descriptors gives way to any other."""
        if self.pending is None or descriptors.is_shortage(self.pending):
            self.pending = error

    def take(self) -> Exception | None:
        """The fault to deal with now."""
        error, self.pending = self.pending, None
        return error

    def suspend(self, error: Exception, now: float) -> None:
        """A fault has stopped the torrent: set the time of the next try, later after each."""
        if not may_pass(error):
            self.retry_at = math.inf
            return
        self.retry_at = now + self._delay
        self._delay = min(2 * self._delay, limits.DISK_RETRY_MAX)

    def resume(self) -> None:
        """The next try begins, and finds out itself what earlier faults have cost."""
        self.pending = None
        self.retry_at = math.inf

    def over(self) -> None:
        """The disk works again: begin with the shortest wait at the next fault."""
        self._delay = limits.DISK_RETRY_FIRST
