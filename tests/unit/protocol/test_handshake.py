"""The handshake and its reserved bits (BEP 3, 5, 6, 10, 52), byte by byte."""

from __future__ import annotations

import pytest

from geventbt.errors import HandshakeError, RemoteProtocolError
from geventbt.protocol.handshake import Extensions, Handshake, check_protocol_string

INFO_HASH = bytes(range(20))
PEER_ID = b"-GB0001-abcdefghijkl"
GOLDEN = b"\x13BitTorrent protocol" + bytes.fromhex("0000000000100015") + INFO_HASH + PEER_ID


def test_handshake_is_written_as_68_golden_bytes():
    handshake = Handshake(INFO_HASH, PEER_ID, Extensions(dht=True, fast=True, extended=True, v2=True))
    assert handshake.to_bytes() == GOLDEN
    assert len(GOLDEN) == 68


def test_handshake_without_extensions_has_eight_zero_bytes():
    assert Handshake(INFO_HASH, PEER_ID).to_bytes() == b"\x13BitTorrent protocol" + bytes(8) + INFO_HASH + PEER_ID


def test_handshake_is_read_from_its_golden_bytes():
    handshake = Handshake.from_bytes(GOLDEN)
    assert handshake.info_hash == INFO_HASH
    assert handshake.peer_id == PEER_ID
    assert handshake.extensions == Extensions(dht=True, fast=True, extended=True, v2=True)


@pytest.mark.parametrize(
    ("name", "reserved"),
    [
        ("dht", "0000000000000001"),
        ("fast", "0000000000000004"),
        ("v2", "0000000000000010"),
        ("extended", "0000000000100000"),
    ],
)
def test_each_extension_has_its_own_reserved_bit(name, reserved):
    extensions = Extensions(**{name: True})
    assert extensions.to_reserved() == bytes.fromhex(reserved)
    assert Extensions.from_reserved(bytes.fromhex(reserved)) == extensions


def test_foreign_reserved_bits_are_ignored():
    assert Extensions.from_reserved(bytes.fromhex("ffffffffffefffea")) == Extensions()
    assert Extensions.from_reserved(b"\xff" * 8) == Extensions(dht=True, fast=True, extended=True, v2=True)


@pytest.mark.parametrize("size", range(21))
def test_every_beginning_of_the_protocol_string_passes(size):
    check_protocol_string(GOLDEN[:size])
    check_protocol_string(bytearray(GOLDEN[:size]))


@pytest.mark.parametrize("at", range(20))
def test_the_first_wrong_byte_of_the_protocol_string_is_refused(at):
    wrong = bytearray(GOLDEN[: at + 1])
    wrong[at] ^= 0x20
    with pytest.raises(HandshakeError) as caught:
        check_protocol_string(wrong)
    assert isinstance(caught.value, RemoteProtocolError)
    assert caught.value.message_id is None
    assert caught.value.bep == 3


def test_any_bytes_may_follow_the_protocol_string():
    check_protocol_string(GOLDEN[:20] + b"\xff" * 100)
