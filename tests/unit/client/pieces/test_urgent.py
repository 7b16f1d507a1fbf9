"""What readers wait for, block by block."""

from __future__ import annotations

from bitarray import bitarray
from bitarray.util import ones, zeros

from geventbt import Geometry, limits
from geventbt.client.pieces.delivery import Delivery
from geventbt.client.pieces.picker import BlockPicker, Run

BLOCKS = 4
PIECES = 12
GEOMETRY = Geometry(PIECES * BLOCKS * limits.BLOCK, BLOCKS * limits.BLOCK)


def picker(*peers: str, have: bitarray | None = None) -> BlockPicker[str]:
    """A picker in sequential order, with peers that have everything."""
    made: BlockPicker[str] = BlockPicker(GEOMETRY, have or zeros(PIECES, "big"), max_open=limits.DISK_QUEUE)
    made.sequential = True
    for peer in peers:
        made.add_peer(peer, ones(PIECES, "big"))
    return made


def test_only_the_first_pieces_are_due():
    it = picker("a")
    assert not it.urgent
    for piece in range(8):
        it.set_deadline(piece, float(piece))
    assert it.urgent
    assert it.urgent.due(1.5) == {0: 0.0, 1: 1.0}
    assert list(it.urgent.due(100.0)) == list(range(limits.URGENT_PIECES))


def test_a_piece_that_is_all_here_is_not_due_any_more():
    it = picker("a")
    it.set_deadline(3, 0.0)
    it.urgent.claim("a", 3, range(BLOCKS))
    assert it.urgent.due(1.0) == {3: 0.0}
    it.received("a", 3, range(BLOCKS))
    assert it.urgent.due(1.0) == {}


def test_what_is_missing_is_told_with_those_that_were_asked_for_it():
    it = picker("a", "b")
    it.set_deadline(5, 0.0)
    assert it.urgent.missing(5) == dict.fromkeys(range(BLOCKS), ())
    assert it.urgent.claim("a", 5, [0, 1, 3]) == [Run(5, 0, 2), Run(5, 3, 1)]
    it.received("a", 5, [0])
    assert it.urgent.missing(5) == {1: ("a",), 2: (), 3: ("a",)}
    assert it.urgent.claim("b", 5, [1, 2]) == [Run(5, 1, 2)]
    assert it.urgent.missing(5) == {1: ("a", "b"), 2: ("b",), 3: ("a",)}
    assert (it.claimed_by("a"), it.claimed_by("b")) == (2, 2)


def test_who_is_asked_twice_need_not_send_what_the_other_has_sent():
    it = picker("a", "b")
    it.urgent.claim("a", 5, [1])
    it.urgent.claim("b", 5, [1])
    assert it.received("b", 5, [1]) == {1: ("a",)}
    assert (it.claimed_by("a"), it.claimed_by("b")) == (0, 0)
    assert it.received("a", 5, [1]) == {1: None}


def test_what_is_to_come_from_one_peer_alone_is_asked_of_no_other():
    it = picker("a", "b")
    it.urgent.claim("a", 5, range(BLOCKS))
    it.received("a", 5, range(BLOCKS))
    it.failed(5, alone=True)
    it.set_deadline(5, 0.0)
    assert it.urgent.due(1.0) == {}
    (run,) = it.pick("b", BLOCKS)
    assert run.piece == 5
    assert it.urgent.missing(5) == {}


def test_a_peer_leaves_a_piece_to_others_that_it_would_deliver_too_late():
    it = picker("slow", "fast")
    for piece in (0, 1, 2):
        it.set_deadline(piece, float(piece + 1))
    slow, fast = Delivery(1.5, 0.5), Delivery(0.1, 0.01)
    assert it.pick("slow", 2, delivery=slow) == [Run(1, 0, 2)]
    assert it.pick("fast", BLOCKS, delivery=fast) == [Run(0, 0, BLOCKS)]


def test_a_peer_takes_no_more_of_a_piece_than_it_delivers_in_time():
    it = picker("slow")
    for piece in (0, 1, 2):
        it.set_deadline(piece, float(piece + 1))
    assert it.pick("slow", 6, delivery=Delivery(0.5, 0.5)) == [Run(0, 0, 2), Run(1, 0, 4)]


def test_what_is_overdue_is_taken_by_those_that_are_quick_enough():
    """By others at the most a block, where it is next in the order anyway."""
    it = picker("a")
    it.set_deadline(0, -10.0)
    assert it.pick("a", BLOCKS, delivery=Delivery(1.0, 0.1, grace=0.9)) == [Run(0, 0, 1), Run(1, 0, 3)]
    assert it.pick("a", BLOCKS, delivery=Delivery(1.0, 0.1, grace=1.15)) == [Run(0, 1, 2), Run(1, 3, 1), Run(2, 0, 1)]


def test_a_peer_of_unknown_speed_takes_what_is_due_first():
    it = picker("new")
    it.set_deadline(3, -10.0)
    assert it.pick("new", BLOCKS) == [Run(3, 0, BLOCKS)]
