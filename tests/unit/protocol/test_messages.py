"""Every message in golden bytes, both ways, and the names of its fields (BEP 3, 5, 6, 10, 52)."""

from __future__ import annotations

from dataclasses import fields

import pytest

from geventbt.protocol import constants as c
from geventbt.protocol import message_objects as o
from geventbt.protocol import messages as m
from geventbt.protocol.handshake import Extensions, Handshake
from geventbt.protocol.parser import Parser

HANDSHAKE = Handshake(b"i" * 20, b"p" * 20).to_bytes()
ROOT = bytes(range(32))
RANGE = "00000001 00004000 00004000"
HASHES = f"{ROOT.hex()} 00000000 00000004 00000002 00000003"

GOLDEN = {
    "keep_alive": ("00000000", m.KEEP_ALIVE_BYTES, (c.KEEP_ALIVE,), o.KeepAlive()),
    "choke": ("00000001 00", m.pack_bare(c.CHOKE), (0,), o.Choke()),
    "unchoke": ("00000001 01", m.pack_bare(c.UNCHOKE), (1,), o.Unchoke()),
    "interested": ("00000001 02", m.pack_bare(c.INTERESTED), (2,), o.Interested()),
    "uninterested": ("00000001 03", m.pack_bare(c.UNINTERESTED), (3,), o.NotInterested()),
    "have": ("00000005 04 00000102", m.pack_index(c.HAVE, 0x102), (4, 0x102), o.Have(index=0x102)),
    "bitfield": ("00000003 05 a580", m.pack_bitfield(b"\xa5\x80"), (5, b"\xa5\x80"), o.Bitfield(bitfield=b"\xa5\x80")),
    "request": (
        f"0000000d 06 {RANGE}",
        m.pack_range(c.REQUEST, 1, 16384, 16384),
        (6, 1, 16384, 16384),
        o.Request(index=1, begin=16384, length=16384),
    ),
    "piece": (
        "0000000c 07 00000001 00004000 616263",
        m.pack_piece_header(1, 16384, 3) + b"abc",
        (7, 1, 16384, b"abc"),
        o.Piece(index=1, begin=16384, block=b"abc"),
    ),
    "cancel": (
        f"0000000d 08 {RANGE}",
        m.pack_range(c.CANCEL, 1, 16384, 16384),
        (8, 1, 16384, 16384),
        o.Cancel(index=1, begin=16384, length=16384),
    ),
    "port": ("00000003 09 1ae1", m.pack_port(6881), (9, 6881), o.Port(listen_port=6881)),
    "suggest": ("00000005 0d 00000007", m.pack_index(c.SUGGEST, 7), (13, 7), o.SuggestPiece(index=7)),
    "have_all": ("00000001 0e", m.pack_bare(c.HAVE_ALL), (14,), o.HaveAll()),
    "have_none": ("00000001 0f", m.pack_bare(c.HAVE_NONE), (15,), o.HaveNone()),
    "reject": (
        f"0000000d 10 {RANGE}",
        m.pack_range(c.REJECT, 1, 16384, 16384),
        (16, 1, 16384, 16384),
        o.RejectRequest(index=1, begin=16384, length=16384),
    ),
    "allowed_fast": ("00000005 11 00000007", m.pack_index(c.ALLOWED_FAST, 7), (17, 7), o.AllowedFast(index=7)),
    "extended_handshake": (
        "00000004 14 00 6465",
        m.pack_extended(c.EXTENDED_HANDSHAKE, b"de"),
        (20, 0, b"de"),
        o.Extended(extended_id=0, payload=b"de"),
    ),
    "extended": (
        "00000003 14 ff 78",
        m.pack_extended(255, b"x"),
        (20, 255, b"x"),
        o.Extended(extended_id=255, payload=b"x"),
    ),
    "hash_request": (
        f"00000031 15 {HASHES}",
        m.pack_hash_range(c.HASH_REQUEST, ROOT, 0, 4, 2, 3),
        (21, ROOT, 0, 4, 2, 3),
        o.HashRequest(pieces_root=ROOT, base_layer=0, index=4, length=2, proof_layers=3),
    ),
    "hashes": (
        f"00000071 16 {HASHES}" + "11" * 32 + "22" * 32,
        m.pack_hash_range(c.HASHES, ROOT, 0, 4, 2, 3, b"\x11" * 32 + b"\x22" * 32),
        (22, ROOT, 0, 4, 2, 3, b"\x11" * 32 + b"\x22" * 32),
        o.Hashes(pieces_root=ROOT, base_layer=0, index=4, length=2, proof_layers=3, hashes=b"\x11" * 32 + b"\x22" * 32),
    ),
    "hash_reject": (
        f"00000031 17 {HASHES}",
        m.pack_hash_range(c.HASH_REJECT, ROOT, 0, 4, 2, 3),
        (23, ROOT, 0, 4, 2, 3),
        o.HashReject(pieces_root=ROOT, base_layer=0, index=4, length=2, proof_layers=3),
    ),
}

every_message = pytest.mark.parametrize(("wire", "packed", "message", "seen"), GOLDEN.values(), ids=GOLDEN)


@every_message
def test_message_is_packed_into_its_golden_bytes(wire, packed, message, seen):
    assert packed == bytes.fromhex(wire)


@every_message
def test_golden_bytes_are_parsed_into_the_message(wire, packed, message, seen):
    assert list(Parser().feed(HANDSHAKE + bytes.fromhex(wire)))[1:] == [message]


@every_message
def test_message_is_seen_as_the_object_of_its_id(wire, packed, message, seen):
    parsed = list(Parser().feed(HANDSHAKE + bytes.fromhex(wire)))[1]
    assert o.as_object(parsed) == seen
    assert type(o.as_object(parsed)) is type(seen)


def test_every_id_of_the_beps_has_golden_bytes():
    ids = {message[0] for _, _, message, _ in GOLDEN.values()}
    assert ids == {-1, *range(10), *range(13, 18), *range(20, 24)}


def test_handshake_is_seen_as_an_object():
    extensions = Extensions(fast=True)
    data = Handshake(b"i" * 20, b"p" * 20, extensions).to_bytes()
    (message,) = Parser().feed(data)
    assert o.as_object(message) == o.HandshakeReceived(info_hash=b"i" * 20, peer_id=b"p" * 20, extensions=extensions)


def test_unknown_message_is_seen_as_an_object_with_its_id():
    message = list(Parser().feed(HANDSHAKE + bytes.fromhex("00000003 63 0102")))[1]
    assert o.as_object(message) == o.UnknownMessage(id=0x63, payload=b"\x01\x02")


def test_an_object_may_be_kept_when_the_buffer_is_used_again():
    buffer = bytearray(HANDSHAKE + m.pack_piece_header(0, 0, 4) + b"good")
    piece = o.as_object(list(Parser().feed(buffer))[1])
    buffer[-4:] = b"evil"
    assert piece.block == b"good"
    assert all(not isinstance(getattr(piece, field.name), memoryview) for field in fields(piece))


def test_a_packed_piece_begins_with_the_piece_header():
    assert m.PIECE_HEADER.pack(9 + 3, c.PIECE, 1, 16384) == m.pack_piece_header(1, 16384, 3)
    assert m.RANGE.pack(13, c.REQUEST, 1, 16384, 16384) == m.pack_range(c.REQUEST, 1, 16384, 16384)
