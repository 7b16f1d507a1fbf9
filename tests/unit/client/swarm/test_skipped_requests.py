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
    assert skipped.may_have_all(1, 0.0)
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


# ------------------------------------------------------------------ chokes


def choked(*numbers: int) -> SkippedRequests:
    """Some of which a choke has left these in doubt."""
    skipped = SkippedRequests()
    for key in requests(*numbers):
        skipped.note_choked(key)
    assert skipped.has_choked
    assert skipped.is_in_doubt
    return skipped


def test_after_a_choke_nothing_is_given_up_before_the_peer_answers():
    assert choked(1, 2, 3).take_dropped_by_choke() == []


def test_a_queue_that_a_choke_has_ended_is_known_by_the_answer_to_a_later_request():
    skipped = choked(1, 2, 3)
    skipped.note_sent()
    assert not skipped.is_in_doubt
    skipped.note(requests(4))
    assert skipped.take_dropped_by_choke() == requests(1, 2, 3)
    assert not skipped.has_choked


def test_a_queue_that_was_kept_is_answered_in_its_order():
    skipped = choked(1, 2, 3)
    skipped.note_sent()
    for key in requests(1, 2, 3):
        skipped.note_late(key)
    skipped.note(requests(4))
    assert skipped.take_dropped_by_choke() == []


def test_requests_that_came_after_the_unchoke_are_kept_and_those_before_are_not():
    skipped = choked(1, 2, 3, 4)
    skipped.note_sent()
    skipped.note_late(request(3))
    assert skipped.take_dropped_by_choke() == requests(1, 2)
    skipped.note_late(request(4))
    assert skipped.take_dropped_by_choke() == []


def test_the_last_request_is_repeated_at_once_where_there_is_no_other_one():
    skipped = choked(1, 2, 3)
    assert skipped.take_repeated(10.0) == request(3)
    skipped.note_sent()
    assert skipped.take_repeated(10.0) is None
    skipped.note(requests(3))
    assert skipped.take_dropped_by_choke() == requests(1, 2)


def test_a_peer_that_keeps_its_queue_is_rarely_sent_a_request_twice():
    order, waits = requests(1, 2, 3), []
    skipped = choked(1, 2, 3)
    for _ in range(4):
        now = 0.0
        while skipped.take_repeated(now) is None:
            now += 1.0
        waits.append(now)
        skipped.note_sent()
        # The first one comes, and then another choke.
        first, repeated = order.pop(0), order.pop()
        skipped.note_late(first)
        for key in (repeated, first):
            skipped.note_choked(key)
            order.append(key)
    assert waits == [0.0, 2.0, 4.0, 8.0]


def test_a_choke_stays_in_doubt_after_an_answer_that_says_nothing():
    skipped = SkippedRequests()
    skipped.forget(request(4))
    for key in requests(1, 2):
        skipped.note_choked(key)
    skipped.note_sent()
    assert not skipped.is_in_doubt
    skipped.note(requests(4))
    assert skipped.take_dropped_by_choke() == []
    assert skipped.is_in_doubt


# ------------------------------------------------------------------ silence


def test_a_peer_that_never_answered_may_have_dropped_all():
    skipped = SkippedRequests()
    assert skipped.take_passed_over(requests(1, 2), 0.0) == []
    assert not skipped.may_have_all(2, 0.0)
    assert skipped.take_passed_over(requests(1, 2), 2.0) == []
    assert skipped.may_have_all(2, 2.0)


def test_a_peer_in_the_middle_of_an_answer_is_not_silent():
    skipped = following(1, 2)
    assert not skipped.wants_probe(0.0)
    skipped.note_bytes()
    assert not skipped.wants_probe(2.0)
    assert skipped.wants_probe(4.0)


def probed() -> SkippedRequests:
    """Some of which the last of three is sent again."""
    skipped = following(1, 2, 3)
    assert not skipped.wants_probe(0.0)
    assert skipped.wants_probe(2.0)
    assert skipped.take_probe(requests(1, 2, 3)) == request(3)
    assert skipped.take_probe(requests(1, 2, 3)) is None
    return skipped


def test_those_before_the_last_one_are_dropped_when_that_is_answered():
    skipped = probed()
    skipped.note(requests(3))
    assert skipped.is_due
    assert skipped.take_dropped(requests(1, 2)) == requests(1, 2)


def test_a_slow_peer_is_sent_the_last_request_again_more_rarely():
    skipped = probed()
    skipped.note(requests(1, 2, 3))
    assert skipped.take_dropped(requests(4)) == []
    assert not skipped.wants_probe(10.0)
    assert not skipped.wants_probe(13.9)
    assert skipped.wants_probe(14.0)
