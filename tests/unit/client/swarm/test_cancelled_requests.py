"""What comes although it was cancelled."""

from __future__ import annotations

from geventbt.client.swarm.request_window import RequestWindow
from tests.unit.window_helpers import deliver, delivered


def test_what_was_cancelled_may_come_first_for_as_long_as_that_would_take():
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    assert window.cancelled.ghosts(30, now) == 0
    window.cancelled.on_cancel(5, 30, now)
    assert window.cancelled.ghosts(30, now + 0.5) == 30
    assert window.cancelled.ghosts(30, now + 2.0) == 0


def test_what_a_peer_sends_although_it_is_cancelled_is_not_cancelled_again():
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    window.cancelled.on_cancel(5, 20, now)
    for _ in range(20):
        window.on_late_block()
    assert window.cancelled.under_way == 25


def test_what_comes_after_several_cancels_does_not_add_up():
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    for _ in range(10):
        window.cancelled.on_cancel(5, 10, now)
        for _ in range(4):
            window.on_late_block()
    assert window.cancelled.under_way == 9


def test_a_peer_cannot_have_sent_more_than_was_cancelled():
    """What comes beyond was cancelled for another reason: it has come from another peer."""
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    window.cancelled.on_cancel(5, 3, now)
    for _ in range(20):
        window.on_late_block()
    assert window.cancelled.under_way == 8


def test_what_a_peer_sent_although_it_was_cancelled_is_forgotten_by_and_by():
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    before = window.cancelled.under_way
    window.cancelled.on_cancel(5, 20, now)
    for _ in range(20):
        window.on_late_block()
    deliver(window, 50, 30.0, now)
    assert window.cancelled.under_way <= before
