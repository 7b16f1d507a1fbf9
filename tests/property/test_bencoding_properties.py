"""Bencode against any value and any bytes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import bencodepy
from hypothesis import given
from hypothesis import strategies as st

from geventbt.bencoding import decode, decode_dictionary, decode_prefix, encode
from geventbt.errors import BencodeError

scalars = st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=30)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.binary(max_size=8), inner, max_size=5)
)
dictionaries = st.dictionaries(st.binary(max_size=8), values, min_size=1, max_size=6)
bencode_like = st.lists(
    st.sampled_from(
        [b"i", b"e", b"l", b"d", b"0:", b"1:a", b"2:", b"-", b"0", b"1", b"9", b"i1e", b"-6:", b"_", b" ", b"+"]
    ),
    max_size=40,
).map(b"".join)


@given(values)
def test_decode_is_the_inverse_of_encode(value: Any):
    assert decode(encode(value)) == value


@given(values, st.binary(max_size=20))
def test_a_prefix_is_found_whatever_follows(value: Any, rest: bytes):
    data = encode(value)
    assert decode_prefix(data + rest) == (value, len(data))


@given(values)
def test_bencode_py_accepts_the_same_values(value: Any):
    data = encode(value)
    assert data == bencodepy.encode(value)
    assert decode(data) == bencodepy.decode(data)


@given(st.binary(max_size=100) | bencode_like)
def test_any_bytes_are_a_value_or_a_bencode_error(data: bytes):
    try:
        value = decode(data)
    except BencodeError:
        return
    # None is an integer that is too long, and cannot be written.
    with suppress(TypeError):
        assert decode(encode(value)) == value


@given(values, st.data())
def test_damaged_bencode_is_a_value_or_a_bencode_error(value: Any, data: st.DataObject):
    damaged = bytearray(encode(value))
    position = data.draw(st.integers(0, len(damaged) - 1))
    damaged[position : position + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    for read in (decode, decode_prefix, decode_dictionary):
        with suppress(BencodeError):
            read(damaged)


@given(dictionaries)
def test_the_range_of_each_key_holds_its_encoded_value(dictionary: dict[bytes, Any]):
    data = encode(dictionary)
    ranges = decode_dictionary(data).ranges
    assert {key: data[slice(*where)] for key, where in ranges.items()} == {
        key: encode(value) for key, value in dictionary.items()
    }
