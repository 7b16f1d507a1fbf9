"""When a peer has snubbed us."""

from __future__ import annotations

import pytest

from geventbt import limits
from geventbt.client.swarm.request_window import RequestWindow
from tests.unit.window_helpers import deliver


def test_a_peer_whose_first_block_does_not_come_has_snubbed_us_after_twenty_seconds():
    window = RequestWindow()
    window.on_requests(100)
    assert not window.patience.snubbed(119)
    assert window.patience.snubbed(121)


def test_more_requests_do_not_extend_the_patience():
    window = RequestWindow()
    for now in range(22):
        window.on_requests(now)
    assert window.patience.snubbed(21)


def test_a_peer_that_owes_nothing_never_snubs_us():
    window = RequestWindow()
    assert not window.patience.snubbed(1e9)
    window.on_requests(0)
    window.on_blocks(4, 0, 1)
    assert not window.patience.snubbed(1e9)


def test_a_fast_peer_snubs_us_sooner_than_one_that_makes_long_pauses():
    fast, slow = RequestWindow(), RequestWindow()
    assert deliver(fast, 1000, 10) == pytest.approx(10, abs=0.1)
    deliver(slow, 0.1, 100)
    assert fast.patience.timeout == limits.MIN_SNUB_TIMEOUT
    assert 20 <= slow.patience.timeout <= limits.MAX_SNUB_TIMEOUT


def test_no_patience_is_longer_than_a_minute():
    window = RequestWindow()
    deliver(window, 0.01, 300)
    assert window.patience.timeout == limits.MAX_SNUB_TIMEOUT


def test_a_stall_is_forgotten_after_some_pauses_that_are_much_shorter():
    window = RequestWindow()
    window.on_requests(0)
    for time in (30, 35, 40):
        window.on_blocks(1, 5, time)
        assert window.patience.timeout >= 90
    window.on_blocks(1, 5, 45)
    assert window.patience.timeout == 15


def test_the_pauses_between_bursts_are_what_is_usual():
    """A hundred blocks at once every four seconds: the pauses inside a burst must not hide those between."""
    window = RequestWindow()
    window.on_requests(0)
    for burst in range(1, 20):
        for _ in range(100):
            window.on_blocks(1, 10, burst * 4.0)
        assert not window.patience.snubbed(burst * 4 + 3.9)


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
    assert silent_until_asked_again().patience.timeout == limits.MIN_SNUB_TIMEOUT


def test_a_silence_after_which_a_late_block_comes_is_usual_for_a_peer():
    window = silent_until_asked_again()
    window.on_late_block()
    assert window.patience.timeout > 60


def test_a_choke_after_a_long_silence_is_a_snub_all_the_same():
    window = RequestWindow()
    window.on_requests(0)
    window.on_idle(30)
    window.on_requests(40)
    assert window.patience.snubbed(40)
    window.on_blocks(1, 0, 41)
    assert not window.patience.snubbed(41)


def test_a_choke_at_once_is_no_snub():
    window = RequestWindow()
    window.on_requests(0)
    window.on_idle(1)
    assert not window.patience.snubbed(1000)
