"""The queue of key computations: in order, bounded for each address, left at once by those that have hung up."""

from __future__ import annotations

import gevent
import pytest

from geventbt import limits
from geventbt.errors import HandshakeError
from geventbt.wire.transports.key_queue import KeyQueue
from tests.loopback.harness import eventually


def test_steps_are_taken_one_at_a_time_in_the_order_of_arrival():
    queue, done = KeyQueue(), []
    for number in range(5):
        queue.add(number, "192.0.2.1", lambda number=number: done.append(number))
    assert done == []
    eventually(lambda: len(done) == 5)
    assert done == [0, 1, 2, 3, 4]
    assert len(queue) == 0


def test_others_run_between_two_steps():
    queue, seen = KeyQueue(), []
    for number in range(3):
        queue.add(number, "192.0.2.1", lambda: gevent.spawn(seen.append, len(queue)))
    eventually(lambda: seen == [2, 1, 0])


def test_a_connection_that_hangs_up_leaves_at_once_and_makes_room_for_its_address():
    queue, done = KeyQueue(), []
    for number in range(limits.KEYS_PER_ADDRESS):
        queue.add(number, "192.0.2.1", lambda number=number: done.append(number))
    queue.discard(0)
    queue.discard(0)
    queue.discard("unknown")
    queue.add("late", "192.0.2.1", lambda: done.append("late"))
    eventually(lambda: "late" in done)
    assert 0 not in done


@pytest.mark.parametrize(
    ("host", "other"), [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8:0:1::1"), ("::ffff:192.0.2.1", "::1")]
)
def test_an_address_has_no_more_than_its_share(host, other):
    queue, done = KeyQueue(), []
    for number in range(limits.KEYS_PER_ADDRESS):
        queue.add(number, host, lambda: done.append(1))
    with pytest.raises(HandshakeError, match="too many"):
        queue.add("more", host, lambda: done.append(1))
    queue.add("other", other, lambda: done.append(1))
    eventually(lambda: len(done) == limits.KEYS_PER_ADDRESS + 1)


def test_all_addresses_together_are_bounded(monkeypatch):
    monkeypatch.setattr(limits, "KEY_QUEUE", 3)
    queue, done = KeyQueue(), []
    for number in range(3):
        queue.add(number, f"192.0.2.{number}", lambda: done.append(1))
    with pytest.raises(HandshakeError):
        queue.add("more", "192.0.2.9", lambda: done.append(1))
    eventually(lambda: len(done) == 3)


def test_it_goes_on_after_a_pause():
    queue, done = KeyQueue(), []
    for number in range(3):
        queue.add(number, "192.0.2.1", lambda: done.append(1))
        eventually(lambda number=number: len(done) == number + 1)
