"""For how many seconds ahead a peer is asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventbt import limits
from geventbt.client.swarm.request_time import RequestTime

LEAST, MOST = limits.MIN_REQUEST_TIME, limits.MAX_REQUEST_TIME


def asked(rates: list[float], delay: float = 0.05) -> list[float]:
    """The seconds that are asked for after each sample."""
    time = RequestTime()
    seconds = []
    for rate in rates:
        time.on_sample(rate, delay)
        seconds.append(time.seconds)
    return seconds


@pytest.mark.parametrize("rates", [[50.0] * 20, [50.0, 40.0] * 10, [10.0 + second for second in range(20)]])
def test_a_peer_whose_speed_does_not_fall_is_asked_for_a_second(rates):
    assert asked(rates) == [LEAST] * 20


def test_over_a_long_way_it_is_a_round_trip_and_a_quarter_and_never_more_than_the_most():
    assert asked([50.0], delay=1.2) == [pytest.approx(1.5)]
    assert asked([50.0], delay=60.0) == [MOST]


def test_where_the_speed_has_fallen_more_is_asked_for_and_later_no_more():
    seconds = asked([50.0] * 3 + [20.0] * 20)
    assert seconds[3] == MOST
    assert seconds[-1] == LEAST
    assert seconds.count(MOST) < 6


def test_a_speed_that_fades_for_other_reasons_does_not_make_us_ask_for_more_all_the_time():
    rates = [50 * 0.98**second for second in range(200)]
    assert asked(rates).count(MOST) < 50


@given(rate=st.floats(2, 1000), answer=st.floats(0.01, 2.7))
def test_a_peer_that_takes_long_to_answer_is_kept_busy_most_of_the_time(rate, answer):
    """It answers what is asked for, at its own rate, so much later."""
    time, asked_for, delivered = RequestTime(), rate * MOST, []
    for _ in range(200):
        delivered.append(min(rate, asked_for / answer))
        time.on_sample(delivered[-1], delay=0.05)
        asked_for = delivered[-1] * time.seconds
    assert sum(delivered[100:]) >= 0.6 * 100 * rate


def test_a_peer_that_does_not_reject_is_asked_for_more():
    time = RequestTime(rejects=False)
    time.on_sample(50.0, 0.05)
    assert time.seconds == MOST


def test_a_peer_that_was_lost_is_judged_anew():
    time = RequestTime()
    time.on_sample(50.0, 0.05)
    time.forget()
    time.on_sample(5.0, 0.05)
    assert time.seconds == LEAST
