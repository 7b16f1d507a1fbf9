"""Greenlets that send blocks wait in turn while there is a queue in front of the uplink."""

from __future__ import annotations

from time import monotonic

import gevent

from geventbt import limits
from geventbt.net.tcp_path import TcpPath
from geventbt.rates.uplink_gate import UplinkGate
from tests.loopback.harness import eventually


class Full:
    """A full uplink of 1 MB/s whose clock stands still between looks."""

    def __init__(self, under_way: int) -> None:
        self.under_way = under_way
        self.queue_time = 0.5
        self.seconds = 100.0
        self.gate = UplinkGate(lambda: self.seconds)
        self.gate.add(self)
        while not self.enters_alone():
            pass

    @property
    def paths(self) -> dict[object, TcpPath]:
        self.seconds += 0.1
        acknowledged = int(self.seconds * 1e6 / 4)
        return {(self, peer): TcpPath(self.queue_time, self.under_way // 4, acknowledged, 0.0) for peer in range(4)}

    def enters_alone(self) -> bool:
        """Whether a greenlet is let in for one block, or has to wait."""
        self.seconds += 0.1
        entered = gevent.spawn(self.gate.enter)
        gevent.idle()
        if entered.ready():
            return bool(entered.value)
        entered.kill()
        return True


def test_without_a_queue_any_number_of_blocks_is_sent_at_once():
    gate = UplinkGate(monotonic)
    assert not gate.enter()


def test_while_there_is_room_one_block_at_a_time_is_sent():
    full = Full(under_way=0)
    assert [full.gate.enter() for _ in range(3)] == [True] * 3


def test_greenlets_wait_in_turn_until_there_is_room():
    full = Full(under_way=10_000_000)
    entered: list[int] = []
    waiting = [gevent.spawn(lambda number=number: full.gate.enter() and entered.append(number)) for number in range(9)]
    gevent.sleep(0.1)
    assert entered == []
    full.under_way = 600_000 - 3 * limits.BLOCK
    eventually(lambda: len(entered) >= 3)
    full.under_way = 0
    gevent.joinall(waiting, timeout=5, raise_error=True)
    assert entered == list(range(9))


def test_those_that_wait_are_let_in_when_the_queue_is_gone():
    full = Full(under_way=10_000_000)
    waiting = gevent.spawn(full.gate.enter)
    gevent.idle()
    full.queue_time = 0.0
    assert waiting.get(timeout=5)


def test_a_greenlet_that_is_killed_holds_up_no_other():
    full = Full(under_way=10_000_000)
    waiting = [gevent.spawn(full.gate.enter) for _ in range(3)]
    gevent.idle()
    waiting[0].kill()
    full.under_way = 0
    assert [each.get(timeout=5) for each in waiting[1:]] == [True, True]


def test_what_all_senders_have_under_way_counts_until_they_are_removed():
    full, other = Full(under_way=0), Full(under_way=10_000_000)
    full.gate.add(other)
    waiting = gevent.spawn(full.gate.enter)
    gevent.sleep(0.1)
    assert not waiting.ready()
    full.gate.remove(other)
    assert waiting.get(timeout=5)
