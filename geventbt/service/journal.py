"""Lines of a log as a service writes them: to a terminal or file with the time, to systemd's journal with their
priority."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Protocol, TextIO

_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))
"""Of syslog(3), each from a level on."""


class LineStream(Protocol):
    """Where lines go to, such as standard error."""

    def write(self, text: str, /) -> object:
        """Write lines, now or with `flush`."""

    def flush(self) -> object:
        """Write what is not written yet."""


class LogFile:
    """A file that lines are appended to; a `LineStream`.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(os.path.abspath(path))
        self._file = self._open()

    def _open(self) -> TextIO:
        return self._path.open("a", encoding="utf-8", errors="replace")

    def write(self, text: str, /) -> None:
        """Write lines with `flush`."""
        self._file.write(text)

    def flush(self) -> None:
        """Write what is not written yet."""
        self._file.flush()

    def reopen(self) -> None:
        """Go on in the file that has the name now: logrotate has moved the old one away.

        Raises:
            OSError: it cannot be written; the old one is still in use.
        """
        old, self._file = self._file, self._open()
        old.close()


class JournalHandler(logging.Handler):
    """Writes a line for each record; what comes from outside cannot make another one of it.

    Args:
        stream: where to.
        is_journal: whether systemd's journal reads it, which keeps the time itself.
    """

    def __init__(self, stream: LineStream | None = None, is_journal: bool | None = None) -> None:
        super().__init__()
        self._stream = stream or sys.stderr
        self._is_journal = reads_journal(self._stream) if is_journal is None else is_journal
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            text = record.getMessage() if self._is_journal else self.format(record)
            if record.exc_info and self._is_journal:
                text += "\n" + logging.Formatter().formatException(record.exc_info)
            prefix = f"<{priority_of(record.levelno)}>" if self._is_journal else ""
            lines = [f"{prefix}{''.join(map(_printable, line))}\n" for line in text.split("\n")]
            self._stream.write("".join(lines))
            self._stream.flush()
        except (OSError, ValueError):
            # Where nothing can be written any more, the work goes on.
            pass


def priority_of(level: int) -> int:
    """The priority of syslog(3) for a level of `logging`."""
    return next(priority for least, priority in _PRIORITIES if level >= least)


def reads_journal(stream: object) -> bool:
    """Whether a stream leads to systemd's journal; see systemd.exec(5), ``$JOURNAL_STREAM``."""
    try:
        status = os.fstat(stream.fileno())  # type: ignore[attr-defined]
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _printable(sign: str) -> str:
    return sign if sign.isprintable() or sign == "\t" else "\N{REPLACEMENT CHARACTER}"
