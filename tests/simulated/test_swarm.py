"""Swarms in virtual time keep near the bound that no client can beat; `scripts/simulate_swarm.py` runs larger ones."""

from __future__ import annotations

from dataclasses import replace
from statistics import mean

import pytest

from tests.simulated.swarm_host import BEFORE, OURS
from tests.simulated.swarms import EIGHT, SCENARIOS, crowd, simulate


def test_eight_leechers_are_done_near_the_bound_and_the_seed_sends_little_twice():
    runs, before = [simulate(EIGHT, seed) for seed in range(3)], simulate(EIGHT, seeds=BEFORE, leechers=BEFORE)
    assert mean(run.ratio for run in runs) < 1.35 < before.ratio
    assert mean(run.seed_copies for run in runs) < 1.25 < before.seed_copies


def test_the_same_swarm_goes_the_same_way_each_time():
    small = replace(EIGHT, size=2)
    assert simulate(small, 1) == simulate(small, 1) != simulate(small, 2)


@pytest.mark.parametrize("name", ["two", "three"])
def test_few_leechers_gain_as_well(name):
    scenario = replace(SCENARIOS[name], size=8)
    now, before = simulate(scenario), simulate(scenario, seeds=BEFORE, leechers=BEFORE)
    assert now.last < before.last
    assert now.seed_copies < before.seed_copies


def test_a_lone_leecher_loses_nothing():
    scenario = replace(SCENARIOS["one"], size=8)
    assert simulate(scenario).last < 1.02 * simulate(scenario, seeds=BEFORE, leechers=BEFORE).last


def test_leechers_that_share_nothing_are_served_all_the_same():
    """A swarm of free riders: the seed must give everything to everybody."""
    scenario = replace(SCENARIOS["three"], size=2)
    outcome = simulate(scenario, leechers=replace(OURS, slots=0))
    assert outcome.last < 1.3 * 3 * scenario.bound


def test_late_leechers_are_served():
    outcome = simulate(SCENARIOS["late"])
    assert outcome.last < 1.5 * outcome.bound


def test_leechers_that_are_not_all_connected_are_done():
    assert simulate(crowd(20, 2, degree=6)).ratio < 6


def test_several_seeds_do_not_hide_from_a_lone_leecher():
    scenario = replace(SCENARIOS["ten-seeds"], size=24)
    assert simulate(scenario).last < 1.05 * simulate(scenario, seeds=BEFORE, leechers=BEFORE).last


def test_slow_seeds_do_not_hold_up_the_end():
    """They would for half as long again if nobody took over from them."""
    assert simulate(replace(SCENARIOS["tail"], size=16)).ratio < 1.6
