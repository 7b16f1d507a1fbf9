"""Exit codes, and the one line that each error is worth."""

from __future__ import annotations

import errno

from geventbt import errors
from geventbt.cli.text import printable

DONE = 0
NOT_FOUND = 3
CORRUPT = 4
NETWORK = 5
DISK = 6
UNFINISHED = 7
TIMED_OUT = 8
INTERRUPTED = 130


def code_and_text(error: Exception) -> tuple[int, str] | None:
    """The exit code and the line for an error that a person can cause; None for a bug."""
    code = _code(error)
    return None if code is None else (code, printable(_text(error)))


def _code(error: Exception) -> int | None:
    number = getattr(error, "errno", None)
    if number in (errno.ENOENT, errno.ENOTDIR) or isinstance(error, FileNotFoundError):
        return NOT_FOUND
    if isinstance(error, (errors.MetainfoError, errors.BencodeError)):
        return CORRUPT
    if isinstance(error, errors.StorageError):
        return DISK if number else CORRUPT
    if isinstance(error, (errors.WireTimeout, TimeoutError)):
        return TIMED_OUT
    if isinstance(error, (errors.NoPeersError, errors.ProtocolError, ConnectionError)) or number in (
        errno.EADDRINUSE,
        errno.EADDRNOTAVAIL,
    ):
        return NETWORK
    if isinstance(error, errors.DownloadError):
        return UNFINISHED
    if isinstance(error, OSError):
        return DISK
    return CORRUPT if isinstance(error, errors.GeventBTError) else None


def _text(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.ENOSPC:
        return f"the disk is full: {error}"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__
