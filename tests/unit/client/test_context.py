"""What the torrents of a client share."""

from __future__ import annotations

import pytest

from geventbt import limits
from geventbt.client.context import ClientContext
from geventbt.client.options import ClientOptions
from geventbt.rates.token_bucket import RateLimit

BLOCK = limits.BLOCK


def context(rate: int | None) -> ClientContext:
    """A context whose bucket is empty from now on, at the time 0."""
    made = ClientContext(ClientOptions())
    made.down = RateLimit(rate, 0.0)
    made.down.take(10**9, 0.0)
    return made


def test_torrents_that_wait_for_the_rate_of_all_take_turns():
    """One block comes with each second; the greedy one asks more often, and always first."""
    shared, none = context(BLOCK), RateLimit(None, 0.0)
    taken = {"greedy": 0, "modest": 0}
    for tick in range(1, 401):
        for name in ("greedy", "greedy", "modest"):
            taken[name] += shared.take_down(name, none, 4, tick / 20)
    assert sum(taken.values()) == 20
    assert abs(taken["greedy"] - taken["modest"]) <= 2


def test_who_asks_no_more_keeps_nobody_waiting():
    shared, none = context(BLOCK), RateLimit(None, 0.0)
    assert shared.take_down("gone", none, 4, 0.0) == 0
    assert shared.take_down("here", none, 4, 1.0) == 1


def test_who_waits_for_its_own_rate_keeps_nobody_waiting():
    shared, own, none = context(10 * BLOCK), RateLimit(1, 0.0), RateLimit(None, 0.0)
    own.take(10**9, 0.0)
    assert shared.take_down("slow", own, 4, 0.1) == 0
    assert shared.take_down("fast", none, 4, 0.1) == 1


@pytest.mark.parametrize("own", [None, 3 * BLOCK])
def test_without_a_rate_of_all_only_its_own_counts(own):
    shared, limit = context(None), RateLimit(own, 0.0)
    assert shared.take_down("any", limit, 5, 0.0) == (5 if own is None else 2)
