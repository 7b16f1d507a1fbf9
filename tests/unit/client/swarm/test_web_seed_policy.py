"""The length of runs, the pauses after failures, and the number of connections of web seeds."""

from __future__ import annotations

import pytest

from geventbt import limits
from geventbt.client.swarm.web_seed_policy import Backoff, ConnectionCount, RunLength

FAST = 1e9


def test_runs_of_a_fast_seed_are_doubled_up_to_the_longest():
    runs = RunLength()
    sizes = []
    for _ in range(6):
        sizes.append(runs.size(FAST) // limits.MIB)
        runs.on_received()
    assert sizes == [4, 8, 16, 32, 64, 64]


def test_a_gigabyte_takes_few_requests():
    runs, left, requests = RunLength(), 1 << 30, 0
    while left > 0:
        left -= runs.size(FAST)
        runs.on_received()
        requests += 1
    assert requests <= 40


def test_a_run_of_a_slow_seed_takes_ten_seconds():
    runs = RunLength()
    for _ in range(6):
        runs.on_received()
    assert runs.size(100_000) == 1_000_000
    assert runs.size(1) == limits.BLOCK


def test_the_run_after_a_failure_is_small():
    runs = RunLength()
    for _ in range(6):
        runs.on_received()
    runs.on_failure()
    assert runs.size(FAST) == limits.WEB_SEED_TRIAL_RUN
    runs.on_received()
    assert runs.size(FAST) == 2 * limits.WEB_SEED_TRIAL_RUN


def pauses(count, status=None, retry_after=None, had_data=False):
    backoff = Backoff()
    return [backoff.on_failure(0.0, status, retry_after, had_data=had_data) for _ in range(count)]


def test_pauses_after_errors_are_doubled_up_to_five_minutes():
    assert pauses(8) == pauses(8, status=500) == [5, 10, 20, 40, 80, 160, 300, 300]


@pytest.mark.parametrize("status", [429, 503])
def test_pauses_of_a_busy_server_are_doubled_up_to_ten_minutes(status):
    assert pauses(6, status) == [30, 60, 120, 240, 480, 600]


def test_a_server_is_asked_again_when_it_wants_to_be_within_bounds():
    assert pauses(1, 503, 17.0) == [17]
    assert pauses(1, 503, 0.0) == [1]
    assert pauses(1, 503, 1e9) == [3600]
    assert pauses(1, 500, 3.0) == [3]


def test_an_answer_that_was_cut_off_is_resumed_at_once():
    assert pauses(3, had_data=True) == [limits.WEB_SEED_RESUME] * 3


def test_a_busy_server_is_left_alone_even_if_it_has_just_sent_data():
    assert pauses(1, 503, had_data=True) == [30]


def test_data_ends_a_row_of_failures():
    backoff = Backoff()
    for _ in range(3):
        backoff.on_failure(0.0, None, None, had_data=False)
    assert backoff.failures == 3
    backoff.on_data()
    assert backoff.on_failure(7.0, None, None, had_data=False) == 5
    assert (backoff.failures, backoff.until) == (1, 12)


def counts(*speeds):
    connections = ConnectionCount()
    result = []
    for speed in speeds:
        connections.on_sample(speed)
        result.append(connections.count)
    return result


def test_connections_are_added_as_long_as_each_makes_all_of_them_faster():
    assert counts(10, 20, 30, 40, 41) == [2, 3, 4, 4, 4]


def test_a_connection_that_gains_nothing_is_given_up():
    assert counts(10, 11, 12, 30) == [2, 1, 1, 1]
    assert counts(10, 20, 21, 21) == [2, 3, 2, 2]


def test_after_a_failure_there_is_one_connection():
    connections = ConnectionCount()
    for speed in (10, 20, 30):
        connections.on_sample(speed)
    connections.on_failure()
    assert connections.count == 1
