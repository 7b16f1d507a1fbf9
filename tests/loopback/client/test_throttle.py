"""Greenlets that wait for their share of a rate. Times are only compared with what the rate demands at the least."""

from __future__ import annotations

from time import monotonic

import gevent
import pytest

from geventbt import limits
from geventbt.rates.throttle import Throttle
from tests.loopback.harness import eventually

BURST = 2 * limits.BLOCK
FAST = 1_000_000_000


def emptied(rate: int, parent: Throttle | None = None) -> Throttle:
    """A throttle whose burst is used up."""
    throttle = Throttle(rate, parent)
    throttle.acquire(max(BURST, int(rate * limits.RATE_BURST)))
    return throttle


def waiters(throttle: Throttle, *counts: int) -> tuple[list[gevent.Greenlet], list[int]]:
    """Greenlets that acquire one after the other, and the numbers of those that are done, in order."""
    done: list[int] = []

    def acquire(number: int, count: int) -> None:
        throttle.acquire(count)
        done.append(number)

    greenlets = [gevent.spawn(acquire, *each) for each in enumerate(counts)]
    gevent.sleep(0)
    return greenlets, done


def test_without_a_rate_nobody_waits():
    throttle = Throttle(parent=Throttle())
    for _ in range(1000):
        throttle.acquire(1 << 30)
    assert throttle.rate is None
    assert throttle.waiting == 0


def test_the_rate_is_kept_by_all_who_share_it():
    rate = 200_000
    throttle = emptied(rate)
    started = monotonic()
    greenlets, _ = waiters(throttle, *[5000] * 8)
    gevent.joinall(greenlets, timeout=10, raise_error=True)
    assert monotonic() - started >= 8 * 5000 / rate * 0.95


def test_greenlets_are_served_in_the_order_in_which_they_came():
    throttle = emptied(1_000_000)
    greenlets, done = waiters(throttle, 50_000, 1, 1, 30_000, 1)
    gevent.joinall(greenlets, timeout=10, raise_error=True)
    assert done == [0, 1, 2, 3, 4]


def test_nobody_comes_before_those_that_wait_even_when_there_is_enough_for_it():
    throttle = Throttle(1000)
    greenlets, done = waiters(throttle, BURST + 100_000, 1)
    assert done == []
    assert throttle.waiting == 2
    gevent.killall(greenlets)


def test_more_than_a_burst_can_be_acquired():
    throttle = Throttle(10_000_000)
    started = monotonic()
    with gevent.Timeout(10):
        throttle.acquire(5_000_000)
    assert monotonic() - started >= 0.2


def test_who_is_killed_leaves_its_bytes_to_the_others():
    throttle = Throttle(1)
    (first, second), done = waiters(throttle, BURST + 1000, BURST)
    assert throttle.waiting == 2
    first.kill()
    second.join(10)
    assert done == [1]
    assert throttle.waiting == 0


def test_who_times_out_leaves_its_bytes_too():
    throttle = Throttle(1)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        throttle.acquire(BURST + 1000)
    with gevent.Timeout(10):
        throttle.acquire(BURST)


def test_who_is_killed_just_when_its_turn_came_leaves_its_bytes_too():
    """The first one's end gives the second its turn, but it is killed before it can run."""
    throttle = Throttle(1)
    (first, second, third), done = waiters(throttle, BURST + 1000, BURST, BURST)
    first.kill(block=False)
    second.kill(block=False)
    third.join(10)
    assert done == [2]
    assert throttle.waiting == 0


def test_a_new_rate_holds_for_those_that_wait():
    throttle = emptied(1)
    greenlets, done = waiters(throttle, 100_000, 100_000)
    throttle.rate = FAST
    gevent.joinall(greenlets, timeout=10, raise_error=True)
    assert done == [0, 1]


def test_a_rate_of_zero_lets_nothing_through_until_there_is_another():
    throttle = Throttle(0)
    greenlets, done = waiters(throttle, 1, 1)
    gevent.sleep(0.05)
    assert (throttle.waiting, done) == (2, [])
    throttle.rate = FAST
    gevent.joinall(greenlets, timeout=10, raise_error=True)
    assert done == [0, 1]


def test_who_waits_is_let_through_by_another_parent():
    client, group = Throttle(0), Throttle(FAST)
    torrent = Throttle(parent=client)
    greenlets, done = waiters(torrent, BURST, BURST)
    assert client.waiting == 2
    torrent.set_parent(group)
    gevent.joinall(greenlets, timeout=10, raise_error=True)
    assert done == [0, 1]
    assert client.waiting == group.waiting == 0


def test_a_lifted_rate_lets_everyone_through():
    throttle = emptied(1)
    greenlets, done = waiters(throttle, 1 << 40, 1 << 40)
    throttle.rate = None
    gevent.joinall(greenlets, timeout=10, raise_error=True)
    assert done == [0, 1]


def test_the_parent_s_rate_is_kept_by_all_of_its_children():
    client = emptied(200_000)
    torrents = [Throttle(parent=client), Throttle(FAST, parent=client)]
    started = monotonic()
    greenlets = [greenlet for torrent in torrents for greenlet in waiters(torrent, 10_000, 10_000)[0]]
    gevent.joinall(greenlets, timeout=10, raise_error=True)
    assert monotonic() - started >= 4 * 10_000 / 200_000 * 0.95


def test_who_is_killed_while_it_waits_for_the_parent_gives_back_the_child_s_bytes():
    client = emptied(1)
    torrent = Throttle(1, parent=client)
    (greenlet,), _ = waiters(torrent, BURST)
    assert client.waiting == 1
    greenlet.kill()
    assert client.waiting == 0
    client.rate = None
    with gevent.Timeout(10):
        torrent.acquire(BURST)


@pytest.mark.skipif("uv" in str(gevent.config.loop), reason="libuv has no watchers that count its turns")
def test_waiting_is_no_busy_loop():
    """Half a second for a thousand waiters: about a turn of the loop for each tick, not one for each of them."""
    throttle = emptied(200_000)
    greenlets, _ = waiters(throttle, *[100] * 1000)
    turns: list[float] = []
    watcher = gevent.get_hub().loop.prepare()
    watcher.start(lambda: turns.append(monotonic()))
    gevent.joinall(greenlets, timeout=10, raise_error=True)
    watcher.close()
    passed = turns[-1] - turns[0]
    assert 1 <= len(turns) <= 2 * passed / limits.RATE_TICK + 30


def test_other_greenlets_run_while_some_wait():
    throttle = emptied(1)
    greenlets, _ = waiters(throttle, BURST)
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        while True:
            gevent.sleep(0)
            ticks += 1

    ticker = gevent.spawn(tick)
    eventually(lambda: ticks > 100)
    gevent.killall([*greenlets, ticker])


@pytest.mark.parametrize("rate", [-1, -1000])
def test_a_rate_below_zero_is_an_error(rate):
    with pytest.raises(ValueError, match="0 or more"):
        Throttle(rate)
    throttle = Throttle(1000)
    with pytest.raises(ValueError, match="0 or more"):
        throttle.rate = rate
    assert throttle.rate == 1000


def test_fewer_than_no_bytes_cannot_be_acquired():
    with pytest.raises(ValueError, match="0 or more"):
        Throttle(1000).acquire(-1)
