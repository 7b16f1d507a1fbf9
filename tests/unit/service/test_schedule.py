"""When the slow rates of a service hold."""

from __future__ import annotations

import pytest

from geventbt.service.schedule import is_slow_at

SUNDAY, MONDAY, SATURDAY = 0, 1, 6
EVERY_DAY = 127


@pytest.mark.parametrize(
    ("day", "minute", "is_slow"),
    [(MONDAY, 539, False), (MONDAY, 540, True), (MONDAY, 1019, True), (MONDAY, 1020, False), (SUNDAY, 600, False)],
)
def test_it_lasts_from_its_beginning_to_its_end_on_its_days(day: int, minute: int, is_slow: bool) -> None:
    assert is_slow_at(day, minute, 540, 1020, 1 << MONDAY) is is_slow


@pytest.mark.parametrize(
    ("day", "minute", "is_slow"),
    [(SATURDAY, 1379, False), (SATURDAY, 1380, True), (SUNDAY, 0, True), (SUNDAY, 59, True), (SUNDAY, 60, False)],
)
def test_one_that_ends_before_it_begins_ends_on_the_next_day(day: int, minute: int, is_slow: bool) -> None:
    assert is_slow_at(day, minute, 1380, 60, 1 << SATURDAY) is is_slow


def test_equal_times_are_a_whole_day() -> None:
    assert all(is_slow_at(day, minute, 60, 60, EVERY_DAY) for day in range(7) for minute in (0, 59, 60, 1439))
    assert not is_slow_at(MONDAY, 59, 60, 60, 1 << MONDAY)


def test_no_day_is_never() -> None:
    assert not any(is_slow_at(day, minute, 0, 1439, 0) for day in range(7) for minute in range(0, 1440, 60))
