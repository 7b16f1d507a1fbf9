"""What is given to the system while all that is sent meets a queue in front of the uplink."""

from __future__ import annotations

import pytest

from geventbt import limits
from geventbt.net.tcp_path import TcpPath
from geventbt.rates.uplink_queue import UplinkQueue

PEERS = 4
STEP = 0.05
FULL = 0.5
"""Seconds of queue of a full uplink."""


class Line:
    """An uplink that acknowledges so many bytes a second, evenly of all peers."""

    def __init__(self, rate: float, peers: int = PEERS) -> None:
        self.queue: UplinkQueue = UplinkQueue()
        self.now = 100.0
        self.rate = rate
        self.peers = peers
        self.acknowledged = 0.0
        self.under_way = 0
        self.queue_times: list[float] = [FULL] * peers
        self.silence = 0.0

    def go_on(self, seconds: float) -> list[int | None]:
        """Look at it for so long. Returns how much room there was at each look."""
        rooms = []
        for _ in range(round(seconds / STEP)):
            self.acknowledged += self.rate * STEP / self.peers
            paths = {
                peer: TcpPath(queue_time, self.under_way // self.peers, int(self.acknowledged), self.silence)
                for peer, queue_time in enumerate(self.queue_times)
            }
            self.queue.look(paths, self.now)
            rooms.append(self.queue.room)
            self.now += STEP
        return rooms


def test_an_uplink_that_is_full_is_given_what_it_sends_in_a_little_time():
    line = Line(1e6)
    assert line.go_on(0.35) == [None] * 7
    assert line.go_on(5)[-1] == pytest.approx(0.6e6, rel=0.1)
    line.under_way = 2_000_000
    assert line.go_on(STEP)[0] < 0


def test_what_is_given_leaves_less_room():
    line = Line(1e6)
    line.go_on(5)
    before = line.queue.room
    line.queue.give(1000)
    assert line.queue.room == before - 1000


def test_a_slow_uplink_is_given_some_blocks_all_the_same():
    assert Line(1000).go_on(5)[-1] == 3 * limits.BLOCK


@pytest.mark.parametrize(
    "queue_times",
    [[0.0] * 4, [FULL, FULL, FULL, 0.1], [FULL] * 2],
    ids=["no queue", "one that meets none", "two connections"],
)
def test_nothing_is_held_back_where_it_is_not_known_that_the_uplink_is_full(queue_times):
    line = Line(1e6, peers=len(queue_times))
    line.queue_times = queue_times
    assert line.go_on(5) == [None] * 100


def test_a_connection_that_was_not_heard_of_lately_is_no_witness():
    line = Line(1e6)
    line.silence = 1.0
    assert line.go_on(5) == [None] * 100


def test_nothing_is_held_back_where_the_rate_falls_as_then_the_delay_is_elsewhere():
    line = Line(1e6)
    assert line.go_on(5)[-1] is not None
    line.rate = 0.4e6
    assert line.go_on(3)[-1] is None


def test_now_and_then_nothing_is_held_back_for_a_while():
    rooms = Line(1e6).go_on(60)
    assert 0.75 < sum(room is not None for room in rooms) / len(rooms) < 0.9


def test_nothing_is_held_back_after_a_pause_of_which_nothing_is_known():
    line = Line(1e6)
    assert line.go_on(5)[-1] is not None
    line.now += 10
    line.acknowledged += 10e6
    assert line.go_on(STEP) == [None]


def test_no_connections_are_no_reason_to_hold_anything_back():
    queue: UplinkQueue = UplinkQueue()
    queue.look({}, 1.0)
    assert queue.room is None
