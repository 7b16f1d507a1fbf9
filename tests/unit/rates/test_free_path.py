"""Whether the uplink has room is told by connections that are sent something and meet no queue."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from geventbt import limits
from geventbt.net.tcp_path import TcpPath
from geventbt.rates.free_path import FreePath

paths = st.lists(st.tuples(st.floats(0, 2), st.integers(0, 4 * limits.BLOCK)), max_size=5)


def at(queue_time: float, acknowledged: int) -> TcpPath:
    return TcpPath(queue_time, 0, acknowledged, 0.0)


@given(paths)
def test_there_is_room_where_one_of_those_that_are_sent_a_block_meets_no_queue(grown):
    free = FreePath()
    assert not free.look({number: at(0.0, 1000) for number in range(len(grown))})
    after = {number: at(queue_time, 1000 + count) for number, (queue_time, count) in enumerate(grown)}
    expected = any(queue_time < 0.05 and count >= limits.BLOCK for queue_time, count in grown)
    assert free.look(after) == expected
    assert not free.look(after)


def test_a_connection_that_is_new_to_it_tells_nothing():
    free = FreePath()
    free.look({})
    assert not free.look({"new": at(0.0, 1 << 30)})
