"""A bucket of bytes that fills by the clock."""

from __future__ import annotations

import pytest

from geventbt import limits
from geventbt.rates.token_bucket import RateLimit

RATE = 1_000_000
BURST = 250_000


def test_no_rate_is_no_limit():
    unlimited = RateLimit(None, 0)
    assert unlimited.take(1 << 40, 0) == 1 << 40
    assert unlimited.wait_for(1 << 40, 0) == 0


def test_a_burst_is_a_quarter_of_a_second_and_at_least_two_blocks():
    assert RateLimit(RATE, 0).burst == BURST
    assert RateLimit(1, 0).burst == 2 * limits.BLOCK


def test_after_the_burst_there_is_what_the_time_brings():
    limit = RateLimit(RATE, 10)
    assert limit.take(10 * RATE, 10) == BURST
    assert limit.take(RATE, 10) == 0
    assert limit.take(RATE, 10.125) == 125_000
    assert limit.take(1000, 10.25) == 1000
    assert limit.take(RATE, 10.25) == 124_000


def test_a_pause_saves_no_more_than_a_burst():
    limit = RateLimit(RATE, 0)
    limit.take(BURST, 0)
    assert limit.take(RATE, 3600) == BURST


def test_a_clock_that_goes_back_stands_still():
    limit = RateLimit(RATE, 10)
    assert limit.take(1000, 5) == 1000
    limit.take(BURST, 10)
    assert limit.take(RATE, 5) == 0
    assert limit.take(RATE, 10.125) == 125_000


def test_the_wait_is_until_there_is_enough():
    limit = RateLimit(RATE, 0)
    assert limit.wait_for(1000, 0) == 0
    limit.take(BURST, 0)
    assert limit.wait_for(1000, 0) == pytest.approx(0.001)
    assert not limit.affords(1000, 0.0009)
    assert limit.affords(1000, 0.0011)


def test_for_who_waits_for_more_than_a_burst_more_is_saved():
    limit = RateLimit(RATE, 0)
    assert limit.wait_for(3 * BURST, 0) == pytest.approx(0.5)
    assert not limit.affords(3 * BURST, 0.4)
    assert limit.affords(3 * BURST, 0.6)
    assert limit.take(3 * BURST, 0.6) == 3 * BURST
    assert limit.take(BURST, 0.6) == 0


def test_bytes_that_were_not_used_can_be_given_back_up_to_the_burst():
    limit = RateLimit(RATE, 0)
    limit.take(BURST, 0)
    limit.give_back(1000)
    assert limit.take(RATE, 0) == 1000
    limit.give_back(100 * RATE)
    assert limit.take(100 * RATE, 0) == BURST


def test_a_new_rate_holds_from_when_it_is_set():
    limit = RateLimit(RATE, 0)
    limit.take(BURST, 0)
    limit.set_rate(2 * RATE, 0.1)
    assert limit.rate == 2 * RATE
    assert limit.take(RATE, 0.2) == 100_000 + 200_000
    limit.give_back(limit.burst)
    limit.set_rate(1000, 0.2)
    assert limit.take(RATE, 0.2) == 2 * limits.BLOCK
    assert limit.take(RATE, 3600) == limit.burst == 2 * limits.BLOCK


def test_a_rate_can_be_lifted_and_set_again_without_a_burst():
    limit = RateLimit(RATE, 0)
    limit.take(BURST, 0)
    limit.set_rate(None, 0)
    assert limit.take(RATE, 1) == RATE
    limit.set_rate(RATE, 60)
    assert limit.take(RATE, 60) == 0


def test_a_rate_of_zero_gives_nothing_at_any_time():
    limit = RateLimit(0, 0)
    assert limit.take(1, 0) == limit.take(1, 1e9) == limit.available(1e9) == 0
    assert limit.wait_for(1, 1e9) == float("inf")
    assert limit.affords(0, 1e9)
    limit.give_back(1000)
    assert limit.take(1, 1e9) == 0
    limit.set_rate(RATE, 1e9)
    assert limit.take(RATE, 1e9 + 0.1) == 100_000


def test_a_rate_that_becomes_zero_leaves_nothing_of_what_was_saved():
    limit = RateLimit(RATE, 0)
    limit.set_rate(0, 0)
    assert limit.take(1, 0) == 0


def test_a_rate_below_zero_is_an_error():
    with pytest.raises(ValueError, match="0 or more"):
        RateLimit(-1, 0)
    limit = RateLimit(RATE, 0)
    with pytest.raises(ValueError, match="0 or more"):
        limit.set_rate(-1, 0)
    assert limit.rate == RATE


def test_fewer_than_no_bytes_cannot_be_taken():
    with pytest.raises(ValueError, match="0 or more"):
        RateLimit(None, 0).take(-1, 0)
