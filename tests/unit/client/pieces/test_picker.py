"""The block picker, with torrents and peers as strings that one can see: `#` is there, `.` is not.

A piece is four blocks, unless said otherwise. `asked` writes what was picked as "3:0-3 5:0": blocks 0 to 3 of piece 3,
and block 0 of piece 5.
"""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from random import Random

import pytest
from bitarray import bitarray

from geventbt import limits
from geventbt.client.pieces.picker import BlockPicker, Run
from geventbt.geometry import Geometry

MANY = 1 << 40


def bits(text):
    return bitarray([character == "#" for character in text], endian="big")


def torrent(have, *, blocks=4, priorities=None, max_open=100, seed=1, let_go=None, **peers):
    """A picker for as many pieces as `have` has characters, with some peers. `max_open` is in pieces."""
    length = blocks * limits.BLOCK
    picker = BlockPicker(
        Geometry(len(have) * length, length),
        bits(have),
        max_open=max_open * length,
        random=Random(seed),
        on_let_go=None if let_go is None else let_go.append,
    )
    if priorities:
        picker.set_priorities([int(character) for character in priorities])
    for peer, pieces in peers.items():
        picker.add_peer(peer, bits(pieces))
    return picker


def asked(runs):
    return " ".join(
        f"{run.piece}:{run.first}" + (f"-{run.first + run.blocks - 1}" if run.blocks > 1 else "") for run in runs
    )


def pick(picker, peer, blocks=4, share=0):
    return asked(picker.pick(peer, blocks, share=share))


def receive(picker, peer, piece, *blocks):
    return [picker.received(peer, piece, [block]).get(block, ()) for block in blocks]


def order(picker, peer):
    """The pieces in the order in which a peer is given them."""
    return [run.piece for run in picker.pick(peer, MANY)]


# ---------------------------------------------------------------- which piece


def test_only_missing_pieces_that_a_peer_has_are_requested_from_it():
    assert sorted(order(torrent("#.#.#.", ann="###..#"), "ann")) == [1, 5]


def test_the_rarest_piece_comes_first():
    picker = torrent("......", ann="######", bob="###.##", cid="##..##", dan="#...##", eve="....##")
    assert order(picker, "ann")[:4] == [3, 2, 1, 0]


def test_a_have_makes_a_piece_less_rare():
    picker = torrent("..", ann="##", bob=".#")
    picker.peer_has("bob", 0)
    picker.peer_lost("bob", 1)
    assert order(picker, "ann") == [1, 0]


def test_a_peer_that_leaves_makes_its_pieces_rarer():
    picker = torrent("...", ann="###", bob="##.", cid="#..", dan="###")
    assert [picker.availability(piece) for piece in range(3)] == [4, 3, 2]
    picker.remove_peer("cid")
    picker.remove_peer("bob")
    assert [picker.availability(piece) for piece in range(3)] == [2, 2, 2]


def test_a_peer_that_lacks_the_rarest_gets_the_rarest_of_its_own():
    pieces = 300
    rare = "#" * 200 + "." * 100
    picker = torrent("." * pieces, ann=rare, bob="." * 200 + "#" * 100, cid="." * 200 + "#" * 99 + ".", dan="#" * 300)
    assert picker.pick("cid", 4)[0].piece in range(200, 299)
    assert picker.pick("bob", 4)[0].piece == 299


def test_ties_are_broken_at_random():
    firsts = Counter(order(torrent("." * 8, seed=seed, ann="#" * 8), "ann")[0] for seed in range(400))
    assert set(firsts) == set(range(8))
    assert max(firsts.values()) < 100


def test_ties_far_apart_come_up_equally_often():
    pieces = "#" + "." * 500 + "#" + "." * 500 + "#"
    firsts = Counter(torrent("." * 1003, seed=seed, ann=pieces).pick("ann", 1)[0].piece for seed in range(300))
    assert all(firsts[piece] > 60 for piece in (0, 501, 1002))


def test_ties_among_thousands_come_up_from_everywhere():
    firsts = [torrent("." * 4000, seed=seed, ann="#" * 4000).pick("ann", 1)[0].piece for seed in range(40)]
    assert len(set(firsts)) > 30
    assert min(firsts) < 1000
    assert max(firsts) > 3000


def test_priorities_are_strict_and_go_before_rarity():
    picker = torrent("......", priorities="141707", ann="######", bob="#.....", cid="...###")
    assert order(picker, "ann")[:3] in ([3, 5, 1], [5, 3, 1])
    picker = torrent("......", priorities="140707", ann="######", bob="#.....")
    assert 2 not in order(picker, "ann")


def test_a_priority_can_be_changed_while_running():
    picker = torrent("....", ann="####")
    picker.set_priority(2, 7)
    picker.set_priority(1, 5)
    picker.set_priority(0, 0)
    assert order(picker, "ann") == [2, 1, 3]
    picker.set_priority(0, 1)
    assert order(picker, "ann") == [0]


def test_a_higher_priority_goes_before_a_piece_that_was_begun():
    picker = torrent("..", ann="##")
    first = picker.pick("ann", 1)[0].piece
    picker.set_priority(1 - first, 5)
    assert pick(picker, "ann", 6) == f"{1 - first}:0-3 {first}:1-2"


def test_unwanted_pieces_are_not_missing():
    picker = torrent("#...", priorities="4400", ann="####")
    assert picker.missing == 1
    picker.verified(1)
    assert picker.done
    assert not picker.complete
    assert pick(picker, "ann") == ""


def test_sequential_is_by_number_within_a_priority():
    picker = torrent("......", priorities="444774", ann="######", bob="#.#.#.")
    picker.sequential = True
    assert order(picker, "ann") == [3, 4, 0, 1, 2, 5]


def test_sequential_can_be_changed_while_running():
    picker = torrent("....", ann="####", bob="##.#")
    assert picker.pick("ann", 4)[0].piece == 2
    picker.sequential = True
    assert order(picker, "ann") == [0, 1, 3]


def test_deadlines_go_before_everything_the_earliest_first():
    picker = torrent("......", priorities="777744", ann="######")
    picker.set_deadline(5, 2.0)
    picker.set_deadline(4, 1.0)
    assert order(picker, "ann")[:2] == [4, 5]


def test_deadlines_can_be_moved_and_taken_away():
    picker = torrent("......", priorities="744444", ann="######")
    for piece in (3, 4, 5):
        picker.set_deadline(piece, 1.0)
    picker.set_deadline(3, None)
    picker.set_deadline(4, 3.0)
    assert order(picker, "ann")[:3] == [5, 4, 0]


def test_a_deadline_makes_a_piece_wanted():
    picker = torrent("..", priorities="40", ann=".#")
    assert not picker.interesting("ann")
    picker.set_deadline(1, 1.0)
    assert picker.interesting("ann")
    assert pick(picker, "ann") == "1:0-3"
    assert picker.priority(1) == 4


# ---------------------------------------------------------------- whole pieces, and shares of them


def test_fast_peers_take_whole_pieces_each_its_own():
    picker = torrent("........", ann="########", bob="########")
    runs = [picker.pick(peer, 2) for peer in ("ann", "bob", "ann", "bob")]
    pieces = [run[0].piece for run in runs]
    assert pieces[0] == pieces[2] != pieces[1] == pieces[3]


def test_a_slow_peer_joins_a_piece_that_another_began():
    picker = torrent("........", ann="########", bob="########")
    (run,) = picker.pick("ann", 1)
    assert pick(picker, "bob", 2, share=2) == f"{run.piece}:1-2"


def test_a_slow_peer_begins_one_piece_at_a_time():
    picker = torrent("........", ann="########")
    assert [run.blocks for run in picker.pick("ann", 100, share=2)] == [2]
    assert len(picker.open_pieces) == 1


def test_a_share_spreads_a_deadline_over_peers():
    picker = torrent("........", ann="########", bob="########")
    picker.set_deadline(6, 1.0)
    assert pick(picker, "ann", 2, share=2) == "6:0-1"
    assert pick(picker, "bob", 2, share=2) == "6:2-3"


def test_fast_peers_join_when_few_pieces_are_left():
    picker = torrent("######..", ann="########", bob="########")
    (run,) = picker.pick("ann", 1)
    assert pick(picker, "bob", 3) == f"{run.piece}:1-3"


def test_a_piece_that_was_given_back_half_done_is_finished_before_another_is_begun():
    picker = torrent("........", ann="########", bob="########", cid="########")
    (run,) = picker.pick("ann", 4)
    receive(picker, "ann", run.piece, 0, 1)
    picker.give_back_all("ann")
    assert pick(picker, "ann", 2) == f"{run.piece}:2-3"


def test_of_the_pieces_of_others_the_one_nearest_to_its_end_is_joined():
    picker = torrent("........", ann="#.......", bob=".#......", cid="########")
    picker.pick("ann", 1)
    picker.pick("bob", 3)
    assert pick(picker, "cid", 2, share=1) == "1:3 0:1"


def test_the_last_piece_may_be_shorter():
    picker = BlockPicker(Geometry(5 * limits.BLOCK + 1, 4 * limits.BLOCK), bits(".."), max_open=MANY)
    picker.add_peer("ann", bits("##"))
    assert sorted(picker.pick("ann", 100)) == [Run(0, 0, 4), Run(1, 0, 2)]


# ---------------------------------------------------------------- no more than may be open


def test_no_more_pieces_are_open_than_may_be():
    picker = torrent("........", max_open=3, ann="########")
    assert len(order(picker, "ann")) == 3
    assert len(picker.open_pieces) == 3
    picker.verified(picker.open_pieces[0])
    assert len(order(picker, "ann")) == 1


def test_one_piece_may_always_be_open():
    assert len(order(torrent("....", max_open=0, ann="####"), "ann")) == 1


def test_pieces_with_deadlines_may_exceed_the_bound_of_open_pieces_by_a_few():
    picker = torrent("." * 12, max_open=2, ann="#" * 12)
    picker.pick("ann", 8)
    for piece in range(12):
        picker.set_deadline(piece, piece)
    assert len(order(picker, "ann")) == limits.URGENT_PIECES


def test_a_piece_whose_peers_have_left_makes_room_for_another():
    let_go = []
    picker = torrent("..", max_open=1, let_go=let_go, ann="#.", bob=".#")
    picker.pick("ann", 2)
    receive(picker, "ann", 0, 0)
    assert pick(picker, "bob") == ""
    picker.remove_peer("ann")
    assert pick(picker, "bob") == "1:0-3"
    assert let_go == [0]


def test_a_piece_makes_no_room_while_its_peer_goes_on():
    picker = torrent("..", max_open=1, ann="#.", bob=".#")
    picker.pick("ann", 2)
    receive(picker, "ann", 0, 0, 1)
    assert pick(picker, "bob") == ""
    assert pick(picker, "ann") == "0:2-3"


def test_a_piece_of_which_nothing_came_is_let_go_at_once():
    let_go = []
    picker = torrent("..", let_go=let_go, ann="##")
    (run,) = picker.pick("ann", 2)
    picker.give_back("ann", run.piece, 0)
    assert let_go == []
    picker.give_back("ann", run.piece, 1)
    assert let_go == [run.piece]
    assert picker.open_pieces == []


def test_a_piece_that_is_no_longer_wanted_is_let_go_when_no_block_is_requested():
    let_go = []
    picker = torrent("..", let_go=let_go, ann="#.")
    picker.pick("ann", 2)
    receive(picker, "ann", 0, 0)
    picker.set_priority(0, 0)
    assert let_go == []
    assert pick(picker, "ann") == ""
    assert receive(picker, "ann", 0, 1) == [()]
    assert let_go == [0]


# ---------------------------------------------------------------- endgame


def test_the_endgame_requests_late_blocks_from_other_peers():
    picker = torrent(".", ann="#", bob="#")
    picker.pick("ann", 4)
    assert picker.in_endgame
    assert pick(picker, "bob") == "0:0-3"
    assert receive(picker, "bob", 0, 2) == [("ann",)]
    assert receive(picker, "ann", 0, 2, 1) == [None, ("bob",)]
    assert (picker.claimed_by("ann"), picker.claimed_by("bob")) == (2, 2)


def test_the_endgame_is_for_peers_with_nothing_else_to_do():
    picker = torrent("..", ann="##", bob="##")
    picker.pick("ann", 4)
    picker.pick("bob", 4)
    assert picker.in_endgame
    assert pick(picker, "bob") == ""


def test_there_is_no_endgame_while_blocks_are_free():
    picker = torrent("..", ann="#.", bob="#.")
    picker.pick("ann", 4)
    assert not picker.in_endgame
    assert pick(picker, "bob") == ""


def test_a_block_is_asked_of_three_peers_at_the_most_the_least_asked_first():
    picker = torrent(".", ann="#", bob="#", cid="#", dan="#", eve="#")
    picker.pick("ann", 4)
    assert pick(picker, "bob", 2) == "0:0-1"
    assert pick(picker, "cid", 3) == "0:2-3 0:0"
    assert pick(picker, "dan", 9) == "0:1-3"
    assert pick(picker, "eve", 9) == ""


def test_a_late_block_that_a_peer_gives_back_is_still_asked_of_the_others():
    picker = torrent(".", ann="#", bob="#")
    picker.pick("ann", 4)
    picker.pick("bob", 4)
    picker.give_back_all("ann")
    assert receive(picker, "bob", 0, 0, 1, 2, 3) == [()] * 4
    assert picker.is_received(0)


# ---------------------------------------------------------------- blocks


def test_a_block_that_was_not_requested_is_reported():
    picker = torrent("..", ann="##", bob="##")
    (run,) = picker.pick("ann", 1)
    assert receive(picker, "bob", run.piece, 0) == [None]
    assert receive(picker, "ann", run.piece, 1, -1, 99) == [None] * 3
    assert receive(picker, "ann", 1 - run.piece, 0) == [None]
    assert receive(picker, "nobody", run.piece, 0) == [None]
    assert receive(picker, "ann", run.piece, 0, 0) == [(), None]


def test_blocks_that_are_given_back_can_be_picked_again():
    picker = torrent(".", ann="#", bob="#")
    picker.pick("ann", 4)
    receive(picker, "ann", 0, 0)
    picker.give_back("ann", 0, 2)
    assert pick(picker, "bob") == "0:2"
    picker.give_back_all("ann")
    assert picker.claimed_by("ann") == 0
    assert pick(picker, "bob") == "0:1 0:3"


def test_the_blocks_of_a_piece_that_a_peer_lost_are_given_back():
    picker = torrent(".", ann="#", bob="#")
    picker.pick("ann", 4)
    receive(picker, "ann", 0, 0)
    picker.peer_lost("ann", 0)
    assert pick(picker, "bob") == "0:1-3"


def test_the_blocks_of_pieces_that_a_new_bitfield_lacks_are_given_back():
    picker = torrent(".", ann="#", bob="#")
    picker.pick("ann", 4)
    receive(picker, "ann", 0, 0)
    picker.set_peer_pieces("ann", bits("."))
    assert pick(picker, "ann") == ""
    assert pick(picker, "bob") == "0:1-3"


def test_removing_a_peer_keeps_only_the_blocks_that_it_sent():
    picker = torrent(".", ann="#", bob="#")
    picker.pick("ann", 4)
    receive(picker, "ann", 0, 1)
    picker.remove_peer("ann")
    assert picker.availability(0) == 1
    assert picker.senders(0) == [None, "ann", None, None]
    assert pick(picker, "bob") == "0:0 0:2-3"
    with pytest.raises(KeyError):
        picker.pick("ann", 1)


def test_nothing_holds_on_to_a_peer_that_has_left():
    class Key:
        pass

    picker = torrent("..", ann="##")
    key = Key()
    picker.add_peer(key, bits("##"))
    (run,) = picker.pick("ann", 2)
    receive(picker, "ann", run.piece, 0)
    picker.pick(key, 9)
    picker.give_back("ann", run.piece, 1)
    picker.remove_peer(key)
    left = weakref.ref(key)
    del key
    gc.collect()
    assert left() is None


def test_giving_back_blocks_that_were_not_requested_does_nothing():
    picker = torrent("..", ann="##")
    picker.give_back("ann", 0, 0)
    picker.give_back("nobody", 7, 0)
    picker.give_back_all("nobody")
    picker.remove_peer("nobody")
    assert picker.claimed_by("nobody") == 0
    assert len(order(picker, "ann")) == 2


# ---------------------------------------------------------------- pieces


def test_a_piece_goes_to_hashing_when_its_last_block_is_here_and_is_done_when_verified():
    picker = torrent(".", ann="#", bob="#")
    picker.pick("ann", 3)
    picker.pick("bob", 1)
    receive(picker, "ann", 0, 0, 1, 2)
    assert not picker.is_received(0)
    receive(picker, "bob", 0, 3)
    assert picker.is_received(0)
    assert picker.senders(0) == ["ann", "ann", "ann", "bob"]
    picker.verified(0)
    assert picker.done
    assert picker.complete
    assert picker.open_pieces == []
    assert picker.senders(0) == []


def test_a_piece_that_fails_is_picked_again_from_anyone():
    picker = torrent(".", ann="#", bob="#")
    picker.pick("ann", 4)
    receive(picker, "ann", 0, 0, 1, 2, 3)
    picker.failed(0)
    assert pick(picker, "ann", 2) == "0:0-1"
    assert pick(picker, "bob", 4) == "0:2-3"


def test_a_suspect_piece_is_requested_from_a_single_peer():
    picker = torrent(".", ann="#", bob="#")
    picker.failed(0, alone=True)
    assert pick(picker, "ann", 2) == "0:0-1"
    assert pick(picker, "bob", 4) == ""
    receive(picker, "ann", 0, 0, 1)
    assert pick(picker, "ann", 4) == "0:2-3"
    assert pick(picker, "bob", 4) == ""
    receive(picker, "ann", 0, 2, 3)
    assert set(picker.senders(0)) == {"ann"}


def test_a_suspect_piece_is_begun_anew_by_another_when_its_peer_chokes():
    let_go = []
    picker = torrent(".", let_go=let_go, ann="#", bob="#")
    picker.failed(0, alone=True)
    picker.pick("ann", 4)
    receive(picker, "ann", 0, 0, 1)
    picker.give_back_all("ann")
    assert let_go == [0]
    assert receive(picker, "ann", 0, 2) == [None]
    assert pick(picker, "bob", 4) == "0:0-3"


def test_only_the_wrong_blocks_of_a_piece_are_picked_again_from_anyone():
    picker = torrent(".", ann="#", bob="#")
    picker.failed(0, alone=True)
    picker.pick("ann", 4)
    receive(picker, "ann", 0, 0, 1, 2, 3)
    picker.wrong(0, [1, 3])
    assert pick(picker, "bob", 1) == "0:1"
    assert pick(picker, "ann", 4) == "0:3"
    receive(picker, "bob", 0, 1)
    receive(picker, "ann", 0, 3)
    assert picker.senders(0) == ["ann", "bob", "ann", "ann"]


def test_a_piece_that_the_disk_lost_is_missing_again():
    picker = torrent("##", ann="##")
    assert picker.done
    assert not picker.interesting("ann")
    picker.lost(1)
    assert picker.missing == 1
    assert picker.interesting("ann")
    assert pick(picker, "ann") == "1:0-3"


# ---------------------------------------------------------------- interest


def test_a_peer_is_interesting_while_it_has_something_that_is_missing():
    picker = torrent("#..", ann="#..", bob="##.", cid="###")
    assert [picker.interesting(peer) for peer in ("ann", "bob", "cid")] == [False, True, True]
    picker.verified(1)
    assert [picker.interesting(peer) for peer in ("ann", "bob", "cid")] == [False, False, True]
    picker.peer_has("ann", 2)
    assert picker.interesting("ann")
    picker.set_priority(2, 0)
    assert not picker.interesting("ann")


def test_a_peer_that_has_two_missing_pieces_stays_interesting_when_one_has_arrived():
    picker = torrent("...", ann="...")
    assert not picker.interesting("ann")
    picker.peer_has("ann", 0)
    picker.peer_has("ann", 1)
    picker.verified(1)
    assert picker.interesting("ann")


# ---------------------------------------------------------------- what cannot be


@pytest.mark.parametrize("call", ["peer_has", "peer_lost"])
@pytest.mark.parametrize("piece", [-1, 2])
def test_a_peer_cannot_have_a_piece_that_there_is_not(call, piece):
    with pytest.raises(IndexError):
        getattr(torrent("..", ann="##"), call)("ann", piece)


@pytest.mark.parametrize("call", ["verified", "failed", "lost", "priority", "availability"])
@pytest.mark.parametrize("piece", [-1, 2])
def test_nothing_happens_to_a_piece_that_there_is_not(call, piece):
    with pytest.raises(IndexError):
        getattr(torrent(".."), call)(piece)


@pytest.mark.parametrize("priorities", ["", "4", "444", "48"])
def test_priorities_must_fit(priorities):
    with pytest.raises(ValueError, match="priorit"):
        torrent("..").set_priorities([int(character) for character in priorities])


@pytest.mark.parametrize("priority", [-1, 8])
def test_there_are_priorities_0_to_7(priority):
    with pytest.raises(ValueError, match="priority"):
        torrent("..").set_priority(0, priority)


def test_bitfields_must_fit():
    with pytest.raises(ValueError, match="3 pieces: there are 2"):
        torrent("..", ann="###")
    with pytest.raises(ValueError, match="3 pieces: there are 2"):
        torrent("..", ann="##").set_peer_pieces("ann", bits("###"))
    with pytest.raises(ValueError, match="1 pieces: there are 2"):
        BlockPicker(Geometry(2, 1), bits("."), max_open=1)


def test_a_peer_cannot_come_twice():
    with pytest.raises(ValueError, match="already"):
        torrent(".", ann="#").add_peer("ann", bits("#"))


def test_a_little_endian_bitfield_is_as_good():
    picker = BlockPicker(Geometry(3, 1), bitarray("100", endian="little"), max_open=MANY)
    picker.add_peer("ann", bitarray("110", endian="little"))
    assert order(picker, "ann") == [1]
