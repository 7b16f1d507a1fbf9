"""The messages of ut_metadata (BEP 9), in bytes, and assembly of the pieces."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventbt import bencoding, limits
from geventbt.errors import MetadataMismatch, RemoteProtocolError
from geventbt.protocol.ut_metadata import (
    DATA,
    REJECT,
    REQUEST,
    MetadataAssembly,
    MetadataMessage,
    piece_count,
    piece_of,
)


def test_messages_in_bytes():
    assert MetadataMessage(REQUEST, 3).to_bytes() == b"d8:msg_typei0e5:piecei3ee"
    assert MetadataMessage(REJECT, 3).to_bytes() == b"d8:msg_typei2e5:piecei3ee"
    data = b"d8:msg_typei1e5:piecei0e10:total_sizei3eeeee"
    assert MetadataMessage(DATA, 0, 3, b"eee").to_bytes() == data
    assert MetadataMessage.from_bytes(data) == MetadataMessage(DATA, 0, 3, b"eee")


@given(st.integers(0, 5), st.integers(0, 1 << 30), st.none() | st.integers(0, 1 << 30), st.binary(max_size=100))
def test_reading_inverts_writing(kind, piece, total, data):
    message = MetadataMessage(kind, piece, total, data if kind == DATA else b"")
    assert MetadataMessage.from_bytes(message.to_bytes()) == message


@given(
    st.binary()
    | st.dictionaries(st.sampled_from([b"msg_type", b"piece", b"total_size"]), st.integers() | st.binary()).map(
        bencoding.encode
    )
)
def test_any_bytes_are_a_message_or_a_protocol_error(payload):
    try:
        message = MetadataMessage.from_bytes(payload)
    except RemoteProtocolError:
        return
    assert 0 <= message.piece < 1 << 31


@given(st.binary(min_size=1, max_size=3 * limits.METADATA_PIECE + 5), st.randoms())
def test_pieces_in_any_order_make_the_whole(metadata, random):
    assembly = MetadataAssembly(len(metadata), hashlib.sha1(metadata).digest())
    assert assembly.pieces == piece_count(len(metadata))
    order = list(range(assembly.pieces))
    random.shuffle(order)
    for piece in order:
        assert assembly.add(MetadataMessage(DATA, piece, len(metadata), piece_of(metadata, piece)))
        assert not assembly.add(MetadataMessage(DATA, piece, len(metadata), piece_of(metadata, piece)))
    assert assembly.missing == 0
    assert assembly.finish() == metadata


@pytest.mark.parametrize("size", [0, -1, limits.METADATA + 1])
def test_a_size_that_no_metadata_may_have_is_refused(size):
    with pytest.raises(MetadataMismatch):
        MetadataAssembly(size, bytes(20))


def test_a_claimed_size_allocates_nothing():
    assembly = MetadataAssembly(limits.METADATA, bytes(20))
    assert assembly._data == {}
