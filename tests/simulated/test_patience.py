"""A download from honest seeds ends, whatever they do, and costs little more than it must."""

from __future__ import annotations

from random import Random

import pytest

from tests.simulated.leecher import Outcome, download
from tests.simulated.seed import Habits, random_seeds

FIRST, DOWNLOADS = 0, 60
"""Downloads that are tried; `scripts/simulate_downloads.py` tries others, and says why some of them take longer."""
GROUP = 20


def check(outcome: Outcome, what: object) -> None:
    assert not outcome.missing, f"{what}: {outcome}"
    assert outcome.bytes <= 1.1, f"{what}: {outcome}"


@pytest.mark.parametrize("first", range(FIRST, FIRST + DOWNLOADS, GROUP))
def test_a_download_from_honest_seeds_ends(first):
    for number in range(first, first + GROUP):
        check(download(random_seeds(Random(number)), number), number)


@pytest.mark.parametrize("number", [241, 1074, 1835])
def test_a_stall_at_the_start_does_not_make_us_patient_for_ever(number):
    check(download(random_seeds(Random(number)), number), number)


@pytest.mark.parametrize("number", [1055, 1733])
def test_a_slow_seed_is_not_asked_twice_for_what_it_is_sending(number):
    check(download(random_seeds(Random(number)), number), number)


@pytest.mark.parametrize("number", [185, 265, 398, 609])
def test_a_seed_whose_silence_says_nothing_is_asked_again(number):
    """It drops what is over its queue, or sends its queue behind a choke."""
    check(download(random_seeds(Random(number)), number), number)


def test_the_same_download_takes_the_same_steps_each_time():
    habits = Habits(((3, 20_000), (1, 2000)), choke_every=2, loses=0.05)
    assert download([habits], 1, pieces=4) == download([habits], 1, pieces=4) != download([habits], 2, pieces=4)


@pytest.mark.parametrize("bursts", [False, True])
@pytest.mark.parametrize("before", [None, 400_000])
def test_there_is_no_rate_at_which_a_seed_is_never_done_with(bursts, before):
    for rate in (250, 500, 1000, 2000, 3000, 4000, 5000, 6000, 8000, 20_000):
        habits = Habits(((1, before), (1, rate)) if before else ((1, rate),), bursts=bursts)
        outcome = download([habits], 1, pieces=8)
        check(outcome, habits)
        assert outcome.seconds <= 1.2 * outcome.ideal + 30


@pytest.mark.parametrize("queue", [1, 2, 5])
def test_a_seed_that_drops_what_is_over_its_queue_without_a_word_is_not_waited_for(queue):
    habits = Habits(((1, 100_000),), fast=False, queue=queue)
    outcome = download([habits], 1)
    check(outcome, habits)
    assert outcome.seconds <= 1.2 * outcome.ideal + 10
