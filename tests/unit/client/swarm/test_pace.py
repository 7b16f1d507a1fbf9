"""When a peer delivers what it is asked for."""

from __future__ import annotations

import pytest

from geventbt.client.swarm.request_window import RequestWindow
from tests.unit.window_helpers import delivered


def test_what_is_asked_for_comes_behind_what_was_asked_for_before():
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    delivery = window.pace.delivery(10, now, patience=0.3)
    assert delivery.first - now == pytest.approx(11 / 50, abs=0.02)
    assert delivery.interval == pytest.approx(1 / 50, rel=0.05)
    assert delivery.grace == now + 0.3
    assert window.pace.expected(10, now) - now == pytest.approx(11 / 50, abs=0.02)
    assert window.cancelled.under_way in (5, 6)


def test_what_is_asked_for_behind_little_takes_a_round_trip():
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    assert window.pace.delivery(1, now).first - now == pytest.approx(0.1 + 2 / 50, abs=0.02)


@pytest.mark.parametrize(("owed", "delay"), [(0, 0.01), (2, 0.1)])
def test_a_round_trip_is_measured_where_nothing_else_can_come_first(owed, delay):
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    window.on_idle(now)
    window.on_requests(now + 5, owed)
    window.on_blocks(1, 0, now + 5.01)
    assert window.pace.delay == pytest.approx(delay, abs=0.03)


def test_what_is_silent_for_too_long_is_expected_later_and_later():
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    waits = [window.pace.expected(0, now + silence) - now - silence for silence in (0.0, 0.06, 0.5, 1.0)]
    assert waits[0] == pytest.approx(waits[1], abs=0.01)
    assert waits[1] < 0.5 < waits[2] < waits[3] - 0.5


def test_what_was_asked_for_is_expected_without_a_pause_and_what_is_to_be_asked_for_with_one():
    """Or a peer that is held up now and then would have each request asked of another as well."""
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    window.on_blocks(1, 9, now + 0.3)
    assert window.pace.expected(9, now + 0.3) - now - 0.3 == pytest.approx(10 / 50, abs=0.02)
    assert window.pace.expected(9, now + 0.3, at_worst=True) - now - 0.3 == pytest.approx(10 / 50 + 0.3, abs=0.03)
    assert window.pace.delivery(9, now + 0.3).first - now - 0.3 == pytest.approx(10 / 50 + 0.3, abs=0.03)
