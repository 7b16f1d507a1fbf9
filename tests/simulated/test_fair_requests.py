"""Under a limit equal seeds give the same, in virtual time."""

from __future__ import annotations

from random import Random

import pytest

from geventbt import Geometry
from tests.simulated.leecher import Leecher, virtual_time
from tests.simulated.seed import BLOCK, Habits, Seed

SECONDS = 6.0


@pytest.mark.parametrize("rate", [500_000, 3_000_000])
@pytest.mark.parametrize("round_trips", [(0.01, 0.01), (0.01, 0.2, 0.05)])
def test_equal_seeds_give_equal_shares_of_a_limit_and_all_of_it_together(rate, round_trips):
    geometry = Geometry(64 * 1024 * 1024, 8 * BLOCK)
    random = Random(1)
    with virtual_time() as clock:
        leecher = Leecher(clock, geometry, bytes(geometry.length), random, rate=rate)
        habits = [Habits(((1, 10_000_000),), latency=round_trip / 2) for round_trip in round_trips]
        seeds = [Seed(clock, geometry, bytes(geometry.length), each, random) for each in habits]
        for seed in seeds:
            leecher.connect(seed)
        leecher.tick()
        leecher.short_tick()
        start = clock.now + 1
        while clock.now < start:
            clock.step()
        before = [seed.arrived for seed in seeds]
        while clock.now < start + SECONDS:
            clock.step()
        got = [seed.arrived - so_far for seed, so_far in zip(seeds, before, strict=True)]
        leecher.close()
    assert max(got) <= 1.2 * min(got)
    assert sum(got) == pytest.approx(rate * SECONDS, rel=0.02)
