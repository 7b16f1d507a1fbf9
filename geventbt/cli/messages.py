"""Map errors to an exit code and one line of text: what happened, and what to do."""

from __future__ import annotations

import argparse
import errno
import re

from geventbt import errors
from geventbt.cli.errors import CORRUPT, DISK, NETWORK, NOT_FOUND, TIMED_OUT, UNFINISHED, CommandError
from geventbt.cli.network import network_of
from geventbt.cli.sources import cut_hint
from geventbt.cli.text import printable

_NETWORK_ERRNOS = frozenset(
    {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EMFILE}
)
_HINTS = {
    errno.ENOSPC: "make room, and run the same command again",
    errno.EDQUOT: "make room, and run the same command again",
    errno.EACCES: "check the permissions",
    errno.EPERM: "check the permissions",
    errno.EROFS: "choose a writable folder",
    errno.EBUSY: "stop it first, or choose another folder",
    errno.EFBIG: "the file system or a quota does not allow a file of this size",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "it is a folder, and a file is needed",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or use fewer peers (--max-peers)",
}


def code_and_text(error: Exception, arguments: argparse.Namespace | None = None) -> tuple[int, str] | None:
    """The exit code and the text of an expected error; None for a bug.

    Args:
        error: the error.
        arguments: of the command.
    """
    code = _code(error)
    if code is None:
        return None
    text = _text(error)
    if isinstance(error, errors.NoPeersError) or (isinstance(error, CommandError) and code == TIMED_OUT):
        text += _advice_without_data(error, arguments or argparse.Namespace())
    return code, printable(without_numbers(text))


def without_numbers(text: str) -> str:
    """The text without the error numbers that Python puts in front of system errors."""
    return re.sub(r"\[Errno -?[0-9]+\] ", "", text)


def _code(error: Exception) -> int | None:
    number = getattr(error, "errno", None)
    if isinstance(error, CommandError):
        return error.code
    if isinstance(error, errors.StorageError) and _is_lost(error):
        return DISK
    if number in (errno.ENOENT, errno.ENOTDIR) or isinstance(error, (FileNotFoundError, errors.DHTNotFound)):
        return NOT_FOUND
    if isinstance(error, (errors.MetainfoError, errors.BencodeError)):
        return CORRUPT
    if isinstance(error, errors.StorageError):
        return DISK if number else CORRUPT
    if isinstance(error, TimeoutError):
        return TIMED_OUT
    # Negative numbers are errors of name resolution.
    if isinstance(error, OSError) and number is not None and (number < 0 or number in _NETWORK_ERRNOS):
        # Files and connections run out of descriptors alike.
        return NETWORK if error.filename is None else DISK
    if isinstance(
        error, (errors.FetchError, errors.TrackerError, errors.DHTError, errors.ProtocolError, ConnectionError)
    ):
        return NETWORK
    if isinstance(error, errors.DownloadError):
        return UNFINISHED
    if _is_out_of_resources(error):
        return DISK
    if isinstance(error, OSError):
        return DISK
    return CORRUPT if isinstance(error, errors.GeventBTError) else None


def _is_lost(error: errors.StorageError) -> bool:
    """Whether a file of a torrent was deleted or replaced while it was in use; nothing was named that is not there."""
    from geventbt.storage import MissingData

    return isinstance(error, MissingData)


def _is_out_of_resources(error: Exception) -> bool:
    """Whether the system, or a limit of this process, gives no more memory or threads."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "new thread" in str(error))


def _text(error: Exception) -> str:
    if _is_out_of_resources(error):
        reason = "no memory is left" if isinstance(error, MemoryError) else "no thread can be started"
        return f"{reason}; close other programs, or raise the limits of memory and processes (ulimit -a)"
    text = what_happened(error)
    number = getattr(error, "errno", None)
    hint = _HINTS.get(number) if number is not None else None
    return f"{text}; {hint}" if hint else text


def what_happened(error: Exception) -> str:
    """The text of an error without what to do."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        text = f"the disk is full: {text}"
    return text


def _advice_without_data(error: Exception, arguments: argparse.Namespace) -> str:
    """What to do if no peer was found, or no data arrives."""
    is_kept = bool(getattr(arguments, "output", None))
    sources = getattr(arguments, "source", "")
    hint = cut_hint(sources if isinstance(sources, str) else sources[0] if len(sources) == 1 else "")
    if not isinstance(error, errors.NoPeersError):
        return f"{'; what is there is kept; run the same command again to resume' if is_kept else ''}{hint}"
    kept = "; what is there is kept" if is_kept else ""
    what = "add a peer with --peer or a tracker with --tracker, or try again later"
    return f"{_unresolved_names(arguments)}{kept}; {what}{hint}"


def _unresolved_names(arguments: argparse.Namespace) -> str:
    """The peers whose names cannot be resolved, which the client itself only logs."""
    unknown = []
    for host, port in getattr(arguments, "peer", ()):
        try:
            if any(endpoint.is_name for endpoint in network_of(arguments).resolve(host, port)):
                unknown.append(f"{host}: with a proxy, peers are named by IP address")
        except errors.FetchError as error:
            unknown.append(str(error))
    return f" ({', '.join(unknown)})" if unknown else ""
