"""When a source of peers is asked next."""

from __future__ import annotations

import random

import pytest

from geventbt.discovery.periodic import AskAgain

INTERVAL, MIN_INTERVAL = 1000.0, 60.0


@pytest.fixture
def again() -> AskAgain:
    return AskAgain(INTERVAL, MIN_INTERVAL)


def waits_under_need(again: AskAgain, found: list[bool]) -> list[float]:
    """The times between questions while more peers are needed all the time."""
    now, waits = 0.0, []
    for is_found in found:
        again.asked(now, found=is_found)
        again.need_more()
        waits.append(again.due - now)
        now = again.due
    return waits


def test_a_new_source_is_asked_at_once(again: AskAgain) -> None:
    assert again.due <= 0.0


def test_without_need_it_is_asked_at_its_interval(again: AskAgain) -> None:
    again.asked(5.0, found=False)
    assert again.due == again.planned == 5.0 + INTERVAL


def test_need_comes_after_the_minimum_interval_and_ends_with_the_question(again: AskAgain) -> None:
    again.asked(0.0, found=True)
    again.need_more()
    assert again.due == MIN_INTERVAL
    assert again.planned == INTERVAL
    again.asked(MIN_INTERVAL, found=True)
    assert again.due == MIN_INTERVAL + INTERVAL


def test_questions_that_bring_no_new_peer_are_asked_less_and_less_often(again: AskAgain) -> None:
    assert waits_under_need(again, [False] * 7) == [120.0, 240.0, 480.0, 960.0, INTERVAL, INTERVAL, INTERVAL]


def test_a_new_peer_takes_the_wait_back(again: AskAgain) -> None:
    assert waits_under_need(again, [False, False, True, False]) == [120.0, 240.0, 60.0, 120.0]


def test_any_number_of_fruitless_questions_leaves_the_interval(again: AskAgain) -> None:
    assert waits_under_need(again, [False] * 5000)[-1] == INTERVAL


def test_news_is_told_after_the_minimum_interval(again: AskAgain) -> None:
    again.asked(0.0, found=False)
    again.ask_soon()
    assert again.due == MIN_INTERVAL


def test_news_that_comes_while_a_question_is_under_way_is_told_by_the_next(again: AskAgain) -> None:
    again.begin()
    again.ask_soon()
    again.asked(0.0, found=True)
    assert again.due == MIN_INTERVAL
    again.begin()
    again.asked(MIN_INTERVAL, found=True)
    assert again.due == MIN_INTERVAL + INTERVAL


def test_what_a_source_wants_counts_from_then_on(again: AskAgain) -> None:
    again.asked(0.0, found=True, interval=300.0, min_interval=30.0)
    assert again.due == 300.0
    again.asked(300.0, found=True)
    again.need_more()
    assert (again.due, again.planned) == (330.0, 600.0)


def test_a_minimum_above_the_interval_changes_nothing_of_it(again: AskAgain) -> None:
    again.asked(0.0, found=True, interval=10.0)
    again.need_more()
    assert again.due == 10.0


def test_after_a_failure_need_makes_it_no_sooner(again: AskAgain) -> None:
    again.failed(0.0, 15.0)
    again.need_more()
    assert again.due == again.planned == 15.0


def test_with_a_generator_the_interval_varies_by_an_eighth() -> None:
    rng = random.Random(1)
    planned = []
    for _ in range(100):
        again = AskAgain(INTERVAL, MIN_INTERVAL, rng)
        again.asked(0.0, found=True)
        planned.append(again.planned)
    assert 0.8 * INTERVAL < min(planned) < 0.95 * INTERVAL
    assert 1.05 * INTERVAL < max(planned) < 1.2 * INTERVAL
