"""Requests are held back by the disk and by the rate limits, and idle sources are filled when there may be work."""

from __future__ import annotations

import gevent
import pytest
from bitarray.util import ones, zeros

from geventbt import Geometry, limits
from geventbt.client.context import ClientContext
from geventbt.client.options import ClientOptions
from geventbt.client.pieces.assembly import Assembly
from geventbt.client.pieces.picker import BlockPicker
from geventbt.client.swarm.scheduler import RequestScheduler
from geventbt.client.swarm.source import BlockSource
from geventbt.rates.fair_rate import FairRate
from tests.loopback.harness import eventually
from tests.unit.swarm_helpers import FakeSource

PIECE = 2 * limits.BLOCK
GEOMETRY = Geometry(4 * PIECE, PIECE)
SLOW = 1
"""A rate at which nothing becomes available during a test, beyond the burst of two blocks."""


class Owner:
    """Ignores complete pieces."""

    def on_complete(self) -> None:
        """Nothing is verified here."""


class Torrent:
    """A scheduler with the picker that it looks at, in which one piece at a time may be open."""

    def __init__(self, context: ClientContext | None = None, rate: int | None = None, max_open: int = PIECE) -> None:
        self.picker: BlockPicker[BlockSource] = BlockPicker(GEOMETRY, zeros(4, "big"), max_open=max_open)
        assembly: Assembly[BlockSource] = Assembly(GEOMETRY, self.picker, Owner())
        context = context or ClientContext(ClientOptions())
        down = FairRate(rate, context.now(), context.down)
        self.scheduler = RequestScheduler(context, self.picker, assembly, down)

    def fill_up(self) -> int:
        """Request all blocks of the pieces that may be open. Returns the first."""
        seed = FakeSource()
        self.picker.add_peer(seed, ones(4, "big"))
        return self.picker.pick(seed, 100)[0].piece


@pytest.fixture
def torrent() -> Torrent:
    return Torrent()


def test_without_limits_all_blocks_may_be_requested(torrent):
    assert torrent.scheduler.take(FakeSource(), 500) == 500
    assert not torrent.scheduler.throttled


def test_a_torrent_may_request_as_many_blocks_as_its_own_rate_has():
    scheduler = Torrent(rate=SLOW).scheduler
    assert [scheduler.take(FakeSource(), 500), scheduler.take(FakeSource(), 500)] == [2, 0]
    assert scheduler.throttled


def test_the_torrents_of_a_client_share_its_rate():
    context = ClientContext(ClientOptions(limit_down=SLOW))
    first, second = Torrent(context).scheduler, Torrent(context).scheduler
    assert [first.take(FakeSource(), 1), second.take(FakeSource(), 500)] == [1, 1]
    assert second.throttled


def test_blocks_that_are_given_back_may_be_taken_again():
    scheduler = Torrent(ClientContext(ClientOptions(limit_down=SLOW)), rate=SLOW).scheduler
    source = FakeSource()
    assert scheduler.take(source, 2) == 2
    scheduler.give_back(source, 1)
    assert scheduler.take(source, 2) == 1


def test_sources_that_wait_for_the_rate_are_filled_in_turn():
    scheduler = Torrent(rate=1000 * limits.BLOCK).scheduler
    taken: list[FakeSource] = []

    class Taker(FakeSource):
        def fill(self, now: float | None = None) -> None:
            taken.extend([self] * scheduler.take(self, 500))

    takers = [Taker(), Taker()]
    for taker in takers:
        scheduler.take(taker, 500)
    eventually(lambda: scheduler.give_turns() or len(taken) > 100)
    assert abs(taken.count(takers[0]) - taken.count(takers[1])) <= 10


def test_a_source_that_was_removed_waits_for_no_rate():
    scheduler = Torrent(rate=SLOW).scheduler
    gone, there = FakeSource(), FakeSource()
    assert [scheduler.take(gone, 500), scheduler.take(there, 1)] == [2, 0]
    scheduler.remove(gone)
    scheduler.remove(there)
    scheduler.give_turns()
    assert [gone.fills, there.fills] == [0, 0]


def test_a_torrent_is_busy_while_no_further_piece_may_be_open(torrent):
    assert not torrent.scheduler.is_busy
    piece = torrent.fill_up()
    assert torrent.scheduler.is_busy
    torrent.picker.verified(piece)
    assert not torrent.scheduler.is_busy


def test_idle_sources_are_filled_once_a_turn_of_the_loop(torrent):
    sources = [FakeSource(), FakeSource()]
    for source in sources:
        torrent.scheduler.add_idle(source)
    torrent.scheduler.wake_idle()
    torrent.scheduler.wake_idle()
    assert [source.fills for source in sources] == [0, 0]
    gevent.idle()
    assert [source.fills for source in sources] == [1, 1]


def test_a_source_that_was_filled_is_not_idle_any_more(torrent):
    source = FakeSource()
    torrent.scheduler.add_idle(source)
    torrent.scheduler.fill_idle()
    torrent.scheduler.fill_idle()
    assert source.fills == 1


def test_a_source_that_stays_idle_is_filled_again_the_next_time(torrent):
    class Idler(FakeSource):
        def fill(self, now: float | None = None) -> None:
            super().fill(now)
            torrent.scheduler.add_idle(self)

    source = Idler()
    torrent.scheduler.add_idle(source)
    torrent.scheduler.fill_idle()
    assert source.fills == 1
    torrent.scheduler.fill_idle()
    assert source.fills == 2


def test_a_source_that_was_removed_is_not_filled(torrent):
    source = FakeSource()
    torrent.scheduler.add_idle(source)
    torrent.scheduler.remove(source)
    torrent.scheduler.fill_idle()
    assert source.fills == 0


def test_idle_sources_wait_until_the_torrent_is_not_busy(torrent):
    piece = torrent.fill_up()
    source = FakeSource()
    torrent.scheduler.add_idle(source)
    torrent.scheduler.fill_idle()
    assert source.fills == 0
    torrent.picker.verified(piece)
    torrent.scheduler.fill_idle()
    assert source.fills == 1


def test_idle_sources_look_again_without_an_event_while_all_that_is_missing_was_asked_for():
    torrent = Torrent(max_open=4 * PIECE)
    source = FakeSource()
    torrent.fill_up()
    assert torrent.picker.in_endgame
    torrent.scheduler.add_idle(source)
    eventually(lambda: source.fills)
