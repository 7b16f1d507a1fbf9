"""Each block that a reader waits for is asked of the source that delivers it first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from geventbt.client.pieces.delivery import Delivery, LateBlock, deal

NEVER = float("inf")


def unasked(count: int) -> list[LateBlock]:
    return [LateBlock(block, (), NEVER) for block in range(count)]


def test_a_delivery_says_how_many_blocks_come_before_a_deadline():
    delivery = Delivery(10.0, 0.5)
    assert [delivery.by(time) for time in (0.0, 9.9, 10.0, 10.4, 10.5, 12.0)] == [0, 0, 1, 1, 2, 5]
    assert delivery.behind(3) == Delivery(11.5, 0.5, room=delivery.room - 3)


def test_what_is_overdue_is_due_at_the_end_of_the_grace():
    assert Delivery(10.0, 0.5, grace=11.0).by(0.0) == 3
    assert Delivery(10.0, 0.5, grace=11.0).by(12.0) == 5


def test_a_slow_source_gets_nothing_that_fast_ones_deliver_sooner():
    deliveries = {"fast": Delivery(0.1, 0.01), "slow": Delivery(0.2, 0.5)}
    assert deal(unasked(8), deliveries, 0.0) == {"fast": list(range(8))}


def test_sources_get_shares_by_their_speed():
    deliveries = {"fast": Delivery(0.1, 0.1), "slow": Delivery(0.3, 0.3)}
    assert {source: len(blocks) for source, blocks in deal(unasked(8), deliveries, 0.0).items()} == {
        "fast": 6,
        "slow": 2,
    }


def test_nobody_gets_more_than_it_has_room_for():
    deliveries = {"fast": Delivery(0.1, 0.01, room=3), "slow": Delivery(0.2, 0.5), "full": Delivery(0.0, 0.1, room=0)}
    assert deal(unasked(4), deliveries, 0.0) == {"fast": [0, 1, 2], "slow": [3]}


def test_what_may_wait_is_left_for_the_first_source_although_others_have_room():
    deliveries = {"fast": Delivery(0.1, 0.01, room=3), "slow": Delivery(0.2, 0.5)}
    assert deal(unasked(8), deliveries, 0.0, may_wait=True) == {"fast": [0, 1, 2]}
    assert deal(unasked(12), deliveries, 0.0, may_wait=True) == {"fast": [0, 1, 2], "slow": [10]}
    assert deal(unasked(8), {"full": Delivery(0.1, 0.01, room=0)}, 0.0, may_wait=True) == {}


def test_nobody_gets_anything_where_nobody_can_deliver():
    assert deal(unasked(2), {}, 0.0) == {}


def test_a_late_block_is_asked_of_another_only_if_it_comes_much_sooner_so():
    late = [LateBlock(0, ("slow",), 1.0)]
    assert deal(late, {"slow": Delivery(0.1, 0.1), "fast": Delivery(0.4, 0.1)}, 0.0) == {"fast": [0]}
    assert deal(late, {"slow": Delivery(0.1, 0.1), "other": Delivery(0.7, 0.1)}, 0.0) == {}
    assert deal(late, {"slow": Delivery(0.1, 0.1)}, 0.0) == {}


def test_what_nobody_was_asked_for_comes_before_what_is_late():
    blocks = [LateBlock(0, ("slow",), 0.5), LateBlock(1, (), NEVER)]
    assert deal(blocks, {"fast": Delivery(0.2, 0.2)}, 0.0) == {"fast": [1]}


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), min_size=1, max_size=4),
)
def test_no_other_deal_ends_sooner(count, speeds):
    deliveries = {number: Delivery(float(first), float(interval)) for number, (first, interval) in enumerate(speeds)}
    dealt = deal(unasked(count), deliveries, -1.0)
    assert sorted(block for blocks in dealt.values() for block in blocks) == list(range(count))
    end = max(deliveries[source].behind(len(blocks) - 1).first for source, blocks in dealt.items())
    # A moment before it, all sources together would have delivered too little.
    assert sum(delivery.by(end - 0.5) for delivery in deliveries.values()) < count
