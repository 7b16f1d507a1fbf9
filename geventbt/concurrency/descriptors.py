"""The descriptors that this process may have open, and how many of them are for files and for connections.

Files, connections, locks and everything else that the program does share one limit of the system. It is raised as far
as the system allows once there is a client; a part of it is a reserve for descriptors that are not counted.
"""

from __future__ import annotations

import errno
import sys
from contextlib import suppress
from typing import Any

from geventbt import limits

resource: Any = None
if sys.platform != "win32":
    import resource

_UNKNOWN = 8192
"""The descriptors of a process where the system has no such limit: Windows allows that many files, and more sockets."""
_MIN = 16
"""Files, and connections, that are allowed however low the limit is."""
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def raise_limit() -> None:
    """Raise the limit of this process as far as the system allows it, at most to `limits.DESCRIPTORS`."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, limits.DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # macOS has another limit beside the one that it reports.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def max_descriptors() -> int:
    """The number of descriptors that this process may have, as it is now."""
    if resource is None:
        return _UNKNOWN
    soft: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limits.DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def max_files() -> int:
    """The data files of all torrents together that may be open."""
    return max(_MIN, min(limits.OPEN_FILES, (max_descriptors() - limits.DESCRIPTORS_RESERVE) // 4))


def max_connections() -> int:
    """The connections of this process that may be open, inbound and outbound together."""
    return max(_MIN, max_descriptors() - limits.DESCRIPTORS_RESERVE - max_files())


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that the process, or the system, has no descriptor or buffer left: it passes."""
    return isinstance(error, OSError) and error.errno in _SHORTAGES
