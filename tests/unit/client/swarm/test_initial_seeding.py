"""Dealing out the first copy (BEP 16)."""

from __future__ import annotations

import pytest
from bitarray.util import zeros

from geventbt import Geometry
from geventbt.client.swarm.initial_seeding import InitialSeeding

PIECES = 10
SIZE = 1 << 18


def swarm(*peers, pieces=PIECES):
    seeding = InitialSeeding(Geometry(pieces * SIZE, SIZE))
    for peer in peers:
        seeding.join(peer, zeros(pieces, "big"))
    return seeding


@pytest.fixture
def seeding():
    """Two leechers in turn, and one that waits."""
    seeding = swarm("a", "b", "waits")
    seeding.set_turn("a", True)
    seeding.set_turn("b", True)
    return seeding


def test_each_leecher_in_turn_is_offered_other_pieces(seeding):
    assert seeding.offer("a", 2) == [0, 1]
    assert seeding.offer("b", 2) == [2, 3]


def test_a_leecher_that_has_enough_to_ask_for_is_offered_nothing_more(seeding):
    seeding.offer("a", 2)
    assert seeding.offer("a", 2) == []


def test_what_was_sent_whole_makes_room_for_the_next_offer(seeding):
    seeding.offer("a", 2)
    assert not seeding.send("a", 0, SIZE // 2)
    assert seeding.send("a", 0, SIZE // 2)
    assert seeding.offer("a", 2) == [2]


def test_a_leecher_that_waits_is_offered_one_piece_on_loan(seeding):
    assert seeding.offer("waits", 3) == [0]
    assert seeding.offer("a", 2) == [1, 2]


def test_a_loan_may_be_dealt_to_another_when_nothing_else_is_left():
    seeding = swarm("a", "waits", pieces=2)
    seeding.set_turn("a", True)
    seeding.offer("waits", 1)
    assert seeding.offer("a", 2) == [1, 0]


def test_a_firm_offer_is_not_repeated_to_another_unless_the_uplink_is_idle():
    seeding = swarm("a", "b", pieces=1)
    for peer in "ab":
        seeding.set_turn(peer, True)
    assert seeding.offer("a", 1) == [0]
    assert seeding.offer("b", 1) == []
    assert not seeding.has_new_for("b")
    assert seeding.offer("b", 1, again=True) == [0]


def test_an_offer_that_another_was_dealt_leaves_room_for_a_new_one():
    seeding = swarm("a", "b", pieces=3)
    seeding.offer("b", 1)
    seeding.set_turn("a", True)
    seeding.offer("a", 3)
    seeding.send("a", 0, SIZE)
    seeding.set_turn("a", False)
    seeding.set_turn("b", True)
    assert seeding.offer("b", 1) == [1]


def test_pieces_that_a_leecher_brings_are_not_dealt():
    seeding = swarm("a")
    brought = zeros(PIECES, "big")
    brought[:9] = 1
    seeding.join("b", brought)
    seeding.set_turn("a", True)
    assert seeding.offer("a", 5) == [9]


def test_what_one_chose_that_sees_all_is_not_offered_to_others(seeding):
    seeding.join("sees", zeros(PIECES, "big"), sees_all=True)
    seeding.set_turn("sees", True)
    seeding.send("sees", 0, 1000)
    assert seeding.offer("sees", 2) == []
    assert seeding.offer("a", 1) == [1]


def test_it_is_over_when_each_piece_is_held():
    seeding = swarm("a", "b", pieces=2)
    seeding.gain("a", 0)
    assert not seeding.is_over
    seeding.gain("b", 1)
    assert seeding.is_over


def test_what_only_a_leecher_held_that_left_is_dealt_again():
    seeding = swarm("a", "b", pieces=2)
    seeding.set_turn("b", True)
    for piece in range(2):
        seeding.gain("a", piece)
    seeding.gain("b", 0)
    seeding.leave("a")
    assert not seeding.is_over
    assert seeding.offer("b", 2) == [1]


def test_pieces_that_were_never_sent_tell_of_another_seed(seeding):
    seeding.offer("a", 1)
    seeding.send("a", 0, SIZE)
    seeding.gain("b", 0)
    assert not seeding.has_rival
    seeding.gain("b", 7)
    seeding.gain("a", 8)
    assert seeding.has_rival


def test_pieces_of_one_that_saw_all_before_do_not(seeding):
    seeding.join("sees", zeros(PIECES, "big"), sees_all=True)
    for piece in range(5):
        seeding.gain("sees", piece)
    assert not seeding.has_rival


def test_a_turn_goes_on_to_one_that_waits(seeding):
    seeding.offer("a", 1)
    seeding.send("a", 0, SIZE)
    assert seeding.heir("a", ["waits"]) == "waits"


def test_one_that_passes_on_keeps_its_turn_before_one_that_does_not():
    seeding = swarm("a", "hoards")
    for peer, piece in (("hoards", 0), ("hoards", 1), ("a", 2)):
        seeding.set_turn(peer, True)
        seeding.send(peer, piece, SIZE)
    assert seeding.heir("a", ["hoards"]) == "a"
    seeding.gain("a", 0)
    seeding.gain("a", 1)
    assert seeding.heir("a", ["hoards"]) == "hoards"


def test_one_that_passes_on_quickly_has_the_turn_before_one_that_is_slow():
    seeding = swarm("quick", "slow", "other")
    for peer in ("quick", "slow"):
        seeding.set_turn(peer, True)
    seeding.send("slow", 0, SIZE)
    for piece in range(1, 6):
        seeding.send("quick", piece, SIZE)
        seeding.gain("other", piece)
    seeding.gain("other", 0)
    seeding.send("quick", 6, SIZE)
    assert seeding.heir("quick", ["slow"]) == "quick"


def test_nobody_has_the_next_turn_when_all_is_dealt():
    seeding = swarm("a", "b", pieces=1)
    seeding.set_turn("a", True)
    seeding.offer("a", 1)
    seeding.send("a", 0, SIZE)
    assert seeding.heir("a", ["b"]) is None


def test_what_was_hidden_is_told_once(seeding):
    seeding.offer("a", 2)
    assert seeding.unshown("a").count() == PIECES - 2
    assert seeding.unshown("a").count() == 0


def test_only_news_of_what_is_dealt_calls_for_another_offer(seeding):
    assert seeding.gain("a", 5)
    assert not seeding.gain("b", 5)
    seeding.offer("b", 1)
    seeding.gain("a", 0)
    assert seeding.gain("b", 0)
