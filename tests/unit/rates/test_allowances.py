"""How often something may be done."""

from __future__ import annotations

from geventbt.rates.allowances import Allowance, Allowances


def test_a_bucket_fills_with_time_up_to_its_burst() -> None:
    bucket = Allowance(2.0, 3.0, 0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(0.4)
    assert bucket.take(0.5)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


def test_after_the_wait_there_is_what_was_waited_for() -> None:
    bucket = Allowance(3.0, 5.0, 0.0)
    for now, count in ((10.0, 1.0), (20.0, 2.0), (30.0, 5.0)):
        bucket.take(now, 5.0)
        wait = bucket.wait(now, count)
        assert not bucket.take(now + wait * 0.99, count)
        assert bucket.take(now + wait, count)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Allowance(1.0, 1.0, 100.0)
    bucket.take(100.0)
    assert not bucket.take(0.0)
    assert not bucket.take(100.5)


def test_sources_are_bounded() -> None:
    sources: Allowances[int] = Allowances(1.0, 1.0, 10)
    for number in range(1000):
        assert sources.take(number, 0.0)
    assert len(sources) == 10
