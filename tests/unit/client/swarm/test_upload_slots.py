"""The number of upload slots follows the uplink."""

from __future__ import annotations

import pytest

from geventbt import limits
from geventbt.client.swarm.upload_slots import UploadSlots


def after(most: int, rate: float) -> int | None:
    """The slots after ten seconds of a busy uplink."""
    slots = UploadSlots(most)
    for second in range(11):
        slots.sample(second, int(second * rate))
    slots.on_round()
    return slots.count


def test_a_slow_uplink_has_one_slot_and_a_fast_one_all():
    assert after(8, 125_000) == 1
    assert after(8, 4 * limits.UPLOAD_SLOT_RATE) == 4
    assert after(8, 1e9) == 8


def test_an_idle_uplink_opens_one_more_up_to_the_limit():
    slots = UploadSlots(6)
    assert slots.count == limits.FIRST_UPLOAD_SLOTS
    for _ in range(5):
        slots.on_idle()
    assert slots.count == 6


def test_nothing_is_decided_before_the_uplink_is_measured():
    slots = UploadSlots(8)
    slots.sample(0, 0)
    slots.on_round()
    assert slots.count == limits.FIRST_UPLOAD_SLOTS


@pytest.mark.parametrize("most", [None, 0])
def test_no_limit_and_no_slots_stay_as_they_are(most):
    slots = UploadSlots(most)
    for second in range(11):
        slots.sample(second, second << 20)
    slots.on_round()
    slots.on_idle()
    assert slots.count == most


def test_it_can_be_told_not_to_follow():
    slots = UploadSlots(8, follows_uplink=False)
    for second in range(11):
        slots.sample(second, second)
    slots.on_round()
    assert slots.count == 8
