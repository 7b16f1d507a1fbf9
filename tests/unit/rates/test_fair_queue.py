"""Whose turn it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from geventbt.rates.fair_queue import FairQueue


def serve(queue: FairQueue[str], turns: int, **amounts: int) -> dict[str, int]:
    """Serve keys that always want more, each by its own amount at a time. Returns what each has got."""
    got = dict.fromkeys(amounts, 0)
    for _ in range(turns):
        for key in amounts:
            queue.enter(key, amounts[key])
        key = queue.first
        assert key is not None
        queue.leave(key)
        queue.charge(key, amounts[key])
        got[key] += amounts[key]
    return got


def test_those_that_come_together_are_served_in_the_order_in_which_they_came():
    queue: FairQueue[str] = FairQueue()
    for key in "bca":
        queue.enter(key, 1)
    assert list(queue) == ["b", "c", "a"]
    assert (queue.first, len(queue), "a" in queue, queue.amount("a")) == ("b", 3, True, 1)
    queue.leave("b")
    queue.leave("b")
    assert list(queue) == ["c", "a"]


def test_nobody_is_first_where_nobody_waits():
    queue: FairQueue[str] = FairQueue()
    assert queue.first is None
    assert list(queue) == []


@given(st.integers(1, 128), st.integers(1, 128), st.integers(1, 128))
def test_those_that_always_want_more_get_the_same_however_much_they_take_at_a_time(a, b, c):
    got = serve(FairQueue(), 300, a=a, b=b, c=c)
    assert max(got.values()) - min(got.values()) <= 2 * max(a, b, c)


def test_one_that_wants_less_than_its_share_gets_all_that_it_wants():
    """It asks for one each time that the other has got ten."""
    queue: FairQueue[str] = FairQueue()
    for _ in range(100):
        serve(queue, 10, greedy=1)
        queue.enter("greedy", 1)
        queue.enter("modest", 1)
        served = []
        for _ in range(2):
            key = queue.first
            assert key is not None
            served.append(key)
            queue.leave(key)
            queue.charge(key, 1)
        assert sorted(served) == ["greedy", "modest"]


def test_who_comes_later_has_no_claim_to_the_time_before():
    queue: FairQueue[str] = FairQueue()
    serve(queue, 1000, early=1)
    got = serve(queue, 100, early=1, late=1)
    assert abs(got["early"] - got["late"]) <= 2


def test_what_is_given_back_is_not_counted():
    queue: FairQueue[str] = FairQueue()
    for _ in range(50):
        serve(queue, 1, a=10)
        queue.charge("a", -10)
    got = serve(queue, 100, a=1, b=1)
    assert abs(got["a"] - got["b"]) <= 10
