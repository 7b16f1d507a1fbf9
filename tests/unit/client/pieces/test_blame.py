"""Detection of the sender of a bad block."""

from __future__ import annotations

import sys
import threading

from geventbt import limits
from geventbt.client.pieces.blame import Blame

GOOD = {0: b"first", 16384: b"second", 32768: b"third"}


def sent(senders, bad=()):
    """The blocks of a piece, each from the sender at its place; those of `bad` offsets are wrong."""
    return [
        (offset, sender, data + b" but wrong" if offset in bad else data)
        for (offset, data), sender in zip(GOOD.items(), senders, strict=True)
    ]


def test_the_sender_of_a_whole_failed_piece_is_guilty_at_once():
    assert Blame().piece_failed(0, sent("aaa", bad=[0])) == {"a"}


def test_those_that_shared_a_failed_piece_are_not_blamed_for_it():
    assert Blame().piece_failed(0, sent("aab", bad=[0])) == set()


def test_a_good_copy_names_the_senders_of_blocks_that_differ():
    blame = Blame()
    blame.piece_failed(7, sent("abc", bad=[16384]))
    assert 7 in blame
    assert blame.piece_good(7, GOOD.items()) == {"b"}
    assert 7 not in blame
    assert blame.piece_good(7, GOOD.items()) == set()


def test_all_attempts_at_a_piece_are_remembered():
    blame = Blame()
    blame.piece_failed(7, sent("abc", bad=[0]))
    blame.piece_failed(7, sent("cab", bad=[32768]))
    blame.piece_failed(7, sent("bbc", bad=[0, 16384]))
    assert blame.piece_good(7, GOOD.items()) == {"a", "b"}


def test_a_good_piece_that_never_failed_names_no_peer():
    assert Blame().piece_good(0, GOOD.items()) == set()


def test_blocks_that_were_on_disk_have_no_sender():
    blame = Blame()
    assert blame.piece_failed(0, sent([None, None, None], bad=[0])) == set()
    assert blame.piece_failed(0, sent([None, "a", "a"], bad=[0])) == set()
    assert blame.piece_good(0, GOOD.items()) == set()


def test_a_good_copy_in_other_blocks_names_no_peer():
    blame = Blame()
    blame.piece_failed(0, sent("abc", bad=[16384]))
    assert blame.piece_good(0, [(0, b"first"), (5, b"secondthird")]) == set()


def test_memoryviews_and_bytearrays_are_compared_by_their_contents():
    blame = Blame()
    blame.piece_failed(0, [(0, "a", bytearray(b"x")), (1, "b", memoryview(b"y"))])
    assert blame.piece_good(0, [(0, b"x"), (1, bytearray(b"z"))]) == {"b"}


def test_a_piece_that_fails_from_three_sole_sources_is_parked_and_they_are_to_be_forgiven():
    blame = Blame()
    assert blame.piece_failed(3, sent("aaa", bad=[0])) == {"a"}
    assert blame.piece_failed(3, sent("bbb", bad=[0])) == {"b"}
    assert not blame.is_parked(3)
    assert blame.piece_failed(3, sent("ccc", bad=[0])) == set()
    assert blame.is_parked(3)
    assert blame.parked == {3: {"a", "b", "c"}}
    assert blame.piece_failed(3, sent("ddd", bad=[0])) == set()
    assert blame.parked == {3: {"a", "b", "c"}}


def test_the_same_sole_source_counts_once():
    blame = Blame()
    for _ in range(5):
        blame.piece_failed(3, sent("aaa", bad=[0]))
    assert not blame.is_parked(3)


def test_a_good_copy_of_a_parked_piece_names_all_that_lied_and_it_is_parked_no_more():
    blame = Blame()
    for sender in "abc":
        blame.piece_failed(3, sent(sender * 3, bad=[0]))
    assert blame.piece_good(3, GOOD.items()) == {"a", "b", "c"}
    assert not blame.is_parked(3)
    assert blame.parked == {}


def test_the_oldest_piece_is_forgotten_first_when_there_are_too_many():
    blame = Blame()
    for piece in range(limits.BLAMED_PIECES + 1):
        blame.piece_failed(piece, sent("abc", bad=[0]))
    assert 0 not in blame
    assert all(piece in blame for piece in range(1, limits.BLAMED_PIECES + 1))


def test_the_oldest_piece_is_forgotten_first_when_there_are_too_many_blocks(monkeypatch):
    monkeypatch.setattr(limits, "BLAMED_BLOCKS", 7)
    blame = Blame()
    for piece in range(3):
        blame.piece_failed(piece, sent("abc", bad=[0]))
    assert [piece in blame for piece in range(3)] == [False, True, True]


def test_of_a_piece_with_too_many_lies_the_last_attempt_is_remembered(monkeypatch):
    monkeypatch.setattr(limits, "BLAMED_BLOCKS", 4)
    blame = Blame()
    blame.piece_failed(0, [(offset, "a", b"lie 1") for offset in GOOD])
    blame.piece_failed(0, [(offset, "b", b"lie 2") for offset in GOOD])
    assert blame.piece_good(0, GOOD.items()) == {"b"}


def test_a_piece_with_more_blocks_than_the_bound_is_not_remembered(monkeypatch):
    monkeypatch.setattr(limits, "BLAMED_BLOCKS", 2)
    blame = Blame()
    assert blame.piece_failed(0, sent("aaa", bad=[0])) == {"a"}
    assert 0 not in blame
    blame.piece_failed(1, [(0, "a", b"x"), (1, "b", b"y")])
    assert 1 in blame


def test_the_same_blocks_again_take_no_more_room(monkeypatch):
    monkeypatch.setattr(limits, "BLAMED_BLOCKS", 3)
    blame = Blame()
    for _ in range(10):
        blame.piece_failed(0, sent("abc", bad=[0]))
    assert blame.piece_good(0, GOOD.items()) == {"a"}


def test_many_threads_may_hash_at_once(monkeypatch):
    monkeypatch.setattr(limits, "BLAMED_PIECES", 5)
    blame = Blame()
    errors = []

    def work(number):
        try:
            for turn in range(300):
                piece = 10 * number + turn % 10
                blame.piece_failed(piece, sent("aab" if turn % 2 else "aaa", bad=[0]))
                assert blame.piece_good(piece - 1, GOOD.items()) <= {"a"}
                assert len(blame.parked) == 0
        except Exception as error:
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert errors == []
    assert blame._record_count == sum(len(records) for records in blame._records.values()) <= 5 * 4


def test_pieces_with_sole_sources_are_bounded(monkeypatch):
    monkeypatch.setattr(limits, "SOLE_PIECES", 2)
    blame = Blame()
    for sender in "ab":
        for piece in range(3):
            blame.piece_failed(piece, sent(sender * 3, bad=[0]))
    for piece in range(3):
        blame.piece_failed(piece, sent("ccc", bad=[0]))
    assert len(blame.parked) <= 2
