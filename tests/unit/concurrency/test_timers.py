"""The delays of timers."""

from __future__ import annotations

import pytest

from geventbt.concurrency.timers import delay_until


@pytest.mark.parametrize(
    ("when", "delay"), [(5.0, 0.0), (4.0, 0.0), (5.0001, 0.001), (5.25, 0.25), (float("inf"), float("inf"))]
)
def test_a_timer_fires_at_once_or_after_a_millisecond_at_the_least(when: float, delay: float) -> None:
    assert delay_until(when, 5.0) == delay
