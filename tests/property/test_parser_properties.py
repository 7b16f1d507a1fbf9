"""The parser with any stream in any split; encoding and decoding are inverses."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from geventbt.errors import RemoteProtocolError
from geventbt.protocol import constants as c
from geventbt.protocol.extended import read_extended_handshake, write_extended_handshake
from geventbt.protocol.handshake import Extensions, Handshake
from geventbt.protocol.parser import Parser
from tests.property.strategies import copied, extensions, handshakes, invalid_tails, messages, packed, parts

HANDSHAKE = Handshake(b"i" * 20, b"p" * 20)


def parse(parts_of_stream):
    """All messages, their buffers copied, and the id and BEP of the error after them, if there was one."""
    parser = Parser()
    seen = []
    try:
        for part in parts_of_stream:
            scratch = bytearray(part)
            for message in parser.feed(memoryview(scratch)):
                seen.append(copied(message))
            # A transport uses its buffer again: nothing may still look into it.
            scratch[:] = b"\xee" * len(scratch)
    except RemoteProtocolError as error:
        return seen, (error.message_id, error.bep)
    return seen, None


def bytewise(data):
    """The same bytes, one at a time."""
    return [data[at : at + 1] for at in range(len(data))]


@given(message=messages)
def test_a_packed_message_is_parsed_into_itself(message):
    seen, error = parse([HANDSHAKE.to_bytes() + packed(message)])
    assert error is None
    assert seen[1:] == [message]


@given(data=st.binary(min_size=1, max_size=60), message_id=st.integers(0, 255))
def test_a_parsed_message_is_packed_into_its_bytes(data, message_id):
    wire = len(data).to_bytes(4, "big") + bytes([message_id]) + data[1:]
    seen, error = parse([HANDSHAKE.to_bytes() + wire])
    if error is None:
        assert packed(seen[1]) == wire


@given(handshake=handshakes)
def test_handshake_bytes_are_inverse(handshake):
    assert Handshake.from_bytes(handshake.to_bytes()) == handshake
    assert parse([handshake.to_bytes()]) == (
        [(c.HANDSHAKE, handshake.info_hash, handshake.peer_id, handshake.extensions)],
        None,
    )


@given(extensions=extensions)
def test_reserved_bytes_are_inverse(extensions):
    assert Extensions.from_reserved(extensions.to_reserved()) == extensions


@given(data=st.data(), stream=st.lists(messages, max_size=12))
def test_any_split_of_a_stream_gives_the_same_messages(data, stream):
    wire = HANDSHAKE.to_bytes() + b"".join(map(packed, stream))
    seen, error = parse(data.draw(parts(wire)))
    assert error is None
    assert seen[1:] == stream
    assert parse(bytewise(wire)) == (seen, None)


@given(data=st.data(), stream=st.lists(messages, max_size=8), tail=invalid_tails)
def test_any_split_of_a_broken_stream_gives_the_same_messages_and_then_the_error(data, stream, tail):
    wire = HANDSHAKE.to_bytes() + b"".join(map(packed, stream)) + tail
    seen, error = parse(bytewise(wire))
    assert seen[1:] == stream
    assert error is not None
    assert parse(data.draw(parts(wire))) == (seen, error)


@given(stream=st.lists(messages, min_size=1, max_size=5), cut=st.integers(0, 400))
def test_missing_completes_exactly_the_message_that_is_cut_off(stream, cut):
    wire = b"".join(map(packed, stream))
    cut = min(cut, len(wire))
    parser = Parser()
    list(parser.feed(HANDSHAKE.to_bytes()))
    before = len(list(parser.feed(wire[:cut])))
    missing = parser.missing
    if missing:
        assert len(list(parser.feed(wire[cut : cut + missing - 1]))) == 0
        assert len(list(parser.feed(wire[cut + missing - 1 : cut + missing]))) == 1
        assert before + 1 + len(list(parser.feed(wire[cut + missing :]))) == len(stream)


_names = st.text(st.characters(codec="utf-8"), max_size=16)
_sensible = st.fixed_dictionaries(
    {},
    optional={
        "m": st.dictionaries(_names, st.integers(0, 255), max_size=10),
        "v": st.text(st.characters(codec="utf-8"), max_size=40),
        "p": st.integers(1, 65535),
        "reqq": st.integers(1, 10_000),
        "yourip": st.sampled_from([b"\x7f\0\0\1", bytes(16)]),
        "metadata_size": st.integers(1, 2**25),
        "upload_only": st.integers(0, 1),
    },
)


@given(handshake=_sensible)
def test_an_extended_handshake_that_is_written_is_read_again(handshake):
    assert read_extended_handshake(write_extended_handshake(handshake)) == handshake


_trees = st.recursive(
    st.integers(-(2**63), 2**63) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=5), inner, max_size=4),
    max_leaves=15,
)
_keys = st.sampled_from(
    [b"m", b"v", b"p", b"reqq", b"yourip", b"ipv4", b"ipv6", b"metadata_size", b"upload_only", b"zz"]
)


@given(tree=st.dictionaries(_keys | st.binary(max_size=5), _trees, max_size=8))
def test_no_value_of_any_key_is_more_than_wrong_advice(tree):
    read_extended_handshake(write_extended_handshake(tree))


@given(payload=st.binary(max_size=200))
def test_any_payload_is_an_extended_handshake_or_a_violation(payload):
    handshake = None
    with suppress(RemoteProtocolError):
        handshake = read_extended_handshake(payload)
    assert handshake is None or all(isinstance(name, str) for name in handshake)
