"""What is not requested, and for how long, from a peer that rejects requests."""

from __future__ import annotations

from geventbt import limits
from geventbt.client.swarm.refusals import FIRST_BACKOFF, Refusals


def test_a_piece_that_was_rejected_is_left_aside_for_a_while():
    refusals = Refusals()
    refusals.on_reject(3, 0.0)
    assert 3 in refusals.pieces(1.0)
    assert not refusals.pieces(10.0)


def test_a_peer_that_rejects_everything_is_left_alone_twice_as_long_each_time():
    refusals, now, pauses = Refusals(), 0.0, []
    for _ in range(3):
        refusals.on_reject(0, now)
        refusals.settle(now, is_idle=True)
        begun = now
        while refusals.is_backing_off(now):
            now += FIRST_BACKOFF / 4
        pauses.append(now - begun)
    assert pauses == [FIRST_BACKOFF, 2 * FIRST_BACKOFF, 4 * FIRST_BACKOFF]


def test_a_peer_that_delivers_in_between_is_asked_again_at_once():
    refusals = Refusals()
    refusals.on_reject(0, 0.0)
    refusals.on_delivery()
    refusals.settle(0.0, is_idle=True)
    assert not refusals.is_backing_off(0.0)


def test_rejects_without_end_are_remembered_up_to_a_bound():
    refusals = Refusals()
    for piece in range(10 * limits.REFUSED_PIECES):
        refusals.on_reject(piece, 0.0)
    assert len(refusals.pieces(0.0)) == limits.REFUSED_PIECES
