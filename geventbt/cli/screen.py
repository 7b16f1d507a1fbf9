"""The terminal's second screen, on which a live view is drawn: nothing of it stays behind, however often the window is
resized, for windows move what is on the first screen into their history."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TextIO

from geventbt.cli.text import printable

_ENTER = "\x1b[?1049h\x1b[?25l"
# It is emptied first, for some terminals put what is on it into their history when they were resized.
_LEAVE = "\x1b[H\x1b[J\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR, _END_OF_LINE, _BELOW = "\x1b[H", "\x1b[2J", "\x1b[K", "\x1b[J"
_MESSAGES = 1000


class Screen:
    """Draws frames on the second screen of the terminal that standard error leads to.

    What is printed meanwhile on standard error, and on standard output if that leads to the terminal too, is kept, and
    printed on the first screen at the end. Ctrl-Z shows the first screen until the command goes on.

    Attributes:
        messages: the lines that were printed meanwhile.
    """

    def __init__(self) -> None:
        self.messages: list[str] = []
        self._terminal: TextIO = sys.stderr
        self._frame = ""
        self._size: tuple[int, int] | None = None
        self._replaced: list[tuple[str, TextIO]] = []
        self._enter()
        for name in ("stderr", "stdout"):
            stream = getattr(sys, name)
            if stream is not None and stream.isatty():
                self._replaced.append((name, stream))
                setattr(sys, name, _Lines(stream, self.messages))
        self._suspending = self._catch_suspend()

    def draw(self, lines: Sequence[str], size: tuple[int, int]) -> None:
        """Show these lines.

        Args:
            lines: with their colours, none of them wider than the window.
            size: columns and rows of the window.
        """
        shown = lines[: size[1]]
        frame = "\n".join(f"{line}{_END_OF_LINE}" for line in shown)
        if (frame, size) == (self._frame, self._size):
            return
        clear = _CLEAR if size != self._size else ""
        self._frame, self._size = frame, size
        self._write(f"{clear}{_HOME}{frame}{_BELOW}")

    def close(self) -> None:
        """Show the first screen, and print on it what was printed meanwhile."""
        if self._suspending is not None:
            self._suspending.cancel()
        for name, stream in self._replaced:
            setattr(sys, name, stream)
        self._write(_LEAVE)
        for line in self.messages:
            self._write(f"{line}\n")

    def _enter(self) -> None:
        self._size = None
        self._write(_ENTER)

    def _write(self, text: str) -> None:
        # The terminal may be gone by now.
        with suppress(OSError):
            self._terminal.write(text)
            self._terminal.flush()

    def _catch_suspend(self) -> Any:
        import gevent

        if not hasattr(signal, "SIGTSTP"):
            return None
        return gevent.signal_handler(signal.SIGTSTP, self._suspend)

    def _suspend(self) -> None:
        self._write(_LEAVE)
        os.kill(os.getpid(), signal.SIGSTOP)
        self._enter()


class _Lines:
    """A stream that keeps lines in place of printing them, the latest ones."""

    def __init__(self, stream: TextIO, lines: list[str]) -> None:
        self._stream = stream
        self._lines = lines
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        self._lines += map(printable, lines)
        del self._lines[:-_MESSAGES]
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)
