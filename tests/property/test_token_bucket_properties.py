"""The bucket never gives out more than its rate, and nothing of it is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from geventbt.rates.token_bucket import RateLimit

rates = st.integers(1, 10**10)
requests = st.lists(st.tuples(st.floats(-1, 10), st.integers(0, 10**8), st.floats(0, 1)), max_size=60)
START = 1e5


@given(rates, requests)
def test_the_bucket_never_gives_out_more_than_its_rate_and_a_burst(rate, wanted):
    """Also when some bytes are given back, and when the clock goes back."""
    limit = RateLimit(rate, START)
    now = latest = START
    used = 0
    for passed, count, unused in wanted:
        now += passed
        latest = max(now, latest)
        taken = limit.take(count, now)
        assert 0 <= taken <= count
        back = int(taken * unused)
        limit.give_back(back)
        used += taken - back
        assert used <= limit.burst + rate * (latest - START) * (1 + 1e-9) + 1


@given(st.lists(st.tuples(rates, requests), max_size=6))
def test_changes_of_the_rate_give_out_no_more_either(changes):
    limit = RateLimit(1, START)
    now = START
    used, allowed = 0, float(limit.burst)
    for rate, wanted in changes:
        limit.set_rate(rate, now)
        for passed, count, _ in wanted:
            now += abs(passed)
            allowed += rate * abs(passed) * (1 + 1e-9) + 1
            used += limit.take(count, now)
            # A burst that is saved before a change is not greater than that of the old rate, which it was counted by.
            assert used <= allowed + rate * 1e-9


@given(rates, st.lists(st.integers(1, 10**6), min_size=1, max_size=60))
def test_taking_bytes_after_each_wait_gives_the_whole_rate(rate, counts):
    limit = RateLimit(rate, START)
    now = START
    for count in counts:
        while not limit.affords(count, now):
            # As the throttle does, it waits at least for a byte or a tick of the clock.
            now += max(limit.wait_for(count, now), 1.01 / rate, 1e-9)
        assert limit.take(count, now) == count
    total = sum(counts)
    most = limit.burst + rate * (now - START)
    assert total <= most * (1 + 1e-6) + 1
    assert total >= rate * (now - START) * 0.9 - limit.burst
