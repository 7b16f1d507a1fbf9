"""Runs reserved for web seeds, and peers beside them."""

from __future__ import annotations

from random import Random

import pytest
from bitarray.util import ones, zeros

from geventbt import limits
from geventbt.client.pieces.picker import BlockPicker
from geventbt.geometry import Geometry

PIECES, PER_PIECE = 20, 4


@pytest.fixture
def picker():
    geometry = Geometry(PIECES * PER_PIECE * limits.BLOCK, PER_PIECE * limits.BLOCK)
    picker = BlockPicker(geometry, zeros(PIECES, "big"), max_open=1 << 30, random=Random(1))
    for key in ("peer", "slow"):
        picker.add_peer(key, ones(PIECES, "big"))
    for key in ("web", "mirror"):
        picker.add_peer(key, ones(PIECES, "big"), streams=True)
    return picker


def reserve(picker, key="web", pieces=1, urgent_pieces=2):
    return picker.reservations.reserve(key, pieces * PER_PIECE, urgent_blocks=urgent_pieces * PER_PIECE)


def receive(picker, run):
    """The next piece of a reservation comes."""
    taken = picker.reservations.advance(run, PER_PIECE)
    assert picker.received(run.owner.key, taken.piece, range(taken.first, taken.first + taken.blocks)) == {}
    run.received()
    return taken.piece


def test_a_run_begins_at_the_front_of_the_largest_gap(picker):
    for piece in (0, 5, 18):
        picker.verified(piece)
    run = reserve(picker, pieces=3)
    assert (run.next, run.end) == (6, 9)


def test_mirrors_share_the_gap(picker):
    first, second = reserve(picker, "web", 5), reserve(picker, "mirror", 5)
    assert (first.next, first.end, second.next, second.end) == (0, 5, 5, 10)


def test_in_sequential_order_a_run_begins_at_the_first_missing_piece(picker):
    picker.verified(1)
    picker.sequential = True
    run = reserve(picker, pieces=3)
    assert (run.next, run.end) == (0, 1)


def test_peers_fill_the_gap_from_its_end(picker):
    picker.fills_from_end = True
    picker.verified(15)
    reserve(picker, pieces=3)
    assert [run.piece for run in picker.pick("peer", 3 * PER_PIECE)] == [14, 13, 12]


def test_reserved_pieces_are_not_picked_while_there_are_others(picker):
    reserve(picker, pieces=10)
    picked = {run.piece for run in picker.pick("peer", 10 * PER_PIECE)}
    assert picked == set(range(10, 20))


def test_a_peer_with_nothing_else_to_do_takes_the_last_reserved_piece(picker):
    run = reserve(picker, pieces=20)
    assert receive(picker, run) == 0
    assert [(each.piece, each.blocks) for each in picker.pick("peer", PER_PIECE)] == [(19, PER_PIECE)]
    assert (run.next, run.end) == (1, 19)


def test_a_peer_takes_the_second_half_of_the_piece_that_is_being_received(picker):
    run = reserve(picker, pieces=20)
    for _ in range(19):
        receive(picker, run)
    taken = picker.reservations.advance(run, 1)
    assert [(each.piece, each.first, each.blocks) for each in picker.pick("peer", PER_PIECE)] == [(19, 3, 1)]
    assert picker.received("web", 19, [taken.first]) == {}
    run.received()
    assert picker.reservations.advance(run, PER_PIECE).blocks == 2
    run.received()
    assert picker.reservations.advance(run, PER_PIECE) is None


def test_a_window_that_is_being_received_is_asked_of_nobody_else(picker):
    run = reserve(picker, pieces=20)
    for _ in range(19):
        receive(picker, run)
    picker.reservations.advance(run, PER_PIECE)
    assert picker.in_endgame
    assert picker.pick("peer", PER_PIECE) == []
    assert picker.received_late("peer", 19, 0) is None


def test_a_mirror_without_a_gap_takes_over_the_second_half_of_a_run(picker):
    run = reserve(picker, pieces=20)
    receive(picker, run)
    other = reserve(picker, "mirror", pieces=20)
    assert (run.next, run.end, other.next, other.end) == (1, 10, 10, 20)


def test_an_idle_connection_takes_over_from_another_one_to_the_same_source(picker):
    slow, quick = reserve(picker, pieces=15), reserve(picker, pieces=5)
    picker.reservations.release(quick)
    for piece in range(15, PIECES):
        picker.verified(piece)
    receive(picker, slow)
    taken = reserve(picker, pieces=PIECES)
    assert (slow.next, slow.end, taken.next, taken.end) == (1, 8, 8, 15)


def test_what_a_peer_left_is_finished_first(picker):
    picker.pick("peer", 1, share=1)
    begun = picker.open_pieces[0]
    picker.received("peer", begun, [0])
    picker.give_back_all("peer")
    run = reserve(picker, pieces=3)
    assert (run.piece, run.block, run.last) == (begun, 1, PER_PIECE)


def test_what_a_peer_works_at_is_left_to_it_while_there_is_a_gap(picker):
    picker.pick("slow", 1, share=1)
    begun = picker.open_pieces[0]
    run = reserve(picker, pieces=3)
    assert begun not in range(run.next, run.end)
    assert run.piece == -1


def test_a_readers_pieces_come_first_in_one_small_run(picker):
    for piece in range(7, 12):
        picker.set_deadline(piece, piece)
    run = reserve(picker, pieces=10, urgent_pieces=3)
    assert run.is_urgent
    assert (run.next, run.end) == (7, 10)


def test_a_long_run_is_ended_before_the_piece_of_a_reader_and_one_for_a_reader_is_not(picker):
    run = reserve(picker, pieces=10)
    picker.set_deadline(4, 1)
    assert (run.next, run.end) == (0, 4)
    assert picker.reservations.is_urgent("web")
    urgent = reserve(picker, "mirror")
    picker.set_deadline(4, 2)
    assert (urgent.next, urgent.end) == (4, 5)
    assert not picker.reservations.is_urgent("web")


def test_a_run_ends_before_a_piece_that_is_there_or_not_wanted_any_more(picker):
    run = reserve(picker, pieces=10)
    picker.verified(8)
    assert run.end == 8
    picker.set_priority(6, 0)
    assert run.end == 6
    picker.peer_lost("web", 3)
    assert run.end == 3


def test_a_verified_piece_does_not_end_the_run_that_brought_it(picker):
    run = reserve(picker, pieces=10)
    picker.verified(receive(picker, run))
    assert (run.next, run.end) == (1, 10)


def test_what_is_released_can_be_picked_again(picker):
    run = reserve(picker, pieces=20)
    picker.reservations.advance(run, 2)
    picker.received("web", 0, [0])
    picker.reservations.release(run)
    assert picker.claimed_by("web") == 0
    picked = [(each.piece, each.first, each.blocks) for each in picker.pick("peer", 100 * PER_PIECE)]
    assert sorted(picked) == [(0, 1, PER_PIECE - 1), *((piece, 0, PER_PIECE) for piece in range(1, 20))]


def test_a_source_that_leaves_gives_everything_back(picker):
    run = reserve(picker, pieces=20)
    picker.reservations.advance(run, 2)
    picker.remove_peer("web")
    assert len(picker.pick("peer", 100 * PER_PIECE)) == 20
