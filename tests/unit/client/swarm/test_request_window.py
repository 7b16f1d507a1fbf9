"""How many requests a peer is given."""

from __future__ import annotations

import pytest

from geventbt import limits
from geventbt.client.swarm.request_window import RequestWindow
from tests.unit.window_helpers import deliver, delivered


def test_a_new_peer_is_given_four_requests():
    assert RequestWindow().size(250, 0) == 4


def test_the_window_doubles_each_round_trip_until_the_bound():
    window = RequestWindow()
    window.on_requests(0)
    sizes = []
    for trip in range(1, 9):
        size = window.size(2000, trip * 0.05)
        sizes.append(size)
        window.on_blocks(size, size, trip * 0.05)
    assert sizes == [4, 8, 16, 32, 64, 128, 256, 500]


def test_the_fastest_peer_of_loopback_is_given_as_many_as_there_may_be():
    window = RequestWindow()
    now = deliver(window, 65_000, 3)
    assert window.size(2000, now) == limits.REQUESTS


def test_a_slow_peer_is_given_what_it_delivers_in_a_second():
    window = RequestWindow()
    now = deliver(window, 4, 60)
    assert window.size(250, now) == pytest.approx(4, abs=1)
    window = RequestWindow()
    now = deliver(window, 20, 20)
    assert window.size(250, now) == pytest.approx(20, abs=2)


def test_the_slowest_peer_is_given_two():
    window = RequestWindow()
    now = deliver(window, 0.1, 60)
    assert window.size(250, now) == 2


def test_the_window_follows_a_peer_that_becomes_faster_or_slower():
    window = RequestWindow()
    now = deliver(window, 10, 20)
    now = deliver(window, 100, 2, now)
    assert window.size(2000, now) == pytest.approx(100, rel=0.1)
    now = deliver(window, 10, 20, now)
    assert window.size(2000, now) == pytest.approx(10, abs=2)


def test_the_peer_s_own_bound_is_kept_and_one_request_is_always_allowed():
    window = RequestWindow()
    now = deliver(window, 10_000, 3)
    assert window.size(100, now) == 100
    assert window.size(0, now) == 1
    assert window.size(-5, now) == 1


def test_time_in_which_nothing_was_asked_for_does_not_make_a_peer_slow():
    window = RequestWindow()
    now = deliver(window, 100, 5)
    window.on_blocks(1, 0, now)
    now = deliver(window, 100, 2, now + 1000)
    assert window.size(2000, now) == pytest.approx(100, rel=0.1)


def test_a_peer_that_snubs_us_is_given_one_request_until_its_next_block():
    window = RequestWindow()
    now = deliver(window, 1000, 5)
    assert window.size(2000, now) == 500
    assert window.size(2000, now + 3) == 1
    window.on_timeout(now + 3)
    window.on_blocks(1, 1, now + 4)
    assert not window.patience.snubbed(now + 4)
    assert window.size(2000, now + 4) == limits.MIN_REQUESTS
    now = deliver(window, 1000, 5, now + 4)
    assert window.size(2000, now) == 500


def test_while_there_is_a_reader_less_is_asked_for_ahead():
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    assert window.size(1000, now) == pytest.approx(50 * limits.MIN_REQUEST_TIME, rel=0.1)
    most = limits.READER_QUEUE_TIME + 1.25 * 0.12
    assert window.size(1000, now, is_read=True) == pytest.approx(50 * most, abs=1.5)
    assert window.size(1000, now) == pytest.approx(50 * limits.MIN_REQUEST_TIME, rel=0.1)


def test_a_window_for_a_reader_does_not_shrink_because_it_was_small():
    """It is emptied twice as slowly as before, as its peer is busy: the window stays, or it would shrink for ever."""
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    before = window.size(1000, now, is_read=True)
    now = delivered(window, 25, 6.0, now)
    assert window.size(1000, now, is_read=True) >= 0.8 * before


def test_after_a_pause_a_reader_s_window_is_longer_by_it_and_so_is_what_is_counted_on():
    """For some seconds: it was a packet that was lost, and there may be others."""
    window, even = RequestWindow(), RequestWindow()
    now = delivered(window, 50, 6.0)
    delivered(even, 50, 6.0)
    window.on_blocks(1, 9, now + 0.3)
    assert window.size(1000, now, is_read=True) - even.size(1000, now, is_read=True) == pytest.approx(15, abs=2)
    later = window.pace.delivery(10, now + 0.3).first - now - 0.3 - (even.pace.delivery(10, now).first - now)
    assert later == pytest.approx(0.3, abs=0.03)
    usual = even.size(1000, now, is_read=True)
    now = delivered(window, 50, 20.0, now + 0.3)
    assert window.size(1000, now, is_read=True) == pytest.approx(usual, abs=2)


def test_it_is_no_pause_when_what_was_cancelled_comes_meanwhile():
    window, even = RequestWindow(), RequestWindow()
    now = delivered(window, 50, 6.0)
    delivered(even, 50, 6.0)
    window.on_late_block()
    window.on_blocks(1, 9, now + 0.3)
    assert window.size(1000, now + 0.3, is_read=True) == even.size(1000, now, is_read=True)
