"""Decoding bencode within bounds, and encoding it (BEP 3)."""

from __future__ import annotations

from typing import Any

import pytest

from geventbt import limits
from geventbt.bencoding import decode, decode_dictionary, decode_prefix, encode
from geventbt.errors import BencodeError

VALUES: list[tuple[bytes, Any]] = [
    (b"i0e", 0),
    (b"i-1e", -1),
    (b"i9223372036854775807e", 2**63 - 1),
    (b"i-9223372036854775808e", -(2**63)),
    (b"0:", b""),
    (b"4:spam", b"spam"),
    (b"le", []),
    (b"de", {}),
    (b"l4:spami42ee", [b"spam", 42]),
    (b"d3:bar4:spam3:fooi42ee", {b"bar": b"spam", b"foo": 42}),
    (b"d1:ad1:bl1:cleee1:di1ee", {b"a": {b"b": [b"c", []]}, b"d": 1}),
]

MALFORMED = [
    *(
        b"",
        b"i",
        b"ie",
        b"i-e",
        b"i+1e",
        b"i 5e",
        b"i5 e",
        b"i1_000e",
        b"i1.0e",
        b"i1",
        b"i\xb2e",
    ),
    *(
        b"1",
        b"1:",
        b"2:a",
        b"-1:a",
        b"+1:a",
        b" 1:a",
        b"1 :a",
        b":",
        b":a",
        b"99999999999999999999:a",
        b"9999999999:a",
    ),
    *(b"l", b"li1e", b"d", b"d1:a", b"d1:ai1e", b"d1:ae", b"di1ei2ee", b"dlei2ee", b"dde1:ae", b"d1:ai1ei2ei3ee"),
    *(
        b"e",
        b"lee",
        b"i1ei2e",
        b"i1e ",
        b" i1e",
        b"x",
        b"\x00",
        b"n",
    ),
    b"d1:ai1e-6:",  # makes the decoder of bencode.py 4.1 loop for ever
]


@pytest.mark.parametrize(("data", "value"), VALUES)
def test_each_kind_of_value_is_decoded(data: bytes, value: Any):
    assert decode(data) == value


@pytest.mark.parametrize(("data", "value"), VALUES)
def test_each_kind_of_value_is_encoded(data: bytes, value: Any):
    assert encode(value) == data


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_buffer_is_decoded_to_bytes(kind: Any):
    assert type(decode(kind(b"4:spam"))) is bytes
    assert decode(kind(b"4:spam")) == b"spam"


def test_a_value_of_another_type_is_the_callers_mistake():
    for data in ("i1e", 5, None):
        with pytest.raises(TypeError):
            decode(data)  # type: ignore[arg-type]


@pytest.mark.parametrize("data", MALFORMED)
def test_malformed_bencode_is_refused(data: bytes):
    with pytest.raises(BencodeError):
        decode(data)


def test_unsorted_keys_are_accepted():
    assert decode(b"d1:bi1e1:ai2ee") == {b"b": 1, b"a": 2}


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"i-0e", 0),
        (b"i00e", 0),
        (b"i01e", 1),
        (b"i-01e", -1),
        (b"i" + b"0" * 5000 + b"7e", 7),
        (b"01:a", b"a"),
        (b"00:", b""),
    ],
)
def test_leading_zeros_and_a_negative_zero_are_read(data: bytes, value: Any):
    assert decode(data) == value


@pytest.mark.parametrize("digits", [limits.BENCODE_INTEGER_DIGITS + 1, 100, 10_000])
@pytest.mark.parametrize("sign", [b"", b"-"])
def test_an_integer_that_is_too_long_spoils_only_itself(sign: bytes, digits: int):
    assert decode(b"d1:ai" + sign + b"9" * digits + b"e1:bi5ee") == {b"a": None, b"b": 5}


def test_of_a_key_that_comes_twice_the_first_counts():
    assert decode(b"d1:ai1e1:ai2ee") == {b"a": 1}
    assert decode(b"d1:ad1:bi1e1:bleee") == {b"a": {b"b": 1}}
    data = b"d4:infoi1e4:infod1:ai2eee"
    assert decode_dictionary(data).ranges[b"info"] == (7, 10)


def test_nesting_ends_at_the_depth_limit():
    deep = limits.BENCODE_DEPTH
    assert decode(b"l" * deep + b"e" * deep)
    for data in (b"l" * (deep + 1) + b"e" * (deep + 1), b"l" * 10_000 + b"e" * 10_000, b"d1:a" * 10_000):
        with pytest.raises(BencodeError, match="nested too deeply"):
            decode(data)


def test_nesting_does_not_recurse():
    assert decode(b"l" * 100_000 + b"e" * 100_000, max_depth=100_000, max_tokens=100_000)


def test_tokens_end_at_their_limit():
    assert len(decode(b"l" + b"i1e" * 9 + b"e", max_tokens=10)) == 9
    keys = b"".join(b"1:%ci1e" % key for key in b"abcdefghij")
    for data in (b"l" + b"i1e" * 10 + b"e", b"l" + b"le" * 10 + b"e", b"d" + keys + b"e"):
        with pytest.raises(BencodeError, match="too many values"):
            decode(data, max_tokens=10)


def test_a_claimed_length_allocates_nothing():
    with pytest.raises(BencodeError):
        decode(b"9999999999:abc")


def test_errors_never_carry_the_whole_input():
    for data in (b"x" * limits.MIB, b"i" + b"1" * limits.MIB, b"1" * limits.MIB):
        with pytest.raises(BencodeError) as caught:
            decode(data)
        assert len(str(caught.value)) < 200


def test_a_prefix_ends_where_its_value_ends():
    assert decode_prefix(b"d8:msg_typei1eeRAW") == ({b"msg_type": 1}, 15)
    assert decode_prefix(b"i1e") == (1, 3)
    with pytest.raises(BencodeError):
        decode_prefix(b"d8:msg_typei1e")


def test_a_values_range_is_exact_even_with_unsorted_keys():
    data = b"d4:infod1:zi1e1:ai2ee1:a4:spame"
    ranges = decode_dictionary(data).ranges
    assert data[slice(*ranges[b"info"])] == b"d1:zi1e1:ai2ee"
    assert data[slice(*ranges[b"a"])] == b"4:spam"


def test_only_keys_of_the_outermost_dictionary_have_ranges():
    assert set(decode_dictionary(b"d1:ad4:infoi1eee").ranges) == {b"a"}
    assert decode_dictionary(b"de").ranges == {}


def test_a_dictionary_ends_where_it_ends():
    assert decode_dictionary(b"d1:ai1eeJUNK") == ({b"a": 1}, {b"a": (4, 7)}, 8)


@pytest.mark.parametrize("data", [b"", b"le", b"i1e", b"d", b"di1ei2ee", b"d1:a", b"d1:ai1e", b"d1:ae", b"d1:bi1e1:a"])
def test_what_is_not_a_dictionary_is_refused(data: bytes):
    with pytest.raises(BencodeError):
        decode_dictionary(data)


def test_a_dictionary_is_read_within_the_limits():
    with pytest.raises(BencodeError, match="too many values"):
        decode_dictionary(b"d" + b"".join(b"2:%di1e" % i for i in range(10, 30)) + b"e", max_tokens=10)
    with pytest.raises(BencodeError, match="nested too deeply"):
        decode_dictionary(b"d1:a" + b"l" * 40 + b"e" * 40 + b"e")


def test_keys_are_sorted_as_raw_bytes():
    assert encode({"b": 1, b"a": 2, "B": 3, "aa": 4}) == b"d1:Bi3e1:ai2e2:aai4e1:bi1ee"


def test_a_long_list_is_encoded_as_a_short_one_is():
    entries = [[number, b"x", {b"k": [number]}] for number in range(2500)]
    encoded = b"".join(b"li%de1:xd1:kli%deeee" % (number, number) for number in range(2500))
    assert encode(entries) == b"l" + encoded + b"e"
    assert encode({"b": tuple(entries), b"a": {}}) == b"d1:ade1:bl" + encoded + b"ee"


def test_text_and_truth_are_encoded():
    assert encode("µ") == b"2:\xc2\xb5"
    assert encode({"private": True}) == b"d7:privatei1ee"
    assert encode((1, "a")) == b"li1e1:ae"


@pytest.mark.parametrize("value", [None, 1.5, {1: 2}, [None], {"a": {"b": 1.0}}, {(1,): 1}, object(), {1, 2}])
def test_what_bencode_cannot_say_is_a_type_error(value: Any):
    with pytest.raises(TypeError):
        encode(value)


def test_what_would_be_written_wrongly_is_a_type_error():
    endless: list[Any] = []
    endless.append(endless)
    for value in ({"a": 1, b"a": 2}, endless):
        with pytest.raises(TypeError):
            encode(value)


class CountingBytes(bytes):
    """Bytes that count how often one of them is looked at."""

    looks = 0

    def __getitem__(self, key: Any) -> Any:
        self.looks += 1
        return super().__getitem__(key)


def test_work_is_bounded_by_tokens_not_by_bytes():
    """A mebibyte of the smallest values is given up after as many strings as the limit says."""
    data = CountingBytes(b"l" + b"0:" * limits.MIB)
    with pytest.raises(BencodeError, match="too many values"):
        decode(data)
    assert limits.BENCODE_TOKENS <= data.looks <= 3 * limits.BENCODE_TOKENS
