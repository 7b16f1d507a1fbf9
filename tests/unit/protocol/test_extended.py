"""Decoding of an untrusted extended handshake, key by key (BEP 10)."""

from __future__ import annotations

import pytest

from geventbt import limits
from geventbt.bencoding import decode, encode
from geventbt.protocol.extended import read_extended_handshake, write_extended_handshake

SENSELESS = [-1, 0, 2**63, -(2**63), b"", b"x" * 5, b"x" * 1000, [], [1], {}, {b"a": 1}]
"""One of every type, and of the ranges that no key takes, save where the test says so."""


def read(**keys):
    return read_extended_handshake(encode(keys))


def test_the_keys_of_bep_10_are_read():
    payload = (
        b"d1:md11:ut_metadatai3e6:ut_pexi1ee13:metadata_sizei31235e1:pi6881e4:reqqi250e1:v13:\xc2\xb5Torrent 1.2"
        b"6:yourip4:\x7f\x00\x00\x01e"
    )
    assert read_extended_handshake(payload) == {
        "m": {"ut_metadata": 3, "ut_pex": 1},
        "metadata_size": 31235,
        "p": 6881,
        "reqq": 250,
        "v": "µTorrent 1.2",
        "yourip": b"\x7f\x00\x00\x01",
    }


def test_the_example_of_bep_10_is_read():
    payload = b"d1:md11:LT_metadatai1e7:\xc2\xb5T_PEXi2ee1:pi6881e1:v13:\xc2\xb5Torrent 1.2e"
    assert read_extended_handshake(payload) == {"m": {"LT_metadata": 1, "µT_PEX": 2}, "p": 6881, "v": "µTorrent 1.2"}


def test_an_empty_dictionary_says_nothing():
    assert read_extended_handshake(b"de") == {}


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_buffer_is_read(kind):
    assert read_extended_handshake(kind(b"d1:pi6881ee")) == {"p": 6881}


def test_encoding_is_canonical_and_can_be_decoded():
    payload = write_extended_handshake({"v": "geventbt", "m": {"ut_pex": 1, "ut_metadata": 2}, "reqq": 2000})
    assert payload == b"d1:md11:ut_metadatai2e6:ut_pexi1ee4:reqqi2000e1:v8:geventbte"
    assert read_extended_handshake(payload) == {"v": "geventbt", "m": {"ut_pex": 1, "ut_metadata": 2}, "reqq": 2000}


# ---------------------------------------------------------------------- not a handshake at all


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"x",
        b"i1e",
        b"le",
        b"4:abcd",
        b"d",
        b"d1:pi6881e",
        b"d1:pi6881e4:reqq",
        b"d1:ai1e-6:",
        b"di1ei2ee",
        b"d1:a9999999999:e",
        b"d1:a" + b"l" * 100 + b"e" * 100 + b"e",
        b"d1:al" + b"i1e" * limits.BENCODE_TOKENS + b"ee",
    ],
)
def test_what_is_not_a_bounded_dictionary_says_nothing(payload):
    assert read_extended_handshake(payload) == {}


@pytest.mark.parametrize("junk", [b"\0", b"\n", b"\r\n", b" ", b"e", b"d1:pi1ee"])
def test_bytes_behind_the_dictionary_are_ignored(junk):
    assert read_extended_handshake(b"d1:pi6881ee" + junk) == {"p": 6881}


@pytest.mark.parametrize(
    ("payload", "handshake"),
    [
        (b"d1:pi06881ee", {"p": 6881}),
        (b"d1:pi6881e4:reqqi-0ee", {"p": 6881}),
        (b"d1:pi6881e1:pi1ee", {"p": 6881}),
        (b"d1:pi6881e4:sizei" + b"9" * 30 + b"ee", {"p": 6881}),
        (b"d01:pi6881ee", {"p": 6881}),
    ],
)
def test_a_handshake_that_is_not_quite_right_is_read(payload, handshake):
    assert read_extended_handshake(payload) == handshake


# ---------------------------------------------------------------------- wrong types and ranges, key by key

GOOD = {
    "v": [b"", b"x" * 5, b"x" * 1000],
    "p": [1, 6881, 65535],
    "reqq": [1, 250, 2000],
    "yourip": [b"\x7f\0\0\1", bytes(16)],
    "ipv4": [b"\x7f\0\0\1"],
    "ipv6": [bytes(16)],
    "metadata_size": [1, 32 * limits.MIB],
    "upload_only": [0, 1],
    "complete_ago": [-1, 0, 3600],
}


@pytest.mark.parametrize("key", GOOD)
def test_a_sensible_value_is_kept(key):
    for value in GOOD[key]:
        kept = read(**{key: value})[key]
        assert kept == (value.decode()[:200] if key == "v" else value)


@pytest.mark.parametrize("key", GOOD)
def test_a_value_of_the_wrong_type_or_range_is_left_out_and_the_rest_is_kept(key):
    for value in SENSELESS:
        if value not in GOOD[key]:
            assert read(**{key: value, "other": 1}) == {"other": 1}, value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("p", 65536),
        ("reqq", 1_000_001),
        ("yourip", b"x" * 6),
        ("ipv4", bytes(16)),
        ("ipv6", bytes(4)),
        ("upload_only", 2),
        ("complete_ago", -2),
        ("metadata_size", 2**31 + 1),
    ],
)
def test_a_value_just_out_of_range_is_left_out(key, value):
    assert read(**{key: value}) == {}


@pytest.mark.parametrize("value", [0, 1, b"", b"ut_pex", [], [b"ut_pex", 1]])
def test_a_mapping_that_is_not_a_dictionary_is_left_out(value):
    assert read(m=value, p=1) == {"p": 1}


def test_senseless_ids_in_the_mapping_are_left_out_and_the_rest_is_kept():
    mapping = {
        "neg": -1,
        "big": 256,
        "huge": 2**63,
        "text": b"1",
        "list": [1],
        "dict": {},
        "off": 0,
        "one": 1,
        "last": 255,
    }
    assert read(m=mapping) == {"m": {"off": 0, "one": 1, "last": 255}}


def test_long_names_in_the_mapping_are_left_out():
    assert read(m={"x" * 64: 1, "y" * 65: 2, "z" * 100_000: 3}) == {"m": {"x" * 64: 1}}


def test_a_version_is_cut_and_its_bad_bytes_replaced():
    assert read(v=b"x" * 1000) == {"v": "x" * 200}
    assert read(v=b"\xff\xfe") == {"v": "\ufffd\ufffd"}


def test_other_keys_are_kept_where_they_are_small():
    assert read(zz=-5, yy=b"text") == {"zz": -5, "yy": b"text"}
    assert read(zz=[1], yy={b"a": b"b"}, xx=b"x" * 100_000) == {}


def test_other_keys_are_kept_under_short_printable_names_only():
    assert read_extended_handshake(b"d2:\x1b[i1ee") == {}
    assert read_extended_handshake(encode({"k" * 65: 1})) == {}


def test_a_key_that_is_not_utf_8_raises_nothing():
    assert decode(b"d2:\xff\xfei1ee") == {b"\xff\xfe": 1}
    read_extended_handshake(b"d1:md2:\xff\xfei1ee2:\xff\xfei1ee")
