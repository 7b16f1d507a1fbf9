"""Reads from the page cache, without a thread that could wait for the disk.

Linux reads what is in its page cache, and nothing else, if it is asked so (``RWF_NOWAIT``). A file system that keeps
its files in memory (tmpfs) does not know that flag, and never waits. *Measured*: a seed that need not hand every MiB to
a thread and back takes a ninth less processor time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

CachedRead: TypeAlias = Callable[[int, int, int], "bytes | bytearray | None"]
"""Reads from a descriptor, at an offset, a number of bytes; None if they are not all in memory."""

_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
MOUNTS = Path("/proc/self/mountinfo")
"""The mounted file systems, as Linux lists them."""
_IN_MEMORY = ("tmpfs", "ramfs")


def find_cached_read(descriptor: int) -> CachedRead | None:
    """How to read from this file what is in memory; None if that cannot be done."""
    if not _NOWAIT:
        return None
    try:
        _read_cached(descriptor, 0, 1)
    except OSError:
        return _read_memory if _is_in_memory(descriptor) else None
    return _read_cached


def _read_cached(descriptor: int, offset: int, length: int) -> bytearray | None:
    buffer = bytearray(length)
    try:
        return buffer if os.preadv(descriptor, [buffer], offset, _NOWAIT) == length else None
    except BlockingIOError:
        return None


def _read_memory(descriptor: int, offset: int, length: int) -> bytes | None:
    data = os.pread(descriptor, length, offset)
    return data if len(data) == length else None


def _is_in_memory(descriptor: int) -> bool:
    """Whether the file system keeps its files in memory. A line is "36 35 0:31 / /tmp rw shared:1 - tmpfs tmpfs rw"."""
    device = os.fstat(descriptor).st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return False
    for fields in map(str.split, lines):
        if fields[2] == name:
            return fields[fields.index("-") + 1] in _IN_MEMORY
    return False
