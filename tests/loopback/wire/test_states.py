"""The state of a wire depends neither on how the stream was cut nor on what a reader does with what it reads."""

from __future__ import annotations

from typing import Any

import gevent
import pytest
from bitarray import bitarray

from geventbt import Extensions
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from tests.loopback.harness import eventually

STREAM = b"".join(
    (
        m.pack_extended(0, b"d1:md5:xx_aai3ee4:reqqi7ee"),
        m.pack_bitfield(b"\xa0\x40"),
        m.pack_index(c.HAVE, 4),
        m.pack_index(c.HAVE, 4),
        m.KEEP_ALIVE_BYTES,
        m.pack_bare(c.UNCHOKE),
        m.pack_bare(c.INTERESTED),
        m.pack_index(c.ALLOWED_FAST, 7),
        m.pack_index(c.ALLOWED_FAST, 11),
        m.pack_range(c.REQUEST, 1, 2, 3),
        m.pack_range(c.REQUEST, 4, 5, 6),
        m.pack_range(c.REQUEST, 4, 5, 6),
        m.pack_range(c.CANCEL, 1, 2, 3),
        b"\0\0\0\4\x63abc",
        m.pack_bare(c.CHOKE),
        m.pack_bare(c.UNCHOKE),
        m.pack_port(6881),
    )
)


def send_in_parts(peer: Any, data: bytes, size: int) -> None:
    for start in range(0, len(data), size):
        peer.send(data[start : start + size])
        gevent.sleep(0)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 17, 4096])
def test_the_state_is_the_same_however_the_stream_is_cut(raw, size):
    wire, peer = raw(extensions=Extensions(fast=True, extended=True, dht=True), dht=True)
    wire.unchoke()
    ports: list[int] = []
    wire.on("port", lambda wire, listen_port: ports.append(listen_port))
    peer.sock.setsockopt(6, 1, 1)
    send_in_parts(peer, STREAM, size)
    eventually(lambda: ports == [6881])
    assert not wire.closed
    assert (wire.peer_choking, wire.peer_interested) == (False, True)
    assert wire.peer_pieces == bitarray("1010100001")
    assert wire.peer_allowed_fast_set == {7}
    assert wire.peer_requests == [(4, 5, 6)]
    assert wire.peer_extended_mapping == {"xx_aa": 3}
    assert wire.request_limit == 7


def test_what_is_read_of_a_wire_is_the_readers_own(wires):
    a, b = wires()
    b.bitfield(bitarray("10"))
    a.wait_for_piece(0, timeout=5)
    a.peer_pieces.setall(0)
    a.peer_extended_mapping["x"] = 1
    a.peer_extended_handshake["x"] = 1
    a.extended_mapping[1] = "x"
    a.requests.append("x")
    a.peer_requests.append("x")
    a.ext["x"] = 1
    assert a.peer_has(0)
    assert "x" not in a.peer_extended_mapping
    assert "x" not in a.peer_extended_handshake
    assert (a.extended_mapping, a.requests, a.peer_requests, a.ext) == ({}, [], [], {})


def test_a_state_that_is_told_twice_is_sent_once(raw):
    wire, peer = raw()
    for send in (wire.unchoke, wire.unchoke, wire.interested, wire.interested, wire.uninterested, wire.uninterested):
        send()
    wire.choke()
    wire.choke()
    wire.port(1)
    sent = [peer.message() for _ in range(5)]
    assert [message[0] for message in sent] == [c.UNCHOKE, c.INTERESTED, c.UNINTERESTED, c.CHOKE, c.PORT]


def test_a_later_bitfield_or_have_none_replaces_what_was_told(raw):
    wire, peer = raw()
    for message, expected in (
        (m.pack_bare(c.HAVE_ALL), "1111111111"),
        (m.pack_bare(c.HAVE_NONE), "0000000000"),
        (m.pack_index(c.HAVE, 3), "0001000000"),
        (m.pack_bitfield(b"\x80\x00"), "1000000000"),
    ):
        peer.send(message)
        eventually(lambda expected=expected: wire.peer_pieces == bitarray(expected))


def test_advice_of_a_peer_is_bounded_and_nonsense_is_ignored(raw):
    from geventbt import limits

    wire, peer = raw(geometry=None)
    many = limits.ALLOWED_FAST_KEPT + 50
    peer.send(b"".join(m.pack_index(c.ALLOWED_FAST, piece) for piece in range(many)))
    peer.send(m.pack_index(c.ALLOWED_FAST, 2**32 - 1) + m.pack_index(c.SUGGEST, 2**32 - 1) + m.pack_bare(c.INTERESTED))
    eventually(lambda: wire.peer_interested)
    assert wire.peer_allowed_fast_set == set(range(limits.ALLOWED_FAST_KEPT))
