"""The pieces of a peer, before and after their number is known (BEP 3, 6, 54)."""

from __future__ import annotations

import tracemalloc

import pytest
from bitarray import bitarray

from geventbt import limits
from geventbt.errors import RemoteProtocolError
from geventbt.protocol import constants as c
from geventbt.protocol.pieces import PeerPieces


def known(count):
    pieces = PeerPieces()
    pieces.set_count(count)
    return pieces


def held(pieces, count):
    """The indices that it has, by membership only."""
    return [piece for piece in range(-1, count + 20) if piece in pieces]


# ---------------------------------------------------------------------- nothing told


def test_a_silent_peer_has_nothing_known_but_may_have_everything():
    for pieces in (PeerPieces(), known(10)):
        assert held(pieces, 10) == []
        assert not pieces.announced
        assert not pieces.has_all
        assert pieces.may_have(3)


def test_a_peer_that_announced_a_piece_lacks_those_it_did_not_announce():
    pieces = known(10)
    pieces.add(3)
    assert pieces.announced
    assert pieces.may_have(3)
    assert not pieces.may_have(4)


# ---------------------------------------------------------------------- with a known number of pieces


def test_only_the_first_have_for_a_piece_is_new():
    pieces = known(10)
    assert pieces.add(3) is True
    assert pieces.add(3) is False
    assert held(pieces, 10) == [3]
    assert pieces.bits == bitarray("0001000000")


@pytest.mark.parametrize("piece", [-1, 10, 16, 2**32 - 1])
def test_a_have_for_a_piece_that_does_not_exist_is_a_violation(piece):
    pieces = known(10)
    with pytest.raises(RemoteProtocolError) as caught:
        pieces.add(piece)
    assert caught.value.message_id == c.HAVE
    assert held(pieces, 10) == []
    assert len(pieces.bits) == 10


def test_a_bitfield_is_read_high_bit_first():
    pieces = known(10)
    pieces.set_bitfield(b"\xa0\x40")
    assert held(pieces, 10) == [0, 2, 9]
    assert pieces.bits == bitarray("1010000001")
    assert pieces.bits.endian == "big" or pieces.bits.endian() == "big"


@pytest.mark.parametrize("spare", [b"\xff\xe0", b"\x00\x01", b"\x00\x20"])
def test_spare_bits_must_be_zero(spare):
    pieces = known(10)
    with pytest.raises(RemoteProtocolError) as caught:
        pieces.set_bitfield(spare)
    assert caught.value.message_id == c.BITFIELD


@pytest.mark.parametrize("size", [0, 1, 3])
def test_a_bitfield_of_the_wrong_size_is_a_violation(size):
    with pytest.raises(RemoteProtocolError):
        known(10).set_bitfield(bytes(size))


def test_the_bitfield_is_a_copy_of_the_buffer():
    buffer = bytearray(b"\xff\xc0")
    pieces = known(10)
    pieces.set_bitfield(memoryview(buffer))
    buffer[:] = b"\0\0"
    assert pieces.has_all


def test_the_bits_are_a_copy():
    pieces = known(10)
    pieces.bits.setall(True)
    assert held(pieces, 10) == []


def test_having_all_pieces_is_recognised_however_it_was_announced():
    by_bitfield, by_haves, by_have_all = known(3), known(3), known(3)
    by_bitfield.set_bitfield(b"\xe0")
    for piece in range(3):
        assert not by_haves.has_all
        by_haves.add(piece)
    by_have_all.set_all()
    for pieces in (by_bitfield, by_haves, by_have_all):
        assert pieces.has_all
        assert pieces.bits == bitarray("111")
        assert held(pieces, 3) == [0, 1, 2]


def test_have_none_withdraws_earlier_announcements():
    pieces = known(3)
    pieces.set_all()
    pieces.set_none()
    assert not pieces.has_all
    assert held(pieces, 3) == []
    assert not pieces.may_have(0)


def test_a_lost_piece_is_had_no_longer_and_can_be_had_again():
    pieces = known(3)
    pieces.set_all()
    assert pieces.remove(1) is True
    assert pieces.remove(1) is False
    assert not pieces.has_all
    assert pieces.bits == bitarray("101")
    assert pieces.add(1) is True
    assert pieces.has_all


@pytest.mark.parametrize("piece", [-1, 3, 2**32 - 1])
def test_a_lost_piece_that_does_not_exist_is_ignored(piece):
    pieces = known(3)
    pieces.set_all()
    assert pieces.remove(piece) is False
    assert pieces.has_all


# ---------------------------------------------------------------------- while the number is unknown


def test_haves_are_kept_until_the_number_is_known():
    pieces = PeerPieces()
    assert pieces.add(9) is True
    assert pieces.add(9) is False
    assert pieces.add(2) is True
    assert held(pieces, 10) == [2, 9]
    pieces.set_count(10)
    assert held(pieces, 10) == [2, 9]
    assert pieces.bits == bitarray("0010000001")


def test_a_far_have_allocates_nothing():
    pieces = PeerPieces()
    tracemalloc.start()
    try:
        pieces.add(limits.PIECES - 1)
        with pytest.raises(RemoteProtocolError):
            pieces.add(2**32 - 1)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 5_000
    assert peak < 20_000


def test_early_haves_are_bounded():
    pieces = PeerPieces()
    tracemalloc.start()
    try:
        for piece in range(0, 40 * limits.EARLY_HAVES, 40):
            pieces.add(piece)
        full, _ = tracemalloc.get_traced_memory()
        for piece in range(1, 400 * limits.EARLY_HAVES, 40):
            pieces.add(piece)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < full + 10_000
    assert kept < 2 * limits.MESSAGE


def test_an_early_have_beyond_the_torrent_is_an_offence_when_the_number_is_known():
    pieces = PeerPieces()
    pieces.add(10)
    with pytest.raises(RemoteProtocolError) as caught:
        pieces.set_count(10)
    assert caught.value.message_id == c.HAVE


def test_an_early_bitfield_and_later_haves_are_kept():
    pieces = PeerPieces()
    pieces.set_bitfield(b"\x80\x00")
    pieces.add(9)
    assert pieces.add(0) is False
    assert held(pieces, 16) == [0, 9]
    assert list(pieces.bits.search(bitarray("1"))) == [0, 9]
    pieces.set_count(10)
    assert pieces.bits == bitarray("1000000001")


def test_the_bits_of_early_haves_are_zero_between_them():
    pieces = PeerPieces()
    pieces.add(3)
    assert pieces.bits == bitarray("0001")
    pieces.set_count(5)
    assert pieces.bits == bitarray("00010")


@pytest.mark.parametrize("bitfield", [b"", b"\x80", b"\x80\x00\x00", b"\x80\x20", b"\xff\xff"])
def test_an_early_bitfield_that_does_not_fit_is_an_offence_when_the_number_is_known(bitfield):
    pieces = PeerPieces()
    pieces.set_bitfield(bitfield)
    with pytest.raises(RemoteProtocolError) as caught:
        pieces.set_count(10)
    assert caught.value.message_id == c.BITFIELD


def test_an_early_have_in_the_spare_bits_is_an_offence_when_the_number_is_known():
    pieces = PeerPieces()
    pieces.set_bitfield(b"\x80\x00")
    pieces.add(12)
    with pytest.raises(RemoteProtocolError):
        pieces.set_count(10)


def test_have_all_is_known_as_such_before_the_number():
    pieces = PeerPieces()
    pieces.set_all()
    assert pieces.has_all
    assert 0 in pieces
    assert limits.PIECES - 1 in pieces
    assert limits.PIECES not in pieces
    assert -1 not in pieces
    assert len(pieces.bits) == 0
    assert pieces.add(5) is False
    pieces.set_count(10)
    assert pieces.has_all
    assert pieces.bits.all()
    assert len(pieces.bits) == 10
    assert 10 not in pieces


def test_have_none_before_the_number_stays_none():
    pieces = PeerPieces()
    pieces.add(3)
    pieces.set_none()
    assert not pieces.may_have(3)
    pieces.set_count(10)
    assert not pieces.bits.any()
    assert len(pieces.bits) == 10


def test_early_lost_pieces_are_lost():
    pieces = PeerPieces()
    pieces.set_bitfield(b"\xc0\x00")
    pieces.add(9)
    assert pieces.remove(0) is True
    assert pieces.remove(9) is True
    assert pieces.remove(200) is False
    pieces.set_count(10)
    assert pieces.bits == bitarray("0100000000")


def test_a_piece_lost_between_have_all_and_the_number_is_lost():
    pieces = PeerPieces()
    pieces.set_all()
    pieces.remove(3)
    assert 3 not in pieces
    pieces.set_count(10)
    assert pieces.bits == bitarray("1110111111")


def test_the_same_number_of_pieces_may_be_set_again():
    pieces = known(10)
    pieces.add(3)
    pieces.set_count(10)
    assert held(pieces, 10) == [3]


def test_a_later_announcement_replaces_the_earlier_one():
    pieces = known(10)
    pieces.set_all()
    pieces.set_bitfield(b"\x80\x00")
    assert held(pieces, 10) == [0]
    pieces.set_all()
    assert pieces.has_all
