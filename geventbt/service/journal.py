"""Lines of a log as a service writes them: to a terminal with the time, to systemd's journal with their priority."""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))
"""Of syslog(3), each from a level on."""


class JournalHandler(logging.Handler):
    """Writes a line for each record; what comes from outside cannot make another one of it.

    Args:
        stream: where to.
        is_journal: whether systemd's journal reads it, which keeps the time itself.
    """

    def __init__(self, stream: TextIO | None = None, is_journal: bool | None = None) -> None:
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


def reads_journal(stream: TextIO) -> bool:
    """Whether a stream leads to systemd's journal; see systemd.exec(5), ``$JOURNAL_STREAM``."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _printable(sign: str) -> str:
    return sign if sign.isprintable() or sign == "\t" else "\N{REPLACEMENT CHARACTER}"
