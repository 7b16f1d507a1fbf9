"""A reader waits no longer than it must, whatever the seeds are like."""

from __future__ import annotations

import pytest

from geventbt import limits
from tests.simulated.reader import read
from tests.simulated.seed import Habits

MBIT = 125_000
PIECE = 128 * limits.KIB
SIZE = 256 * limits.MIB
PLACES = (160_000_000, 40_000_000)


def seed(mbits: float, round_trip: float, commits: int = 0) -> Habits:
    return Habits(((1, int(mbits * MBIT)),), latency=round_trip / 2, commits=commits)


TEN = [seed(0.5 + 9.5 * number / 9, 0.01 + 0.14 * (7 * number % 10) / 9) for number in range(10)]
"""Of 0.5 to 10 Mbit/s, and 10 to 150 ms, the slow ones not always the far ones."""
SPEED = sum(habits.rates[0][1] for habits in TEN)


def test_over_ten_uneven_seeds_a_player_waits_at_a_seek_and_never_else():
    session = read(TEN, SPEED / 4, plays=3, seeks=PLACES, size=SIZE, piece=PIECE)
    assert session.first_byte <= 0.6
    assert max(session.seeks) <= 0.5
    assert session.stalled <= 0.05
    assert session.sent <= 1.05


@pytest.mark.parametrize("commits", [0, 8])
def test_a_seek_with_one_seed_takes_two_round_trips_and_a_piece(commits):
    """And what the seed has written to its socket: that cannot be cancelled, nor can a block that is half sent."""
    speed, round_trip = 4 * MBIT, 0.05
    seeds = [seed(4, round_trip, commits)]
    session = read(seeds, speed / 4, plays=2, starts=4, seeks=PLACES, size=SIZE, piece=PIECE)
    most = 2 * round_trip + (PIECE + (commits + 1) * limits.BLOCK) / speed
    assert max(session.seeks) <= most + 0.01
    assert not session.stalled
    assert session.sent <= 1.1


def test_a_seed_that_stalls_holds_nobody_up():
    """It stands still for some seconds right behind the seek, with blocks of the piece that is needed."""
    stalling = Habits(((5, 10 * MBIT), (5, 0), (1, 10 * MBIT)), latency=0.01)
    session = read([stalling, seed(4, 0.1)], MBIT / 2, plays=3, starts=1.97, seeks=PLACES, size=SIZE, piece=PIECE)
    assert max(session.seeks) <= 0.7
    assert not session.stalled
