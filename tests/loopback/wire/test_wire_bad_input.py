"""What untrusted peers may send: each ends as it should, without a word in the log, and the server still serves the
next peer."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from typing import Any

import gevent
import pytest
from bitarray import bitarray
from gevent import socket as gevent_socket

import geventbt
from geventbt import Extensions, Handshake, HandshakeError, LocalProtocolError, RemoteProtocolError, WireTimeout, limits
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from tests.loopback.harness import BLOCK, GEOMETRY, INFO_HASH, OUR_ID, PEER_ID, RawPeer, eventually

pytestmark = pytest.mark.usefixtures("nothing_logged")

FAST = Extensions(fast=True)


@pytest.fixture
def server(serving: Any) -> Any:
    """A seeder that has noted how its wires ended."""

    def seed(wire: geventbt.Wire) -> None:
        wire.handshake(INFO_HASH, OUR_ID, geometry=GEOMETRY)
        wire.bitfield(bitarray("1" * GEOMETRY.pieces))
        wire.unchoke()
        wire.serve(lambda piece, offset, length: bytes(length))

    server = serving(seed)
    server.reasons = []
    server.on("peer_connected", lambda server, wire: wire.on("close", lambda wire, error: server.reasons.append(error)))
    return server


def raw_peer(server: Any, hello: bytes | None = None) -> RawPeer:
    """A raw peer, which has said `hello`, or shaken hands."""
    peer = RawPeer(gevent_socket.create_connection(("127.0.0.1", server.server_port)))
    if hello is None:
        peer.send(Handshake(INFO_HASH, PEER_ID, FAST).to_bytes())
        peer.receive(68)
        assert peer.message() == m.pack_bitfield(b"\xff\xc0")[4:]
        assert peer.message() == m.pack_bare(c.UNCHOKE)[4:]
    else:
        peer.send(hello)
    return peer


def assert_still_serves(server: Any) -> None:
    with geventbt.connect(("127.0.0.1", server.server_port)) as wire:
        wire.handshake(INFO_HASH, PEER_ID, geometry=GEOMETRY)
        wire.wait_unchoked(timeout=5)
        assert wire.request(0, 0, BLOCK, timeout=5) == bytes(BLOCK)


def assert_closed_for(server: Any, peer: RawPeer, error: type[Exception]) -> None:
    """The server has closed this peer for that reason, and serves the next one."""
    assert peer.is_closed()
    peer.sock.close()
    eventually(lambda: server.reasons)
    assert isinstance(server.reasons[0], error), server.reasons
    assert_still_serves(server)


# ---------------------------------------------------------------------- handshakes


@pytest.mark.parametrize(
    "hello",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x13BitTorrent protocoX" + bytes(48),
        b"\x12BitTorrent protoco" + bytes(49),
        b"\0",
        Handshake(b"x" * 20, PEER_ID).to_bytes(),
        Handshake(INFO_HASH, OUR_ID).to_bytes(),
    ],
    ids=["http", "wrong string", "wrong length", "one byte", "wrong info hash", "our own peer id"],
)
def test_a_wrong_handshake_closes(server, hello):
    assert_closed_for(server, raw_peer(server, hello), HandshakeError)


def test_a_handshake_that_never_comes_closes_in_time(server, monkeypatch):
    monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT", 0.1)
    assert_closed_for(server, raw_peer(server, b""), WireTimeout)


def test_a_handshake_that_trickles_is_not_given_more_time(server, monkeypatch):
    monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT", 0.3)
    peer = raw_peer(server, b"")

    def trickle() -> None:
        for byte in Handshake(INFO_HASH, PEER_ID).to_bytes() * 10:
            try:
                peer.sock.sendall(bytes([byte]))
            except OSError:
                return
            gevent.sleep(0.02)

    trickler = gevent.spawn(trickle)
    eventually(lambda: server.reasons)
    trickler.kill()
    assert_closed_for(server, peer, WireTimeout)


def test_an_outgoing_handshake_is_answered_in_time_or_raises(socket_pair, monkeypatch):
    left, _ = socket_pair()
    wire = geventbt.Wire(left, incoming=False)
    with pytest.raises(WireTimeout):
        wire.handshake(INFO_HASH, OUR_ID, timeout=0.05)
    assert wire.closed


def test_the_caller_hears_what_was_wrong_with_the_handshake(socket_pair):
    for answer in (b"HTTP/1.1 400 Bad Request", Handshake(b"x" * 20, PEER_ID).to_bytes()):
        left, right = socket_pair()
        wire = geventbt.Wire(left, incoming=False)
        right.sendall(answer)
        with pytest.raises(HandshakeError):
            wire.handshake(INFO_HASH, OUR_ID)
        assert wire.closed


# ---------------------------------------------------------------------- frames

FIXED = {
    c.CHOKE: 0, c.UNCHOKE: 0, c.INTERESTED: 0, c.UNINTERESTED: 0, c.HAVE: 4, c.REQUEST: 12, c.CANCEL: 12, c.PORT: 2,
    c.SUGGEST: 4, c.HAVE_ALL: 0, c.HAVE_NONE: 0, c.REJECT: 12, c.ALLOWED_FAST: 4, c.HASH_REQUEST: 48, c.HASH_REJECT: 48,
}  # fmt: skip
WRONG_SIZES = [(number, size + wrong) for number, size in FIXED.items() for wrong in (-1, 1) if size + wrong >= 0]
WRONG_SIZES += [(c.BITFIELD, 1), (c.BITFIELD, 3), (c.PIECE, 7), (c.EXTENDED, 0), (c.HASHES, 47), (c.HASHES, 49)]


@pytest.mark.parametrize(("message_id", "size"), WRONG_SIZES)
def test_a_payload_of_the_wrong_size_closes(server, message_id, size):
    peer = raw_peer(server)
    peer.send((1 + size).to_bytes(4, "big") + bytes([message_id]) + bytes(size))
    assert_closed_for(server, peer, RemoteProtocolError)
    assert server.reasons[0].message_id == message_id


@pytest.mark.parametrize("message_id", [c.PIECE, c.BITFIELD, c.EXTENDED, c.HASHES, 99])
@pytest.mark.parametrize("length", [limits.MESSAGE + 2, 2**32 - 1])
def test_a_frame_that_is_too_long_closes_before_it_is_read(server, message_id, length):
    peer = raw_peer(server)
    peer.send(length.to_bytes(4, "big") + bytes([message_id]))
    assert_closed_for(server, peer, RemoteProtocolError)


@pytest.mark.parametrize(
    "message",
    [
        m.pack_index(c.HAVE, 10),
        m.pack_index(c.HAVE, 2**32 - 1),
        m.pack_bitfield(b"\xff\xff"),
        m.pack_range(c.REQUEST, 10, 0, 1),
        m.pack_range(c.REQUEST, 0, 65536, 1),
        m.pack_range(c.REQUEST, 0, 65000, BLOCK),
        m.pack_range(c.REQUEST, 0, 0, 0),
        m.pack_range(c.REQUEST, 9, 65400, 100),
    ],
    ids=["have", "far have", "spare bits", "piece", "offset", "end", "empty", "last piece"],
)
def test_an_index_out_of_range_closes(server, message):
    peer = raw_peer(server)
    peer.send(message)
    assert_closed_for(server, peer, RemoteProtocolError)


def test_a_fast_message_without_the_extension_closes(serving):
    reasons: list[Any] = []

    def seed(wire: geventbt.Wire) -> None:
        wire.on("close", lambda wire, error: reasons.append(error))
        wire.handshake(INFO_HASH, OUR_ID, fast=False)
        wire.wait_for("close")

    server = serving(seed)
    peer = RawPeer(gevent_socket.create_connection(("127.0.0.1", server.server_port)))
    peer.send(Handshake(INFO_HASH, PEER_ID, FAST).to_bytes())
    peer.receive(68)
    peer.send(m.pack_bare(c.HAVE_ALL))
    assert peer.is_closed()
    peer.sock.close()
    eventually(lambda: reasons)
    assert (reasons[0].message_id, reasons[0].bep) == (c.HAVE_ALL, 6)


def test_a_bad_extended_handshake_says_nothing_and_the_peer_is_kept(serving):
    told: list[Any] = []

    def seed(wire: geventbt.Wire) -> None:
        wire.handshake(INFO_HASH, OUR_ID)
        wire.wait_for("interested", timeout=5)
        told.append(wire.peer_extended_handshake)

    server = serving(seed)
    payloads = (b"d1:ai1e-6:", b"l" * 10_000, b"i1e", b"")
    for payload in payloads:
        peer = RawPeer(gevent_socket.create_connection(("127.0.0.1", server.server_port)))
        peer.send(Handshake(INFO_HASH, PEER_ID, Extensions(extended=True)).to_bytes())
        peer.receive(68)
        peer.send(m.pack_extended(0, payload))
        peer.send(m.pack_bare(c.INTERESTED))
        eventually(lambda sent=payload: len(told) == payloads.index(sent) + 1)
        peer.sock.close()
    assert told == [{}] * len(payloads)


def test_a_request_that_is_too_long_is_rejected(serving):
    """Too long for us, but inside a large piece: a matter of taste, and no offence."""
    geometry = geventbt.Geometry(1 << 22, 1 << 20)

    def seed(wire: geventbt.Wire) -> None:
        wire.handshake(INFO_HASH, OUR_ID, geometry=geometry)
        wire.unchoke()
        wire.serve(lambda piece, offset, length: bytes(length))

    peer = RawPeer(gevent_socket.create_connection(("127.0.0.1", serving(seed).server_port)))
    peer.send(Handshake(INFO_HASH, PEER_ID, FAST).to_bytes())
    peer.receive(68 + 5)
    peer.send(m.pack_range(c.REQUEST, 0, 0, limits.PEER_BLOCK + 1) + m.pack_range(c.REQUEST, 0, 0, limits.PEER_BLOCK))
    assert peer.message() == m.pack_range(c.REJECT, 0, 0, limits.PEER_BLOCK + 1)[4:]
    assert len(peer.message()) == 9 + limits.PEER_BLOCK
    peer.sock.close()


def test_requests_while_choked_are_rejected(raw):
    wire, peer = raw()
    peer.send(m.pack_range(c.REQUEST, 0, 0, 4))
    assert peer.message() == m.pack_range(c.REJECT, 0, 0, 4)[4:]
    assert wire.peer_requests == []


def test_requests_while_choked_are_dropped_without_the_fast_extension(raw):
    wire, peer = raw(extensions=Extensions())
    peer.send(m.pack_range(c.REQUEST, 0, 0, 4) + m.pack_port(1))
    wire.wait_for("port", timeout=5)
    assert wire.peer_requests == []
    wire.unchoke()
    assert peer.message() == m.pack_bare(c.UNCHOKE)[4:]


def test_a_flood_of_requests_is_bounded_and_the_rest_rejected(raw):
    wire, peer = raw(geometry=None)
    wire.unchoke()
    peer.message()
    flood = limits.PEER_REQUESTS + 100
    peer.send(b"".join(m.pack_range(c.REQUEST, number, 0, BLOCK) for number in range(flood)))
    for number in range(limits.PEER_REQUESTS, flood):
        assert peer.message() == m.pack_range(c.REJECT, number, 0, BLOCK)[4:]
    assert len(wire.peer_requests) == limits.PEER_REQUESTS


def test_a_flood_by_one_who_never_reads_ends_the_wire(raw, monkeypatch):
    monkeypatch.setattr(limits, "CONTROL_QUEUE", 100_000)
    monkeypatch.setattr(limits, "HIGH_WATER", 100_000)
    wire, peer = raw()

    def flood() -> None:
        peer.sock.settimeout(None)
        with suppress(OSError):
            while True:
                peer.send(m.pack_range(c.REQUEST, 0, 0, 4) * 10_000)

    flooding = gevent.spawn(flood)
    eventually(lambda: wire.closed, seconds=40)
    flooding.kill()
    assert "the peer does not read" in str(wire.close_reason)


def test_blocks_never_asked_for_are_dropped_and_bounded(raw):
    wire, peer = raw()
    block = m.pack_piece_header(0, 0, 4) + b"evil"
    peer.send(block * limits.UNWANTED_ANSWERS + m.pack_port(1))
    wire.wait_for("port", timeout=5)
    assert wire.downloaded == 0
    peer.send(block)
    eventually(lambda: isinstance(wire.close_reason, RemoteProtocolError))


def test_a_block_of_the_wrong_size_does_not_answer_the_request(raw):
    wire, peer = raw()
    peer.send(m.pack_bare(c.UNCHOKE))
    wire.wait_unchoked(timeout=5)
    request = gevent.spawn(wire.request, 0, 0, 4)
    gevent.sleep(0)
    peer.send(m.pack_piece_header(0, 0, 3) + b"bad" + m.pack_piece_header(0, 0, 5) + b"worse")
    peer.send(m.pack_piece_header(0, 0, 4) + b"good")
    assert request.get(timeout=5) == b"good"


@pytest.mark.parametrize("what", [b"\0\0\x40\x09\x07\0\0\0\0\0\0\0\0" + bytes(100), b"\0\0", b""])
def test_a_reset_in_the_middle_of_a_message_ends_that_wire_alone(server, what):
    peer = raw_peer(server)
    peer.send(what)
    gevent.sleep(0)
    peer.reset()
    eventually(lambda: server.reasons)
    assert_still_serves(server)


def test_a_number_of_pieces_that_the_peer_contradicts_closes(raw):
    wire, peer = raw(geometry=None)
    peer.send(m.pack_index(c.HAVE, 1000))
    wire.wait_for_piece(1000, timeout=5)
    with pytest.raises(RemoteProtocolError):
        wire.number_of_pieces = 10
    assert wire.closed


def test_a_far_have_before_the_number_of_pieces_allocates_nothing(raw):
    wire, peer = raw(geometry=None)
    tracemalloc.start()
    try:
        peer.send(m.pack_index(c.HAVE, limits.PIECES - 1))
        wire.wait_for_piece(limits.PIECES - 1, timeout=5)
        assert tracemalloc.get_traced_memory()[1] < limits.PIECES // 8
    finally:
        tracemalloc.stop()


def test_the_callers_own_mistakes_leave_the_wire_as_it_was(raw):
    wire, peer = raw()
    mistakes = [
        lambda: wire.have(10),
        lambda: wire.bitfield(bitarray(9)),
        lambda: wire.port(70_000),
        lambda: wire.suggest(-1),
        lambda: wire.handshake("not hex", OUR_ID),
        lambda: wire.extended("ut_pex", b""),
    ]
    for mistake in mistakes:
        with pytest.raises((LocalProtocolError, ValueError)):
            mistake()
    wire.port(1)
    assert peer.message() == m.pack_port(1)[4:]
