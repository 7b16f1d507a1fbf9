"""The receiving half of a uTP stream."""

from __future__ import annotations

import pytest

from geventbt import limits
from geventbt.protocol.utp.inbox import Inbox


def taken(inbox: Inbox) -> bytes:
    return b"".join(inbox.take(1 << 30))


def test_what_comes_late_is_put_in_its_place():
    inbox = Inbox(10, 1000)
    for seq, payload in ((12, b"c"), (11, b"b"), (14, b"e"), (10, b"a")):
        inbox.add(seq, payload)
    assert (taken(inbox), inbox.expected, inbox.has_gap) == (b"abc", 13, True)
    inbox.add(13, b"d")
    assert (taken(inbox), inbox.expected, inbox.has_gap) == (b"de", 15, False)


def test_the_acknowledgement_tells_what_has_come_behind_a_gap():
    inbox = Inbox(10, 1000)
    assert inbox.sack is None
    for seq in (11, 13, 20):
        inbox.add(seq, b"x")
    assert inbox.sack == 1 << 0 | 1 << 2 | 1 << 9


def test_a_second_copy_changes_nothing():
    inbox = Inbox(10, 1000)
    for seq, payload in ((10, b"a"), (10, b"X"), (12, b"c"), (12, b"Y"), (11, b"b"), (11, b"Z")):
        inbox.add(seq, payload)
    assert taken(inbox) == b"abc"


def test_a_run_that_overlaps_what_has_come_counts_once():
    inbox = Inbox(10, 1000)
    inbox.add(12, b"c")
    inbox.add_run(10, [b"a", b"b", b"X", b"d"])
    inbox.add_run(9, [b"X", b"X", b"X", b"X", b"X", b"e"])
    assert taken(inbox) == b"abcde"


def test_there_is_no_more_held_than_there_is_room_for():
    inbox = Inbox(0, 100)
    inbox.add_run(0, [bytes(40)] * 4)
    assert (inbox.ready, inbox.window) == (80, 20)
    inbox.add(5, bytes(21))
    assert (inbox.window, inbox.has_gap) == (20, False)
    taken(inbox)
    assert inbox.window == 100


def test_a_gap_can_be_filled_when_what_is_behind_it_takes_all_the_room():
    inbox = Inbox(0, 100)
    inbox.add(1, bytes(100))
    assert inbox.window == 0
    inbox.room = 50
    inbox.add(0, bytes(40))
    assert (inbox.expected, inbox.ready) == (2, 140)


def test_what_is_far_ahead_is_dropped():
    inbox = Inbox(0, 1 << 20)
    inbox.add(limits.UTP_EARLY_PACKETS, b"x")
    assert not inbox.has_gap
    inbox.add(limits.UTP_EARLY_PACKETS - 1, b"x")
    assert inbox.has_gap


def test_packets_without_bytes_take_no_room():
    inbox = Inbox(0, 100)
    inbox.add_run(0, [b""] * 1000)
    inbox.add(1000, b"")
    assert (inbox.expected, inbox.ready, inbox.take(10)) == (1001, 0, [])


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_end_comes_behind_all_that_was_sent(order):
    inbox = Inbox(0, 100)
    for seq in order:
        assert not inbox.at_end
        if seq == 2:
            inbox.finish(2)
        else:
            inbox.add(seq, b"ab"[seq : seq + 1])
    assert not inbox.at_end
    assert taken(inbox) == b"ab"
    assert inbox.at_end


def test_nothing_comes_behind_the_end_and_it_does_not_move():
    inbox = Inbox(0, 100)
    inbox.finish(1)
    inbox.add(2, b"x")
    inbox.finish(5)
    inbox.add(0, b"a")
    assert (taken(inbox), inbox.at_end, inbox.expected) == (b"a", True, 2)


def test_an_end_before_what_has_come_is_not_believed():
    inbox = Inbox(0, 100)
    inbox.add(3, b"d")
    inbox.finish(2)
    assert inbox.end is None


def test_bytes_are_taken_packet_by_packet():
    inbox = Inbox(0, 10_000)
    a, b, c = (letter * 1000 for letter in (b"a", b"b", b"c"))
    inbox.add_run(0, [a, b, c])
    assert inbox.take(1500) == [a, b]
    assert (inbox.ready, inbox.take(1)) == (1000, [c])


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_small_packets_are_kept_together(at_once):
    inbox = Inbox(0, 100_000)
    sent = [b"%02d" % (number % 100) for number in range(20_000)]
    for first in range(0, len(sent), at_once):
        inbox.add_run(first, sent[first : first + at_once])
    assert (inbox.ready, inbox.window) == (40_000, 60_000)
    taken = inbox.take(40_000)
    assert b"".join(taken) == b"".join(sent)
    assert len(taken) < 1000
