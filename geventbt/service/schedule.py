"""When the slow rates of a service hold: on some days of the week, between two times of day. Pure."""

from __future__ import annotations

_DAY = 24 * 60
"""Minutes."""


def is_slow_at(day: int, minute: int, begin: int, end: int, days: int) -> bool:
    """Whether a moment is in the slow time.

    Args:
        day: of the week, 0 for Sunday.
        minute: since midnight.
        begin, end: of the slow time, in minutes since midnight; one that does not end after it begins ends on the next
            day.
        days: on which it begins, as bits: 1 for Sunday, 64 for Saturday.
    """
    length = end - begin if end > begin else end - begin + _DAY
    return any(
        days >> (day - ago) % 7 & 1 and begin <= minute + ago * _DAY < begin + length
        # It may have begun the day before.
        for ago in (0, 1)
    )
