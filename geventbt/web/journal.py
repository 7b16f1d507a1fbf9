"""The last lines of the log, for the page."""

from __future__ import annotations

import logging
import time
import weakref
from collections import deque
from typing import TypeAlias

from geventbt import limits
from geventbt.net.text import clean_text

Line: TypeAlias = tuple[int, float, str, str]
"""Its number, its time in seconds since 1970, its level such as "warning", and its text."""


class Journal:
    """Keeps what the library warns of, and what is noted here, as long as it lives itself."""

    def __init__(self) -> None:
        self._lines: deque[Line] = deque(maxlen=limits.WEB_LOG_LINES)
        handler = _Handler(self._lines)
        logging.getLogger("geventbt").addHandler(handler)
        weakref.finalize(self, logging.getLogger("geventbt").removeHandler, handler)

    def note(self, text: str) -> None:
        """Add a line of ours."""
        _append(self._lines, time.time(), "info", text)

    def after(self, number: int) -> list[Line]:
        """The lines behind one; all that there are, for 0."""
        return [line for line in self._lines if line[0] > number]

    @property
    def last(self) -> int:
        """The number of the last line; 0 if there is none."""
        return self._lines[-1][0] if self._lines else 0


class _Handler(logging.Handler):
    """Appends what is logged. It holds no reference to the journal, so that the one ends with the other."""

    def __init__(self, lines: deque[Line]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        _append(self._lines, record.created, record.levelname.lower(), record.getMessage())


def _append(lines: deque[Line], when: float, level: str, text: str) -> None:
    lines.append((lines[-1][0] + 1 if lines else 1, round(when, 3), level, clean_text(text)))
