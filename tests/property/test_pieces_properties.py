"""`PeerPieces` against a naive model that stores all announcements and replays them from the start."""

from __future__ import annotations

import pytest
from bitarray import bitarray
from hypothesis import given
from hypothesis import strategies as st

from geventbt.errors import RemoteProtocolError
from geventbt.protocol.pieces import PeerPieces

COUNT = 20


def naive(told, count):
    """The pieces that a peer with such a history has, among the first `count`."""
    has: set[int] = set()
    for kind, value in told:
        if kind == "have":
            has.add(value)
        elif kind == "lost":
            has.discard(value)
        elif kind == "bitfield":
            has = {piece for piece in range(count) if value[piece]}
        else:
            has = set(range(count)) if kind == "all" else set()
    return has


def tell(pieces, kind, value):
    if kind == "have":
        pieces.add(value)
    elif kind == "lost":
        pieces.remove(value)
    elif kind == "bitfield":
        pieces.set_bitfield(value.tobytes())
    elif kind == "all":
        pieces.set_all()
    else:
        pieces.set_none()


_piece = st.integers(0, COUNT - 1)
_bits = st.lists(st.booleans(), min_size=COUNT, max_size=COUNT).map(lambda bits: bitarray(bits, endian="big"))
_told = st.lists(
    st.tuples(st.sampled_from(["have", "lost"]), _piece)
    | st.tuples(st.just("bitfield"), _bits)
    | st.tuples(st.sampled_from(["all", "none"]), st.none()),
    max_size=12,
)


@given(before=_told, after=_told)
def test_it_does_not_matter_when_the_number_of_pieces_becomes_known(before, after):
    pieces = PeerPieces()
    for kind, value in before:
        tell(pieces, kind, value)
    has = naive(before, COUNT)
    assert {piece for piece in range(COUNT) if piece in pieces} == has
    assert {piece for piece in range(COUNT) if not pieces.may_have(piece)} == (
        set(range(COUNT)) - has if pieces.announced else set()
    )
    pieces.set_count(COUNT)
    for kind, value in after:
        tell(pieces, kind, value)
    has = naive(before + after, COUNT)
    assert set(pieces.bits.search(bitarray("1"))) == has
    assert {piece for piece in range(COUNT + 9) if piece in pieces} == has
    assert pieces.has_all == (len(has) == COUNT)
    assert len(pieces.bits) == COUNT


@given(told=_told, far=st.integers(COUNT, COUNT + 100))
def test_a_have_beyond_the_torrent_is_a_violation_when_the_number_is_known(told, far):
    pieces = PeerPieces()
    for kind, value in told:
        tell(pieces, kind, value)
    if far in pieces:
        return  # it said that it has all
    pieces.add(far)
    with pytest.raises(RemoteProtocolError):
        pieces.set_count(COUNT)


@given(told=_told, far=st.integers(COUNT, COUNT + 100))
def test_a_lost_piece_beyond_the_torrent_is_never_a_violation(told, far):
    pieces = PeerPieces()
    for kind, value in told:
        tell(pieces, kind, value)
    pieces.remove(far)
    pieces.set_count(COUNT)
    assert set(pieces.bits.search(bitarray("1"))) == naive(told, COUNT)
