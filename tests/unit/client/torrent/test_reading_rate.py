"""How fast a reader reads, and how far ahead of it is fetched."""

from __future__ import annotations

import pytest

from geventbt import limits
from geventbt.client.torrent.reading_rate import ReadingRate

MIB = limits.MIB


def read(rate: ReadingRate, speed: float, seconds: float) -> None:
    """Read a piece of 256 KiB at a time, for a while."""
    piece = 256 * limits.KIB
    for _ in range(int(seconds * speed / piece) + 1):
        rate.on_read(piece)
        rate.on_pause(piece / speed)
        rate.read_on()


def test_one_that_never_pauses_reads_infinitely_fast_and_is_looked_ahead_for_twice_as_far_each_time():
    rate = ReadingRate()
    assert rate.rate == float("inf")
    ahead = []
    for _ in range(8):
        ahead.append(rate.readahead)
        rate.on_read(MIB)
        rate.read_on()
    first = limits.FIRST_READAHEAD
    assert ahead[:4] == [first, 2 * first, 4 * first, 8 * first]
    assert ahead[-1] == limits.MAX_READAHEAD


@pytest.mark.parametrize("speed", [100_000, 250_000, 1_000_000])
def test_the_readahead_is_what_it_reads_in_some_seconds(speed):
    rate = ReadingRate()
    read(rate, speed, 30)
    assert rate.rate == pytest.approx(speed)
    assert rate.readahead == pytest.approx(speed * limits.READAHEAD_TIME, rel=0.01)


def test_one_that_becomes_faster_or_slower_is_followed():
    rate = ReadingRate()
    read(rate, 100_000, 60)
    read(rate, 1_000_000, 20)
    assert rate.rate == pytest.approx(1_000_000, rel=0.1)
    read(rate, 100_000, 30)
    assert rate.rate == pytest.approx(100_000, rel=0.2)


def test_a_player_goes_on_at_another_place_with_what_it_reads_in_a_second():
    rate = ReadingRate()
    read(rate, 1_000_000, 10)
    rate.restart()
    assert rate.readahead == pytest.approx(1_000_000)
    assert rate.rate == pytest.approx(1_000_000)


def test_one_that_reads_here_and_there_begins_anew_at_each_place():
    rate = ReadingRate()
    read(rate, 10_000_000, 0.2)
    rate.restart()
    assert rate.readahead == limits.FIRST_READAHEAD
    assert rate.rate == float("inf")
