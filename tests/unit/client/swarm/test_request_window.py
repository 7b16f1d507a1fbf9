"""How many requests a peer is given, and when it has snubbed us."""

from __future__ import annotations

import pytest

from geventbt import limits
from geventbt.client.swarm.request_window import RequestWindow


def deliver(window: RequestWindow, rate: float, seconds: float, start: float = 0.0, reqq: int = 2000) -> float:
    """A peer that always has requests answers them at a rate in blocks a second; returns the time after."""
    now = start
    window.on_requests(now)
    while now < start + seconds:
        step = max(1 / rate, 0.01)
        now += step
        window.on_blocks(max(1, round(step * rate)), window.size(reqq, now), now)
    return now


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


def test_a_slow_peer_is_given_what_it_delivers_in_three_seconds():
    window = RequestWindow()
    now = deliver(window, 1.25, 60)
    assert window.size(250, now) == 4
    window = RequestWindow()
    now = deliver(window, 20, 20)
    assert window.size(250, now) == pytest.approx(60, abs=5)


def test_the_slowest_peer_is_given_two():
    window = RequestWindow()
    now = deliver(window, 0.1, 60)
    assert window.size(250, now) == 2


def test_the_window_follows_a_peer_that_becomes_faster_or_slower():
    window = RequestWindow()
    now = deliver(window, 10, 20)
    now = deliver(window, 100, 2, now)
    assert window.size(2000, now) == pytest.approx(300, rel=0.1)
    now = deliver(window, 10, 20, now)
    assert window.size(2000, now) == pytest.approx(30, abs=5)


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
    assert window.size(2000, now) == pytest.approx(300, rel=0.1)


def test_a_peer_whose_first_block_does_not_come_has_snubbed_us_after_twenty_seconds():
    window = RequestWindow()
    window.on_requests(100)
    assert not window.snubbed(119)
    assert window.snubbed(121)


def test_more_requests_do_not_extend_the_patience():
    window = RequestWindow()
    for now in range(22):
        window.on_requests(now)
    assert window.snubbed(21)


def test_a_peer_that_owes_nothing_never_snubs_us():
    window = RequestWindow()
    assert not window.snubbed(1e9)
    window.on_requests(0)
    window.on_blocks(4, 0, 1)
    assert not window.snubbed(1e9)


def test_a_fast_peer_snubs_us_sooner_than_one_that_makes_long_pauses():
    fast, slow = RequestWindow(), RequestWindow()
    assert deliver(fast, 1000, 10) == pytest.approx(10, abs=0.1)
    deliver(slow, 0.1, 100)
    assert fast.timeout == limits.MIN_SNUB_TIMEOUT
    assert 20 <= slow.timeout <= limits.MAX_SNUB_TIMEOUT


def test_no_patience_is_longer_than_a_minute():
    window = RequestWindow()
    deliver(window, 0.01, 300)
    assert window.timeout == limits.MAX_SNUB_TIMEOUT


def test_a_stall_is_forgotten_after_some_pauses_that_are_much_shorter():
    window = RequestWindow()
    window.on_requests(0)
    for time in (30, 35, 40):
        window.on_blocks(1, 5, time)
        assert window.timeout >= 90
    window.on_blocks(1, 5, 45)
    assert window.timeout == 15


def test_the_pauses_between_bursts_are_what_is_usual():
    """A hundred blocks at once every four seconds: the pauses inside a burst must not hide those between."""
    window = RequestWindow()
    window.on_requests(0)
    for burst in range(1, 20):
        for _ in range(100):
            window.on_blocks(1, 10, burst * 4.0)
        assert not window.snubbed(burst * 4 + 3.9)


def test_a_peer_that_snubs_us_is_given_one_request_until_its_next_block():
    window = RequestWindow()
    now = deliver(window, 1000, 5)
    assert window.size(2000, now) == 500
    assert window.size(2000, now + 3) == 1
    window.on_timeout(now + 3)
    window.on_blocks(1, 1, now + 4)
    assert not window.snubbed(now + 4)
    assert window.size(2000, now + 4) == limits.MIN_REQUESTS
    now = deliver(window, 1000, 5, now + 4)
    assert window.size(2000, now) == 500


def silent_until_asked_again() -> RequestWindow:
    """One of a quick peer without the fast extension that was silent for a minute, and answers another request."""
    window = RequestWindow(rejects=False)
    now = deliver(window, 1000, 5)
    window.on_timeout(now + 3)
    window.on_requests(now + 60)
    window.on_blocks(1, 1, now + 60)
    deliver(window, 1000, 3, now + 60)
    return window


def test_a_silence_after_which_only_another_request_was_answered_is_not_usual_for_a_peer():
    assert silent_until_asked_again().timeout == limits.MIN_SNUB_TIMEOUT


def test_a_silence_after_which_a_late_block_comes_is_usual_for_a_peer():
    window = silent_until_asked_again()
    window.on_late_block()
    assert window.timeout > 60


def test_a_choke_after_a_long_silence_is_a_snub_all_the_same():
    window = RequestWindow()
    window.on_requests(0)
    window.on_idle(30)
    window.on_requests(40)
    assert window.snubbed(40)
    window.on_blocks(1, 0, 41)
    assert not window.snubbed(41)


def test_a_choke_at_once_is_no_snub():
    window = RequestWindow()
    window.on_requests(0)
    window.on_idle(1)
    assert not window.snubbed(1000)


# --- while there is a reader ---


def delivered(window: RequestWindow, rate: int, seconds: float, start: float = 0.0, delay: float = 0.1) -> float:
    """Deliver blocks one by one at a rate. Returns the time."""
    window.on_requests(start)
    now = start + delay
    for _ in range(int(rate * seconds)):
        window.on_blocks(1, 100, now)
        now += 1 / rate
    return now - 1 / rate


def test_while_there_is_a_reader_less_is_asked_for_ahead():
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    assert window.size(1000, now) == pytest.approx(50 * limits.REQUEST_QUEUE_TIME, rel=0.1)
    most = limits.READER_QUEUE_TIME + 1.25 * 0.12
    assert window.size(1000, now, is_read=True) == pytest.approx(50 * most, abs=1.5)
    assert window.size(1000, now) == pytest.approx(50 * limits.REQUEST_QUEUE_TIME, rel=0.1)


def test_a_window_for_a_reader_does_not_shrink_because_it_was_small():
    """It is emptied twice as slowly as before, as its peer is busy: the window stays, or it would shrink for ever."""
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    before = window.size(1000, now, is_read=True)
    now = delivered(window, 25, 6.0, now)
    assert window.size(1000, now, is_read=True) >= 0.8 * before


def test_what_is_asked_for_comes_behind_what_was_asked_for_before():
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    delivery = window.delivery(10, now, patience=0.3)
    assert delivery.first - now == pytest.approx(11 / 50, abs=0.02)
    assert delivery.interval == pytest.approx(1 / 50, rel=0.05)
    assert delivery.grace == now + 0.3
    assert window.expected(10, now) - now == pytest.approx(11 / 50, abs=0.02)
    assert window.under_way in (5, 6)


def test_what_is_asked_for_behind_little_takes_a_round_trip():
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    assert window.delivery(1, now).first - now == pytest.approx(0.1 + 2 / 50, abs=0.02)


def test_after_a_pause_a_reader_s_window_is_longer_by_it_and_so_is_what_is_counted_on():
    """For some seconds: it was a packet that was lost, and there may be others."""
    window, even = RequestWindow(), RequestWindow()
    now = delivered(window, 50, 6.0)
    delivered(even, 50, 6.0)
    window.on_blocks(1, 9, now + 0.3)
    assert window.size(1000, now, is_read=True) - even.size(1000, now, is_read=True) == pytest.approx(15, abs=2)
    later = window.delivery(10, now + 0.3).first - now - 0.3 - (even.delivery(10, now).first - now)
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


@pytest.mark.parametrize(("owed", "delay"), [(0, 0.01), (2, 0.1)])
def test_a_round_trip_is_measured_where_nothing_else_can_come_first(owed, delay):
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    window.on_idle(now)
    window.on_requests(now + 5, owed)
    window.on_blocks(1, 0, now + 5.01)
    assert window.delay == pytest.approx(delay, abs=0.03)


def test_what_is_silent_for_too_long_is_expected_later_and_later():
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    waits = [window.expected(0, now + silence) - now - silence for silence in (0.0, 0.06, 0.5, 1.0)]
    assert waits[0] == pytest.approx(waits[1], abs=0.01)
    assert waits[1] < 0.5 < waits[2] < waits[3] - 0.5


def test_what_was_asked_for_is_expected_without_a_pause_and_what_is_to_be_asked_for_with_one():
    """Or a peer that is held up now and then would have each request asked of another as well."""
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    window.on_blocks(1, 9, now + 0.3)
    assert window.expected(9, now + 0.3) - now - 0.3 == pytest.approx(10 / 50, abs=0.02)
    assert window.delivery(9, now + 0.3).first - now - 0.3 == pytest.approx(10 / 50 + 0.3, abs=0.03)


def test_what_was_cancelled_may_come_first_for_as_long_as_that_would_take():
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    assert window.ghosts(30, now) == 0
    window.on_cancel(5, 30, now)
    assert window.ghosts(30, now + 0.5) == 30
    assert window.ghosts(30, now + 2.0) == 0


def test_what_a_peer_sends_although_it_is_cancelled_is_not_cancelled_again():
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    window.on_cancel(5, 20, now)
    for _ in range(20):
        window.on_late_block()
    assert window.under_way == 25


def test_what_comes_after_several_cancels_does_not_add_up():
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    for _ in range(10):
        window.on_cancel(5, 10, now)
        for _ in range(4):
            window.on_late_block()
    assert window.under_way == 9


def test_a_peer_cannot_have_sent_more_than_was_cancelled():
    """What comes beyond was cancelled for another reason: it has come from another peer."""
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    window.on_cancel(5, 3, now)
    for _ in range(20):
        window.on_late_block()
    assert window.under_way == 8


def test_what_a_peer_sent_although_it_was_cancelled_is_forgotten_by_and_by():
    window = RequestWindow()
    now = delivered(window, 50, 6.0)
    before = window.under_way
    window.on_cancel(5, 20, now)
    for _ in range(20):
        window.on_late_block()
    deliver(window, 50, 30.0, now)
    assert window.under_way <= before
