"""Downloading and serving blocks over real sockets: answers, refusals, races, kills, back-pressure."""

from __future__ import annotations

import os
from typing import Any

import gevent
import pytest
from bitarray import bitarray

import geventbt
from geventbt import (
    LocalProtocolError,
    PeerChoking,
    PieceNotAvailable,
    RequestCancelled,
    RequestRejected,
    RequestTimeout,
    Wire,
    WireClosed,
    limits,
)
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from tests.loopback.harness import BLOCK, GEOMETRY, eventually

DATA = os.urandom(GEOMETRY.length)


def read_block(piece: int, offset: int, length: int) -> bytes:
    start = piece * GEOMETRY.piece_length + offset
    return DATA[start : start + length]


def piece_message(piece: int, offset: int, block: bytes) -> bytes:
    return m.pack_piece_header(piece, offset, len(block)) + block


@pytest.fixture
def served(wires: Any) -> Any:
    """A wire whose peer serves everything, and the peer."""
    a, b = wires(geometry=GEOMETRY)
    b.have_all()
    b.unchoke()
    server = gevent.spawn(b.serve, read_block)
    a.wait_unchoked(timeout=5)
    yield a, b
    server.kill()


@pytest.fixture
def unchoked(raw: Any) -> Any:
    """A wire whose peer is bytes, and has unchoked it."""
    wire, peer = raw()
    peer.send(m.pack_bare(c.UNCHOKE))
    wire.wait_unchoked(timeout=5)
    return wire, peer


# ---------------------------------------------------------------------- answers


def test_a_request_returns_its_block(served):
    a, b = served
    assert a.request(3, BLOCK, BLOCK) == read_block(3, BLOCK, BLOCK)
    assert a.downloaded == b.uploaded == BLOCK
    assert a.download_speed() > 0
    assert b.upload_speed() > 0


def test_any_number_of_greenlets_may_request_at_once(served):
    a, _ = served
    keys = [(piece, offset, length) for piece in range(10) for offset, length in GEOMETRY.blocks(piece, 1000)]
    assert len(keys) > limits.REQUESTS
    greenlets = [gevent.spawn(a.request, *key) for key in keys]
    assert [greenlet.get(timeout=20) for greenlet in greenlets] == [read_block(*key) for key in keys]


def test_a_read_returns_any_range(served):
    a, _ = served
    for piece, offset, length in [(0, 0, 65536), (9, 0, GEOMETRY.piece_size(9)), (2, 5, 1), (2, 100, 50_000)]:
        assert a.read(piece, offset, length) == read_block(piece, offset, length)
    assert a.read(0, 0, 0) == b""


def test_a_read_goes_into_the_callers_buffer(served):
    a, _ = served
    buffer = bytearray(200_000)
    a.read_into(4, 10, memoryview(buffer)[1000:51_000])
    assert buffer == bytes(1000) + read_block(4, 10, 50_000) + bytes(149_000)


@pytest.mark.parametrize("buffer", [bytes(4), memoryview(bytes(4)), memoryview(bytearray(8))[::2], "text", None])
def test_a_buffer_that_cannot_be_read_into_is_refused_at_once_and_changes_nothing(served, buffer):
    a, _ = served
    with pytest.raises(TypeError), gevent.Timeout(5):
        a.read_into(0, 0, buffer)
    assert a.requests == []
    assert a.request(0, 0, 4) == read_block(0, 0, 4)


def test_reads_that_overlap_share_their_requests(served):
    a, _ = served
    reads = [gevent.spawn(a.read, 1, 0, 65536) for _ in range(4)]
    reads.append(gevent.spawn(a.request, 1, BLOCK, BLOCK))
    values = [read.get(timeout=10) for read in reads]
    assert values == [read_block(1, 0, 65536)] * 4 + [read_block(1, BLOCK, BLOCK)]
    assert a.downloaded == 65536


def test_the_pipeline_stays_within_the_peers_reqq(wires):
    a, b = wires(handshake=False)
    b.extended_handshake["reqq"] = 3
    other = gevent.spawn(b.handshake, b"h" * 20, b"b" * 20)
    a.handshake(b"h" * 20, b"a" * 20)
    other.get(timeout=5)
    b.unchoke()
    a.wait_unchoked(timeout=5)
    eventually(lambda: a.request_limit == 3)
    read = gevent.spawn(a.read, 0, 0, 20 * BLOCK)
    most = 0
    for request in b.incoming_requests():
        most = max(most, len(b.peer_requests))
        b.piece(request.piece, request.offset, bytes(request.length))
        if request.offset == 19 * BLOCK:
            break
    assert read.get(timeout=10) == bytes(20 * BLOCK)
    assert most == 3


def test_blocks_in_any_order_and_any_segments_are_put_in_place(unchoked):
    wire, peer = unchoked
    read = gevent.spawn(wire.read, 2, 0, 3 * BLOCK)
    for offset in (0, BLOCK, 2 * BLOCK):
        assert peer.message() == m.pack_range(c.REQUEST, 2, offset, BLOCK)[4:]
    stream = b"".join(piece_message(2, at, read_block(2, at, BLOCK)) for at in (2 * BLOCK, 0, BLOCK))
    for start in range(0, len(stream), 5003):
        peer.send(stream[start : start + 5003])
        gevent.sleep(0)
    assert read.get(timeout=5) == read_block(2, 0, 3 * BLOCK)


# ---------------------------------------------------------------------- refusals


def test_a_request_to_a_choking_peer_fails_at_once(wires):
    a, _ = wires()
    for ask in (lambda: a.request(0, 0, 1), lambda: a.read(0, 0, 1)):
        with pytest.raises(PeerChoking):
            ask()


def test_a_request_may_wait_to_be_unchoked(wires):
    a, b = wires()
    request = gevent.spawn(a.request, 0, 0, 4, wait_unchoked=True)
    gevent.sleep(0)
    assert not request.ready()
    b.unchoke()
    server = gevent.spawn(b.serve, lambda piece, offset, length: b"good")
    assert request.get(timeout=5) == b"good"
    server.kill()


def test_choke_fails_pending_requests(unchoked):
    wire, peer = unchoked
    waits = [gevent.spawn(wire.request, 0, 0, BLOCK), gevent.spawn(wire.read, 1, 0, 65536)]
    eventually(lambda: len(wire.requests) == 5)
    peer.send(m.pack_bare(c.CHOKE))
    peer.send(b"".join(m.pack_range(c.REJECT, *request) for request in wire.requests))
    for wait in waits:
        with pytest.raises(PeerChoking):
            wait.get(timeout=5)
    assert wire.requests == []
    assert not wire.closed


def test_choke_leaves_requests_for_allowed_fast_pieces(unchoked):
    wire, peer = unchoked
    peer.send(m.pack_index(c.ALLOWED_FAST, 1))
    wire.wait_for("allowed_fast", timeout=5)
    allowed, other = gevent.spawn(wire.request, 1, 0, 4), gevent.spawn(wire.request, 2, 0, 4)
    eventually(lambda: len(wire.requests) == 2)
    peer.send(m.pack_bare(c.CHOKE) + m.pack_range(c.REJECT, 2, 0, 4))
    with pytest.raises(PeerChoking):
        other.get(timeout=5)
    peer.send(piece_message(1, 0, b"good"))
    assert allowed.get(timeout=5) == b"good"


def test_a_reject_ends_its_request_alone(unchoked):
    wire, peer = unchoked
    first, second = gevent.spawn(wire.request, 0, 0, 4), gevent.spawn(wire.request, 0, 4, 4)
    eventually(lambda: len(wire.requests) == 2)
    peer.send(m.pack_range(c.REJECT, 0, 0, 4) + piece_message(0, 4, b"good"))
    with pytest.raises(RequestRejected):
        first.get(timeout=5)
    assert second.get(timeout=5) == b"good"


def test_a_cancel_ends_its_request_and_is_sent(unchoked):
    wire, peer = unchoked
    request = gevent.spawn(wire.request, 0, 0, 4)
    assert peer.message() == m.pack_range(c.REQUEST, 0, 0, 4)[4:]
    wire.cancel(0, 0, 4)
    with pytest.raises(RequestCancelled):
        request.get(timeout=5)
    assert peer.message() == m.pack_range(c.CANCEL, 0, 0, 4)[4:]
    peer.send(piece_message(0, 0, b"late"))
    wire.cancel(0, 0, 4)
    assert not wire.closed


def test_a_request_times_out_and_the_wire_goes_on(unchoked):
    wire, peer = unchoked
    late = []
    wire.on("timeout", lambda wire, index, begin, length: late.append((index, begin, length)))
    with pytest.raises(RequestTimeout) as caught:
        wire.request(0, 0, 4, timeout=0.01)
    assert isinstance(caught.value, TimeoutError)
    eventually(lambda: late == [(0, 0, 4)])
    request = gevent.spawn(wire.request, 0, 4, 4)
    gevent.sleep(0)
    peer.send(piece_message(0, 0, b"late") + piece_message(0, 4, b"good"))
    assert request.get(timeout=5) == b"good"


def test_the_default_timeout_can_be_set(unchoked):
    wire, _ = unchoked
    wire.set_timeout(0.01)
    for ask in (lambda: wire.request(0, 0, 4), lambda: wire.read(0, 0, 65536)):
        with pytest.raises(RequestTimeout):
            ask()
    assert wire.requests == []
    with pytest.raises(ValueError):
        wire.set_timeout(0)


def test_a_piece_that_the_peer_does_not_have_is_not_asked_for(wires):
    a, b = wires()
    b.bitfield(bitarray("10"))
    b.unchoke()
    a.wait_unchoked(timeout=5)
    with pytest.raises(PieceNotAvailable):
        a.request(1, 0, 1)


@pytest.mark.parametrize(
    "key", [(10, 0, 1), (-1, 0, 1), (0, 65536, 1), (9, 65000, BLOCK), (0, 0, 0), (0, 0, BLOCK + 1)]
)
def test_a_block_that_does_not_exist_is_the_callers_error(served, key):
    a, _ = served
    with pytest.raises(LocalProtocolError):
        a.request(*key)
    assert a.request(0, 0, 4) == read_block(0, 0, 4)


def test_the_end_of_the_wire_fails_pending_requests_with_the_reason(unchoked):
    wire, peer = unchoked
    waits = [gevent.spawn(wire.request, 0, 0, BLOCK), gevent.spawn(wire.read, 1, 0, 65536)]
    eventually(lambda: len(wire.requests) == 5)
    peer.reset()
    for wait in waits:
        with pytest.raises(WireClosed) as caught:
            wait.get(timeout=5)
        assert isinstance(caught.value.__cause__, ConnectionResetError)


# ---------------------------------------------------------------------- kills


def test_killing_a_greenlet_that_waits_for_a_block_leaves_the_wire_usable(unchoked):
    wire, peer = unchoked
    waits = [gevent.spawn(wire.request, 0, 0, 4), gevent.spawn(wire.read, 1, 0, 65536)]
    eventually(lambda: len(wire.requests) == 5)
    gevent.killall(waits)
    assert wire.requests == []
    peer.send(piece_message(0, 0, b"late"))
    request = gevent.spawn(wire.request, 0, 4, 4)
    gevent.sleep(0)
    peer.send(piece_message(0, 4, b"good"))
    assert request.get(timeout=5) == b"good"


def test_a_killed_greenlet_leaves_a_shared_request_to_the_others(unchoked):
    wire, peer = unchoked
    first, second = (gevent.spawn(wire.request, 0, 0, 4) for _ in range(2))
    assert peer.message() == m.pack_range(c.REQUEST, 0, 0, 4)[4:]
    first.kill()
    peer.send(piece_message(0, 0, b"good"))
    assert second.get(timeout=5) == b"good"


def test_a_late_block_does_not_touch_the_buffer_of_a_killed_read(unchoked):
    wire, peer = unchoked
    buffer = bytearray(65536)
    read = gevent.spawn(wire.read_into, 0, 0, buffer)
    eventually(lambda: len(wire.requests) == 4)
    read.kill()
    peer.send(piece_message(0, 0, b"x" * BLOCK) + m.pack_bare(c.CHOKE))
    wire.wait_for("choke", timeout=5)
    assert buffer == bytes(65536)


# ---------------------------------------------------------------------- serving


def test_requests_come_in_order_and_unpack(raw):
    wire, peer = raw()
    wire.unchoke()
    peer.send(b"".join(m.pack_range(c.REQUEST, 0, offset, 10) for offset in (5, 3, 4)))
    requests = wire.incoming_requests()
    piece, offset, length = next(requests)
    assert (piece, offset, length) == (0, 5, 10)
    assert next(requests).offset == 3
    assert wire.peer_requests == [(0, 5, 10), (0, 3, 10), (0, 4, 10)]
    assert wire.piece(0, 5, b"0123456789") is True
    assert wire.piece(0, 5, b"0123456789") is False


def test_a_cancelled_request_is_not_served(raw):
    wire, peer = raw()
    wire.unchoke()
    peer.send(m.pack_range(c.REQUEST, 0, 0, 4) + m.pack_range(c.REQUEST, 0, 4, 4) + m.pack_range(c.CANCEL, 0, 0, 4))
    wire.wait_for("cancel", timeout=5)
    assert next(wire.incoming_requests()) == (0, 4, 4)
    assert wire.piece(0, 0, b"1234") is False
    assert peer.message() == m.pack_bare(c.UNCHOKE)[4:]
    assert peer.message() == m.pack_range(c.REJECT, 0, 0, 4)[4:]


def test_choking_drops_what_the_peer_had_asked_for(raw):
    wire, peer = raw()
    wire.unchoke()
    peer.send(m.pack_range(c.REQUEST, 0, 0, 4))
    wire.wait_for("request", timeout=5)
    wire.choke()
    assert wire.peer_requests == []
    assert [peer.message() for _ in range(3)][1:] == [
        m.pack_bare(c.CHOKE)[4:],
        m.pack_range(c.REJECT, 0, 0, 4)[4:],
    ]


def test_a_block_that_cannot_be_read_is_rejected_and_the_wire_goes_on(wires):
    a, b = wires()
    b.unchoke()
    a.wait_unchoked(timeout=5)
    errors = []
    b.on("error", lambda wire, error: errors.append(error))

    def read(piece, offset, length):
        if piece == 1:
            raise OSError("the disk is on fire")
        return bytes(length - 1) if piece == 2 else b"good"

    server = gevent.spawn(b.serve, read)
    for piece in (1, 2):
        with pytest.raises(RequestRejected):
            a.request(piece, 0, 4, timeout=5)
    assert a.request(0, 0, 4, timeout=5) == b"good"
    eventually(lambda: [type(error) for error in errors] == [OSError, ValueError])
    server.kill()


def test_serving_ends_when_the_peer_leaves(wires):
    a, b = wires()
    server = gevent.spawn(b.serve, read_block)
    gevent.sleep(0)
    a.close()
    server.get(timeout=5)


def test_a_writable_buffer_may_be_used_again_at_once(wires):
    a, b = wires()
    b.unchoke()
    a.wait_unchoked(timeout=5)
    requests = [gevent.spawn(a.request, 0, offset, 4) for offset in (0, 4)]
    buffer = bytearray(4)
    for content, request in zip((b"1111", b"2222"), b.incoming_requests(), strict=False):
        buffer[:] = content
        b.piece(request.piece, request.offset, buffer)
        if content == b"2222":
            break
    buffer[:] = b"3333"
    assert [request.get(timeout=5) for request in requests] == [b"1111", b"2222"]


def test_a_peer_that_does_not_read_makes_piece_wait(raw):
    wire, peer = raw(geometry=None)
    wire.unchoke()
    asked = 1900
    for number in range(asked):
        peer.send(m.pack_range(c.REQUEST, number, 0, BLOCK))
    block = bytes(BLOCK)
    sent = []

    def serve() -> None:
        for request in wire.incoming_requests():
            wire.piece(request.piece, request.offset, block)
            sent.append(request.piece)

    server = gevent.spawn(serve)
    eventually(lambda: wire.queued > limits.HIGH_WATER)
    gevent.sleep(0.05)
    assert len(sent) < asked
    assert wire.queued < limits.HIGH_WATER + 256 * BLOCK
    peer.receive(5 + asked * (BLOCK + 13))
    eventually(lambda: len(sent) == asked)
    server.kill()


def test_killing_a_greenlet_that_waits_in_piece_leaves_the_stream_whole(raw):
    wire, peer = raw(geometry=None)
    wire.unchoke()
    for number in range(1000):
        peer.send(m.pack_range(c.REQUEST, number, 0, BLOCK))
    eventually(lambda: len(wire.peer_requests) == 1000)
    server = gevent.spawn(wire.serve, lambda piece, offset, length: bytes(length))
    eventually(lambda: wire.queued > limits.HIGH_WATER)
    server.kill()
    wire.port(4242)
    assert peer.message() == m.pack_bare(c.UNCHOKE)[4:]
    message = peer.message()
    while message[0] == c.PIECE:
        assert len(message) == 9 + BLOCK
        message = peer.message()
    assert message == m.pack_port(4242)[4:]


def test_a_request_can_be_answered_by_a_handler_once_only(wires):
    a, b = wires()
    b.unchoke()
    a.wait_unchoked(timeout=5)
    errors: list[Exception] = []

    def answer(wire: Wire, index: int, begin: int, length: int, respond: Any) -> None:
        respond(b"good" if index == 0 else ValueError("not that one"))
        try:
            respond(b"again")
        except geventbt.LocalProtocolError as error:
            errors.append(error)

    b.on("request", answer)
    assert a.request(0, 0, 4, timeout=5) == b"good"
    with pytest.raises(RequestRejected):
        a.request(1, 0, 4, timeout=5)
    eventually(lambda: len(errors) == 2)


def test_downloads_and_uploads_are_events(served):
    a, b = served
    counts: dict[str, int] = {"download": 0, "upload": 0, "piece": 0}

    def count_as(name: str) -> Any:
        def add(wire: Wire, **fields: Any) -> None:
            counts[name] += fields["count"] if "count" in fields else len(fields["block"])

        return add

    a.on("download", count_as("download"))
    a.on("piece", count_as("piece"))
    b.on("upload", count_as("upload"))
    a.read(0, 0, 65536)
    eventually(lambda: set(counts.values()) == {65536})


def test_a_reader_that_never_runs_dry_lets_others_have_their_turn(served):
    a, _ = served
    turns = []

    def tick() -> None:
        while True:
            gevent.sleep(0)
            turns.append(a.downloaded)

    ticker = gevent.spawn(tick)
    for piece in range(9):
        a.read(piece, 0, 65536)
    ticker.kill()
    assert len(set(turns)) > 5
