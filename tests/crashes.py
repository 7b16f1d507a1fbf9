"""Processes that are killed, for programs that see what is left on the disk.

They fork, which a process with threads cannot do safely: so the tests start these programs, and do not fork themselves.
"""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from typing import Any

CHANGES = ("mkdir", "ftruncate", "fsync", "fdatasync", "utime", "replace", "unlink", "posix_fallocate")


class Fuse:
    """Kills this process when the disk is to be changed for the given time; a write is then done by half.

    Args:
        length: how many changes are let through.
    """

    def __init__(self, length: int) -> None:
        self._left = length
        self._pwrite, self._open = os.pwrite, os.open
        for name in CHANGES:
            setattr(os, name, self._burning(getattr(os, name)))
        os.pwrite, os.open = self._write, self._make  # type: ignore[assignment]

    def _burn(self) -> bool:
        self._left -= 1
        return self._left < 0

    def _burning(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def burn(*arguments: Any, **options: Any) -> Any:
            if self._burn():
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return burn

    def _write(self, descriptor: int, data: memoryview, offset: int) -> int:
        if self._burn():
            self._pwrite(descriptor, data[: len(data) // 2], offset)
            os.kill(os.getpid(), signal.SIGKILL)
        return self._pwrite(descriptor, data, offset)

    def _make(self, path: Any, flags: int, *arguments: int) -> int:
        if flags & os.O_CREAT and self._burn():
            os.kill(os.getpid(), signal.SIGKILL)
        return self._open(path, flags, *arguments)


def start(work: Callable[[], object]) -> int:
    """Run a function in a forked process. Returns its process id."""
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def end_of(child: int) -> int:
    """Wait for a process. Returns its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def in_child(work: Callable[[], object]) -> int:
    """Run a function in a forked process to its end. Returns the exit code, negative for a signal."""
    return end_of(start(work))
