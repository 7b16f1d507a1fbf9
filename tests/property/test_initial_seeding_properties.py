"""Dealing with any behaviour of leechers: what is offered is new, nothing is told twice, and the end is seen."""

from __future__ import annotations

from bitarray.util import zeros
from hypothesis import given
from hypothesis import strategies as st

from geventbt import Geometry
from geventbt.client.swarm.initial_seeding import InitialSeeding

PIECES, SIZE = 6, 1 << 15
peers = st.integers(0, 3)
pieces = st.integers(0, PIECES - 1)
actions = st.one_of(
    st.tuples(st.just("join"), peers, st.booleans()),
    st.tuples(st.just("leave"), peers, st.none()),
    st.tuples(st.just("offer"), peers, st.integers(0, 4)),
    st.tuples(st.just("turn"), peers, st.booleans()),
    st.tuples(st.just("send"), peers, pieces),
    st.tuples(st.just("gain"), peers, pieces),
)


@given(st.lists(actions, max_size=60))
def test_offers_are_of_pieces_that_no_leecher_holds_and_that_it_does_not_know(story):
    seeding: InitialSeeding[int] = InitialSeeding(Geometry(PIECES * SIZE, SIZE))
    held: dict[int, set[int]] = {}
    shown: dict[int, set[int]] = {}
    in_turn: set[int] = set()
    for kind, peer, value in story:
        if kind == "join" and peer not in held:
            seeding.join(peer, zeros(PIECES, "big"), sees_all=value)
            held[peer], shown[peer] = set(), set(range(PIECES)) if value else set()
        elif peer not in held:
            continue
        elif kind == "leave":
            seeding.leave(peer)
            in_turn.discard(peer)
            del held[peer], shown[peer]
        elif kind == "turn":
            seeding.set_turn(peer, value)
            (in_turn.add if value else in_turn.discard)(peer)
        elif kind == "send":
            if seeding.send(peer, value, SIZE):
                held[peer].add(value)
                shown[peer].add(value)
        elif kind == "gain":
            seeding.gain(peer, value)
            held[peer].add(value)
            shown[peer].add(value)
        else:
            everything = set().union(*held.values())
            offered = seeding.offer(peer, value)
            assert len(offered) <= (value if peer in in_turn else 1)
            assert not everything & set(offered)
            assert not shown[peer] & set(offered)
            shown[peer].update(offered)
        assert seeding.is_over == (set().union(*held.values(), set()) == set(range(PIECES)))
    for peer in held:
        assert set(seeding.unshown(peer).search(1)) == set(range(PIECES)) - shown[peer]
