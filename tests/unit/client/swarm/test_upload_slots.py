"""The number of upload slots follows the uplink."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventbt import limits
from geventbt.client.swarm.upload_slots import UploadSlots

ROUND = int(limits.CHOKE_INTERVAL)
WAITING = 100
"""Interested peers."""


def counts(
    slots: UploadSlots, rate_of: Callable[[int], float], rounds: int = 30, wanting: int = WAITING
) -> list[int | None]:
    """The slots after each round of a busy uplink, over which `rate_of` says how fast a number of receivers takes."""
    now, uploaded, seen = 0, 0.0, []
    for _ in range(rounds):
        for _ in range(ROUND):
            slots.sample(now, int(uploaded), is_busy=True)
            now += 1
            assert slots.count is not None
            uploaded += rate_of(min(slots.count, wanting))
        slots.on_round(wanting)
        seen.append(slots.count)
    return seen


def uplink(rate: float) -> Callable[[int], float]:
    """An uplink that any receiver can fill."""
    return lambda count: rate


def receivers(rate: float, uplink: float = 1e9) -> Callable[[int], float]:
    """Receivers that take no more than their rate, over an uplink that may be full."""
    return lambda count: min(count * rate, uplink)


def test_a_slow_uplink_has_one_slot_and_a_fast_one_all():
    assert counts(UploadSlots(8), uplink(125_000), rounds=4) == [1, 1, 1, 1]
    assert set(counts(UploadSlots(8), uplink(4 * limits.UPLOAD_SLOT_RATE))[1:]) == {4}
    assert set(counts(UploadSlots(8), uplink(1e9))) == {8}


def test_without_a_limit_there_are_as_many_as_the_uplink_feeds():
    assert set(counts(UploadSlots(None), uplink(125_000))[1:]) == {1}
    assert counts(UploadSlots(None), uplink(50 * limits.UPLOAD_SLOT_RATE))[-1] == 50


def sample(slots: UploadSlots, rates: Iterable[float], *, idle: Collection[int] = ()) -> None:
    """Seconds in which so many bytes are uploaded; at the end of some there is nothing to send."""
    uploaded = 0.0
    slots.sample(0.0, 0, is_busy=0 not in idle)
    for second, rate in enumerate(rates, 1):
        uploaded += rate
        slots.sample(second, int(uploaded), is_busy=second not in idle)


def test_a_fast_uplink_has_more_within_two_seconds():
    slots = UploadSlots(None)
    sample(slots, [200 * limits.UPLOAD_SLOT_RATE] * 2)
    assert slots.count == 200


def test_what_fills_buffers_in_one_second_is_no_fast_uplink():
    slots = UploadSlots(8)
    sample(slots, [0, 20 * limits.UPLOAD_SLOT_RATE, 0, 20 * limits.UPLOAD_SLOT_RATE])
    assert slots.count == limits.FIRST_UPLOAD_SLOTS


@given(st.lists(st.booleans(), min_size=20, max_size=60))
def test_seconds_without_enough_to_send_teach_nothing(idle: list[bool]):
    """A full uplink has the slots that it feeds, however often there is nothing to send."""
    rate = 3 * limits.UPLOAD_SLOT_RATE
    slots = UploadSlots(8)
    for begin in range(0, len(idle), ROUND):
        part = idle[begin : begin + ROUND]
        sample(
            slots,
            [0 if is_idle else rate for is_idle in part],
            idle={second for second, is_idle in enumerate([True, *part]) if is_idle},
        )
        slots.on_round(WAITING)
        assert slots.count in (limits.FIRST_UPLOAD_SLOTS, 3)


@pytest.mark.parametrize("rate", [5_000, 50_000, 120_000])
def test_slow_receivers_leave_the_slots_of_a_fast_uplink_to_many(rate):
    """A rate that is the receivers' does not show that the uplink is full."""
    seen = counts(UploadSlots(8), receivers(rate))
    assert seen.count(8) > 0.8 * len(seen)
    seen = counts(UploadSlots(None), receivers(rate))[8:]
    assert seen.count(WAITING) > 0.8 * len(seen)


def test_receivers_fill_a_middle_uplink():
    """Of 50 kB/s each, over 1 MB/s."""
    rate_of = receivers(50_000, 1e6)
    seen = counts(UploadSlots(None), rate_of, rounds=60)
    assert sum(rate_of(count or 0) for count in seen[8:]) / len(seen[8:]) > 0.8e6


def test_a_slow_peer_in_the_only_slot_makes_room_for_more():
    slots = UploadSlots(8)
    counts(slots, uplink(125_000), rounds=3)
    assert slots.count == 1
    assert 4 in counts(slots, receivers(20_000), rounds=4)


def test_peers_that_take_nothing_teach_nothing():
    slots = UploadSlots(8)
    assert set(counts(slots, receivers(0))) == {limits.FIRST_UPLOAD_SLOTS}
    assert counts(slots, receivers(1))[-1] == 8


def test_slots_that_nobody_waits_for_are_not_counted():
    assert max(counts(UploadSlots(None), receivers(5_000), wanting=6)) <= 6


def test_an_idle_uplink_opens_one_more_up_to_the_limit_until_the_next_round():
    slots = UploadSlots(limits.FIRST_UPLOAD_SLOTS + 2)
    assert slots.count == limits.FIRST_UPLOAD_SLOTS
    assert [slots.on_idle() for _ in range(4)] == [True, True, False, False]
    assert slots.count == limits.FIRST_UPLOAD_SLOTS + 2
    slots.on_round(WAITING)
    assert slots.count == limits.FIRST_UPLOAD_SLOTS


def test_while_nothing_queues_on_its_way_there_are_half_as_many_more_each_second():
    slots = UploadSlots(limits.FIRST_UPLOAD_SLOTS * 2)
    slots.on_free_path()
    assert slots.count == limits.FIRST_UPLOAD_SLOTS * 3 // 2
    for _ in range(5):
        slots.on_free_path()
    assert slots.count == limits.FIRST_UPLOAD_SLOTS * 2


def test_nothing_is_decided_before_the_uplink_is_measured():
    slots = UploadSlots(8)
    slots.sample(0, 0, is_busy=True)
    slots.on_round(WAITING)
    assert slots.count == limits.FIRST_UPLOAD_SLOTS


def test_no_slots_stay_none():
    slots = UploadSlots(0)
    assert set(counts(slots, uplink(1e6))) == {0}
    slots.on_idle()
    slots.on_free_path()
    assert slots.count == 0


@pytest.mark.parametrize("most", [8, None])
def test_it_can_be_told_not_to_follow(most):
    slots = UploadSlots(most, follows_uplink=False)
    for second in range(11):
        slots.sample(second, second, is_busy=True)
    slots.on_round(WAITING)
    slots.on_idle()
    slots.on_free_path()
    assert slots.count == most
