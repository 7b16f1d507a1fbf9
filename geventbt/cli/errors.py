"""The exit codes, and the error of the command line itself."""

from __future__ import annotations

DONE = 0
USAGE = 2
NOT_FOUND = 3
CORRUPT = 4
NETWORK = 5
DISK = 6
UNFINISHED = 7
TIMED_OUT = 8
INTERRUPTED = 130


class CommandError(Exception):
    """An error that the command line itself has found.

    Args:
        code: the exit code.
        text: what happened, and what to do.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, where it is known how far the work is.

    Args:
        text: how to go on; may be empty.
        done, wanted: bytes, or None where they are not known yet.
    """

    def __init__(self, text: str = "", done: int | None = None, wanted: int | None = None) -> None:
        super().__init__(text)
        self.done = done
        self.wanted = wanted
