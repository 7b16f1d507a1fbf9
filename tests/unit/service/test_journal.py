"""Lines of the log, for a terminal and for the journal."""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path

import pytest

from geventbt.service.journal import JournalHandler, priority_of, reads_journal


def written(record_level: int, text: str, *, is_journal: bool) -> str:
    stream = io.StringIO()
    record = logging.LogRecord("geventbt", record_level, "", 0, text, None, None)
    JournalHandler(stream, is_journal).emit(record)
    return stream.getvalue()


def test_the_journal_gets_priorities_and_the_terminal_the_time() -> None:
    assert written(logging.WARNING, "a warning", is_journal=True) == "<4>a warning\n"
    assert written(logging.WARNING, "a warning", is_journal=False).endswith(" WARNING a warning\n")
    assert [priority_of(level) for level in (10, 20, 30, 40, 50)] == [7, 6, 4, 3, 3]


def test_text_from_outside_moves_no_cursor() -> None:
    assert "\x1b" not in written(logging.INFO, "a \x1b[2J name", is_journal=True)


def test_the_journal_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(tmp_path / "log", "w") as file:
        status = os.fstat(file.fileno())
        assert not reads_journal(file)
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert reads_journal(file)
    assert not reads_journal(io.StringIO())


def test_a_log_that_is_gone_stops_nothing() -> None:
    stream = io.StringIO()
    handler = JournalHandler(stream, True)
    stream.close()
    handler.emit(logging.LogRecord("geventbt", 20, "", 0, "text", None, None))
