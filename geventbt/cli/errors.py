"""Exit codes, and the errors of the command line itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

DONE = 0
USAGE = 2
NOT_FOUND = 3
CORRUPT = 4
NETWORK = 5
DISK = 6
UNFINISHED = 7
TIMED_OUT = 8
HUNG_UP = 129
INTERRUPTED = 130
TERMINATED = 143
"""128 and the number of the signal, as shells say it."""


class CommandError(Exception):
    """An error of the command line itself.

    Args:
        code: the exit code.
        text: what happened, and what to do.
        details: lines to be shown below it.
    """

    def __init__(self, code: int, text: str, details: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.code = code
        self.details = details


class OutputClosed(Exception):
    """Standard output was closed by its reader, and this decides the exit code.

    Args:
        code: the exit code.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@contextmanager
def exit_code_if_output_closes(code: int) -> Iterator[None]:
    """Exit with `code` if the reader of standard output closes it meanwhile. Elsewhere the exit code is then 0, since
    the output of most commands is all of their work."""
    try:
        yield
    except BrokenPipeError as error:
        raise OutputClosed(code) from error


class Stopped(KeyboardInterrupt):
    """A signal that ends the command: Ctrl-C, SIGTERM or SIGHUP.

    Args:
        code: the exit code.
    """

    def __init__(self, code: int = INTERRUPTED) -> None:
        super().__init__()
        self.code = code


class Interrupted(Stopped):
    """The same, where it is known how far the work is.

    Args:
        text: how to resume; may be empty.
        done, wanted: bytes, or None where they are not known yet.
        code: the exit code.
    """

    def __init__(
        self, text: str = "", done: int | None = None, wanted: int | None = None, *, code: int = INTERRUPTED
    ) -> None:
        super().__init__(code)
        self.text = text
        self.done = done
        self.wanted = wanted
