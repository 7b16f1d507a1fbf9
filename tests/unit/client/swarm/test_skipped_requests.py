"""Which requests a peer without the fast extension has dropped."""

from __future__ import annotations

from geventbt.client.swarm.skipped_requests import SkippedRequests
from geventbt.protocol.connection import RequestKey


def request(number: int) -> RequestKey:
    return (number, 0, 16384)


def requests(*numbers: int) -> list[RequestKey]:
    return [request(number) for number in numbers]


def following(*numbers: int) -> SkippedRequests:
    """Some that has seen one answer, and follows what is pending."""
    skipped = SkippedRequests()
    skipped.note([request(0)])
    assert skipped.is_due
    assert skipped.take_dropped(requests(*numbers)) == []
    return skipped


def test_a_peer_that_answers_in_order_drops_nothing():
    skipped = following(1, 2, 3)
    for number in range(1, 50):
        skipped.note([request(number)])
        if skipped.is_due:
            assert skipped.take_dropped(requests(number + 1, number + 2, number + 3)) == []


def test_a_request_is_dropped_when_several_later_ones_have_been_answered():
    skipped = following(1, 2)
    skipped.note(requests(1, 3, 4))
    assert not skipped.is_due
    assert skipped.has_suspects
    skipped.note(requests(5))
    assert skipped.is_due
    assert skipped.take_dropped(requests(2, 6)) == [request(2)]


def test_a_request_that_ended_in_another_way_may_be_sent_again():
    skipped = following(1, 2)
    skipped.forget(request(2))
    skipped.note(requests(1, 3))
    assert skipped.take_dropped(requests(2, 4)) == []


def test_a_late_answer_is_not_waited_for_any_more():
    skipped = following(1, 2)
    skipped.note(requests(3, 2, 1))
    assert skipped.is_due
    assert skipped.take_dropped(requests(4)) == []
