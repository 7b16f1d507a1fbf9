"""A rate is shared fairly among those that want more than there is, in virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import pytest

from geventbt import limits
from geventbt.rates.fair_rate import FairRate

BLOCK = limits.BLOCK
TICK = 0.05
SECONDS = 5.0


class Source:
    """Takes blocks whenever it may.

    Attributes:
        got: the bytes that it has taken.
        demand: bytes a second that it can use; None for any number.
    """

    def __init__(self, rate: FairRate, demand: float | None = None, unit: int = BLOCK) -> None:
        self.got = 0
        self.demand = demand
        self.now = 0.0
        self._rate = rate
        self._unit = unit

    def fill(self) -> None:
        usable = 500 if self.demand is None else int(self.demand * self.now - self.got) // self._unit
        self.got += self._unit * self._rate.take(self, usable, self._unit, self.now)


def run(rate: FairRate, sources: Sequence[Source], seconds: float = SECONDS) -> list[int]:
    """Let sources take for a while: those before others also ask more often. Returns what each has got."""
    for tick in range(int(seconds / TICK)):
        now = tick * TICK
        for source in sources:
            source.now = now
        for source in sources:
            for _ in range(3 if source is sources[0] else 1):
                source.fill()
        for member in rate.turns(now):
            member.fill()
    return [source.got for source in sources]


def is_kept(rate: int, got: Sequence[int], seconds: float = SECONDS) -> bool:
    return 0.98 * rate * seconds <= sum(got) <= 1.02 * rate * seconds


RATES = [250_000, 1_000_000, 3_000_000, 50_000_000]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("peers", [1, 2, 5])
def test_equal_peers_get_equal_shares_and_all_of_it_together(rate, peers):
    shared = FairRate(rate, 0.0)
    got = run(shared, [Source(shared) for _ in range(peers)])
    assert is_kept(rate, got)
    assert max(got) <= 1.2 * min(got)


@pytest.mark.parametrize("rate", RATES)
def test_torrents_get_equal_shares_however_many_peers_they_have(rate):
    client = FairRate(rate, 0.0)
    many, few = FairRate(None, 0.0, client), FairRate(None, 0.0, client)
    got = run(client, [*(Source(many) for _ in range(8)), Source(few)])
    assert is_kept(rate, got)
    assert got[-1] == pytest.approx(sum(got[:-1]), rel=0.1)
    if rate > 1_000_000:
        assert max(got[:-1]) <= 1.2 * min(got[:-1])


@pytest.mark.parametrize("weights", [(8.0, 1.0), (1.0, 1 / 8), (64.0, 1.0)])
def test_torrents_get_shares_in_proportion_to_their_weights(weights):
    client = FairRate(3_000_000, 0.0)
    torrents = [FairRate(None, 0.0, client) for _ in weights]
    for torrent, weight in zip(torrents, weights, strict=True):
        torrent.weight = weight
    heavy, *light = run(client, [Source(torrents[0]), Source(torrents[1]), Source(torrents[1])], 60.0)
    assert is_kept(3_000_000, [heavy, *light], 60.0)
    assert heavy / sum(light) == pytest.approx(weights[0] / weights[1], rel=0.1)
    assert light[0] == pytest.approx(light[1], rel=0.1)


def test_what_a_heavy_torrent_leaves_is_for_the_others():
    client = FairRate(1_000_000, 0.0)
    heavy, light = FairRate(None, 0.0, client), FairRate(None, 0.0, client)
    heavy.weight = 1000.0
    got = run(client, [Source(heavy, demand=200_000), Source(light)])
    assert is_kept(1_000_000, got)
    assert got[0] == pytest.approx(200_000 * SECONDS, rel=0.05)


def test_what_a_slow_peer_leaves_is_for_the_others():
    shared = FairRate(1_000_000, 0.0)
    got = run(shared, [Source(shared), Source(shared, demand=100_000), Source(shared)])
    assert is_kept(1_000_000, got)
    assert got[1] == pytest.approx(500_000, rel=0.1)
    assert got[0] == pytest.approx(got[2], rel=0.1)


def test_a_torrent_with_a_rate_of_its_own_holds_up_no_other():
    client = FairRate(1_000_000, 0.0)
    slow, other = FairRate(200_000, 0.0, client), FairRate(None, 0.0, client)
    got = run(client, [Source(slow), Source(other)])
    assert is_kept(1_000_000, got)
    assert got[0] == pytest.approx(200_000 * SECONDS, rel=0.02)


def test_without_a_rate_of_all_each_torrent_keeps_its_own():
    client = FairRate(None, 0.0)
    torrents = [FairRate(rate, 0.0, client) for rate in (200_000, 600_000)]
    sources = [Source(torrent) for torrent in torrents]
    for torrent, source in zip(torrents, sources, strict=True):
        assert is_kept(torrent.rate or 0, run(torrent, [source]))


def test_units_of_any_size_are_shared_by_bytes():
    shared = FairRate(1_000_000, 0.0)
    got = run(shared, [Source(shared, unit=8 * BLOCK), Source(shared)])
    assert is_kept(1_000_000, got)
    assert max(got) <= 1.2 * min(got)


def test_more_than_a_burst_comes_when_enough_is_saved():
    shared = FairRate(10_000, 0.0)
    source = Source(shared, unit=8 * BLOCK)
    assert run(shared, [source], seconds=9) == [0]
    assert run(shared, [source], seconds=14) == [8 * BLOCK]


def test_without_a_limit_everybody_takes_all_and_nobody_waits():
    shared = FairRate(None, 0.0, FairRate(None, 0.0))
    assert shared.take(Source(shared), 10**6, BLOCK, 0.0) == 10**6
    assert not shared.limited
    assert not shared.waiting


def test_one_that_has_gone_keeps_nobody_waiting():
    shared = FairRate(1_000_000, 0.0)
    gone, there = Source(shared), Source(shared)
    for _ in range(3):
        gone.fill()
    there.fill()
    shared.leave(gone)
    got_before = there.got
    assert shared.waiting == 1
    run(shared, [there])
    assert is_kept(1_000_000, [there.got - got_before])


def test_one_that_takes_nothing_in_its_turn_keeps_nobody_waiting():
    client = FairRate(1_000_000, 0.0)
    first, second = FairRate(None, 0.0, client), FairRate(None, 0.0, client)
    sated, hungry = Source(first), Source(second)
    for _ in range(3):
        sated.fill()
    hungry.fill()
    sated.demand = 0.0
    for tick in count(1):
        sated.now = hungry.now = tick * TICK
        for member in client.turns(hungry.now):
            member.fill()
        if hungry.got:
            break
        assert tick < 10
    assert client.waiting == 1


def test_what_is_given_back_can_be_taken_by_others():
    client = FairRate(1000, 0.0)
    torrent = FairRate(1000, 0.0, client)
    first, second = Source(torrent), Source(torrent)
    assert torrent.take(first, 2, BLOCK, 0.0) == 2
    torrent.give_back(first, 2 * BLOCK)
    assert torrent.take(second, 2, BLOCK, 0.0) == 2
    assert torrent.take(first, 1, BLOCK, 0.0) == 0


def test_a_turn_in_which_all_is_given_back_is_over():
    shared = FairRate(1000, 0.0)
    unsure, sure = Source(shared), Source(shared)
    assert shared.take(sure, 2, BLOCK, 0.0) == 2
    for source in (unsure, sure):
        assert shared.take(source, 1, BLOCK, 0.0) == 0
    turns = []
    for member in shared.turns(40.0):
        turns.append(member)
        taken = shared.take(member, 1, BLOCK, 40.0)
        if member is unsure:
            shared.give_back(member, taken * BLOCK)
    assert turns == [unsure, sure]


def test_the_wait_is_that_of_whoever_can_be_served_first():
    client = FairRate(BLOCK, 0.0)
    slow, fast = FairRate(1, 0.0, client), FairRate(None, 0.0, client)
    assert client.wait(0.0) == float("inf")
    assert slow.take(Source(slow), 2, BLOCK, 0.0) == 2
    assert slow.take(Source(slow), 2, BLOCK, 0.0) == 0
    assert slow.wait(0.0) == pytest.approx(BLOCK)
    assert fast.take(Source(fast), 1, BLOCK, 0.0) == 0
    assert client.wait(0.0) == pytest.approx(1.0)


def test_a_rate_below_zero_is_an_error():
    with pytest.raises(ValueError, match="0 or more"):
        FairRate(-1, 0.0)
    with pytest.raises(ValueError, match="0 or more"):
        FairRate(1, 0.0).set_rate(-1, 0.0)


def test_a_torrent_with_a_rate_of_zero_holds_up_no_other():
    client = FairRate(1_000_000, 0.0)
    stopped, other = FairRate(0, 0.0, client), FairRate(None, 0.0, client)
    got = run(client, [Source(stopped), Source(other)])
    assert got[0] == 0
    assert is_kept(1_000_000, got)


def test_who_waits_goes_on_with_the_rate_that_it_becomes_a_part_of():
    client, group = FairRate(0, 0.0), FairRate(1_000_000, 0.0)
    torrent = FairRate(None, 0.0, client)
    sources = [Source(torrent), Source(torrent)]
    assert run(client, sources) == [0, 0]
    assert client.waiting == 2
    # The clock of the next run begins anew.
    sources[0].now = sources[1].now = 0.0
    torrent.set_parent(group)
    assert (client.waiting, group.waiting) == (0, 2)
    assert is_kept(1_000_000, run(group, sources))
    torrent.set_parent(None)
    assert group.waiting == torrent.waiting == 0


def test_a_group_of_torrents_can_be_put_among_others():
    client, group = FairRate(1_000_000, 0.0), FairRate(0, 0.0)
    first, second, alone = FairRate(None, 0.0, group), FairRate(None, 0.0, group), FairRate(None, 0.0, client)
    sources = [Source(first), Source(second), Source(alone)]
    assert run(group, sources[:2]) == [0, 0]
    sources[0].now = sources[1].now = 0.0
    group.set_rate(None, 0.0)
    group.set_parent(client)
    got = run(client, sources)
    assert is_kept(1_000_000, got)
    assert got[2] == pytest.approx(got[0] + got[1], rel=0.1)
