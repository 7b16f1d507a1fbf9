"""Serving at the edges: long blocks, many senders, a wire that ends while a block waits.

The ordinary cases are in `test_wire_requests.py`.
"""

from __future__ import annotations

from typing import Any

import gevent
import pytest

from geventbt import Extensions, Geometry, WireClosed, limits
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from geventbt.protocol.parser import Parser
from tests.loopback.harness import BLOCK, eventually

LARGE_PIECES = Geometry(1 << 26, 1 << 20)


def ask_for_much(wire: Any, peer: Any, count: int, length: int = BLOCK) -> None:
    """Have a peer ask for `count` blocks, and wait until all of the requests are there."""
    wire.unchoke()
    blocks = [(number * length >> 20, number * length % (1 << 20), length) for number in range(count)]
    peer.send(b"".join(m.pack_range(c.REQUEST, *block) for block in blocks))
    eventually(lambda: len(wire.peer_requests) == count)


def test_a_peer_that_takes_the_longest_blocks_gets_them_all(raw):
    """It reads all the time, so that it is never one that does not read."""
    wire, peer = raw(geometry=LARGE_PIECES)
    count = 200
    ask_for_much(wire, peer, count, limits.PEER_BLOCK)
    server = gevent.spawn(wire.serve, lambda piece, offset, length: bytes(length))
    wanted = 5 + count * (13 + limits.PEER_BLOCK)
    got = 0
    while got < wanted:
        data = peer.sock.recv(1 << 20)
        assert data, f"closed after {got} bytes of {wanted}: {wire.close_reason}"
        got += len(data)
    server.kill()


@pytest.mark.parametrize("length", [BLOCK, limits.PEER_BLOCK])
def test_what_is_queued_to_a_peer_that_does_not_read_stays_bounded(raw, length):
    wire, peer = raw(geometry=LARGE_PIECES)
    ask_for_much(wire, peer, 500, length)
    server = gevent.spawn(wire.serve, lambda piece, offset, length: bytes(length))
    before = -1
    while wire.uploaded != before:
        before = wire.uploaded
        gevent.sleep(0.05)
    assert not wire.closed
    assert wire.queued <= 2 * limits.HIGH_WATER + limits.PEER_BLOCK
    server.kill()


def test_what_many_greenlets_answer_at_once_stays_bounded_too(raw):
    """The peer is honest, only slower than they are: it gets all that it has asked for."""
    wire, peer = raw(geometry=LARGE_PIECES)
    count = 1000
    ask_for_much(wire, peer, count)
    answers = [gevent.spawn(wire.piece, *key[:2], bytes(key[2])) for key in wire.peer_requests]
    eventually(lambda: wire.queued > limits.HIGH_WATER)
    left, most = 5 + count * (13 + BLOCK), 0
    while left:
        data = peer.sock.recv(min(left, BLOCK))
        assert data, wire.close_reason
        left -= len(data)
        gevent.sleep(0)
        most = max(most, wire.queued)
    assert most <= 2 * limits.HIGH_WATER + limits.PEER_BLOCK
    assert all(answer.get(timeout=5) for answer in answers)


def test_a_block_that_waits_for_its_turn_raises_when_the_wire_closes(raw):
    wire, peer = raw(geometry=LARGE_PIECES)
    ask_for_much(wire, peer, 1000)
    results = []

    def send() -> None:
        for piece, offset, length in list(wire.peer_requests):
            results.append(wire.piece(piece, offset, bytes(length)))

    sender = gevent.spawn(send)
    eventually(lambda: wire.queued > limits.HIGH_WATER)
    wire.close(0)
    eventually(sender.ready)
    assert isinstance(sender.exception, WireClosed)
    assert all(results)


def test_a_foreign_timeout_in_piece_passes_through_and_leaves_the_stream_whole(raw):
    wire, peer = raw(geometry=LARGE_PIECES)
    ask_for_much(wire, peer, 1000)
    mine = gevent.Timeout(0.3)
    with pytest.raises(gevent.Timeout) as caught, mine:
        wire.serve(lambda piece, offset, length: bytes(length))
    assert caught.value is mine
    wire.port(4242)
    assert peer.message() == m.pack_bare(c.UNCHOKE)[4:]
    message = peer.message()
    while message[0] == c.PIECE:
        assert len(message) == 9 + BLOCK
        message = peer.message()
    assert message == m.pack_port(4242)[4:]


def test_sends_from_many_greenlets_never_mix(raw):
    """Blocks, haves and extended handshakes at once, to a peer that reads now and then."""
    wire, peer = raw(geometry=LARGE_PIECES)
    count = 600
    ask_for_much(wire, peer, count)
    servers = [
        gevent.spawn(wire.serve, lambda piece, offset, length: bytes([piece]) * length),
        gevent.spawn(wire.serve, lambda piece, offset, length: bytearray([piece]) * length),
        gevent.spawn(wire.serve, lambda piece, offset, length: memoryview(bytes([piece]) * length)),
    ]

    def chatter(piece: int) -> None:
        for _ in range(50):
            wire.have(piece)
            gevent.sleep(0)

    talkers = [gevent.spawn(chatter, piece) for piece in range(10)]
    parser = Parser()
    parser._handshaking = False
    seen = {c.PIECE: 0, c.HAVE: 0, c.UNCHOKE: 0}
    while seen != {c.PIECE: count, c.HAVE: 500, c.UNCHOKE: 1}:
        for message in parser.feed(peer.sock.recv(50_001)):
            seen[message[0]] += 1
            if message[0] == c.PIECE:
                assert message[3] == bytes([message[1]]) * BLOCK
        gevent.sleep(0)
    gevent.killall(servers + talkers)


def queue_a_little(wire: Any, peer: Any) -> None:
    """Leave blocks in the queue, but fewer than any sender would wait for."""
    ask_for_much(wire, peer, 100, limits.PEER_BLOCK)
    for key in wire.peer_requests:
        wire.piece(*key[:2], bytes(key[2]))
        gevent.sleep(0.01)
        if wire.queued:
            break
    assert 0 < wire.queued <= limits.HIGH_WATER // 2


def test_closing_ends_when_the_last_of_a_short_queue_is_sent(raw):
    wire, peer = raw(geometry=LARGE_PIECES)
    queue_a_little(wire, peer)
    closing = gevent.spawn(wire.close, 60)
    gevent.sleep(0)
    assert peer.is_closed()
    peer.sock.close()
    eventually(closing.ready)


def test_of_two_who_close_while_blocks_are_queued_neither_waits_longer_than_the_other(raw):
    wire, peer = raw(geometry=LARGE_PIECES)
    queue_a_little(wire, peer)
    closing = [gevent.spawn(wire.close, 60) for _ in range(2)]
    gevent.sleep(0)
    assert peer.is_closed()
    peer.sock.close()
    eventually(lambda: all(closer.ready() for closer in closing))


def test_allowed_fast_pieces_are_served_while_the_peer_is_choked(raw):
    wire, peer = raw()
    wire.allowed_fast(3)
    server = gevent.spawn(wire.serve, lambda piece, offset, length: b"good")
    assert peer.message() == m.pack_index(c.ALLOWED_FAST, 3)[4:]
    peer.send(m.pack_range(c.REQUEST, 2, 0, 4) + m.pack_range(c.REQUEST, 3, 0, 4))
    assert peer.message() == m.pack_range(c.REJECT, 2, 0, 4)[4:]
    assert peer.message() == (m.pack_piece_header(3, 0, 4) + b"good")[4:]
    server.kill()


def test_a_block_that_is_cancelled_while_it_is_read_is_rejected_and_not_sent(raw):
    wire, peer = raw()
    wire.unchoke()
    reading, go_on = gevent.event.Event(), gevent.event.Event()

    def read(piece: int, offset: int, length: int) -> bytes:
        if offset == 0:
            reading.set()
            go_on.wait()
        return b"good"

    server = gevent.spawn(wire.serve, read)
    peer.send(m.pack_range(c.REQUEST, 0, 0, 4) + m.pack_range(c.REQUEST, 0, 4, 4))
    assert reading.wait(timeout=5)
    peer.send(m.pack_range(c.CANCEL, 0, 0, 4))
    eventually(lambda: wire.peer_requests == [(0, 4, 4)])
    go_on.set()
    assert [peer.message() for _ in range(3)] == [
        m.pack_bare(c.UNCHOKE)[4:],
        m.pack_range(c.REJECT, 0, 0, 4)[4:],
        (m.pack_piece_header(0, 4, 4) + b"good")[4:],
    ]
    server.kill()


def test_a_greenlet_that_takes_requests_may_refuse_them_without_the_fast_extension_too(raw):
    wire, peer = raw(extensions=Extensions())
    wire.unchoke()
    peer.send(m.pack_range(c.REQUEST, 0, 0, 4) + m.pack_range(c.REQUEST, 1, 0, 4))
    requests = wire.incoming_requests()
    wire.reject(*next(requests))
    wire.piece(*next(requests)[:2], b"good")
    assert wire.peer_requests == []
    assert peer.message() == m.pack_bare(c.UNCHOKE)[4:]
    assert peer.message() == (m.pack_piece_header(1, 0, 4) + b"good")[4:]


@pytest.mark.parametrize("wrong", [None, 7, b"", b"too long", "text", [1, 2, 3, 4]])
def test_whatever_a_reader_returns_the_wire_goes_on(raw, wrong):
    wire, peer = raw()
    wire.unchoke()
    server = gevent.spawn(wire.serve, lambda piece, offset, length: b"good" if piece else wrong)
    peer.send(m.pack_range(c.REQUEST, 0, 0, 4) + m.pack_range(c.REQUEST, 1, 0, 4))
    assert peer.message() == m.pack_bare(c.UNCHOKE)[4:]
    assert peer.message() == m.pack_range(c.REJECT, 0, 0, 4)[4:]
    assert peer.message() == (m.pack_piece_header(1, 0, 4) + b"good")[4:]
    server.kill()


def test_a_request_is_answered_by_the_first_that_takes_it(raw):
    """Two greenlets serve one wire: each request is given to one of them."""
    wire, peer = raw()
    wire.unchoke()
    taken: list[Any] = []

    def take() -> None:
        for request in wire.incoming_requests():
            taken.append(request)
            gevent.sleep(0)

    takers = [gevent.spawn(take) for _ in range(2)]
    gevent.sleep(0)
    peer.send(b"".join(m.pack_range(c.REQUEST, 0, offset, 1) for offset in range(100)))
    eventually(lambda: len(taken) >= 100)
    assert sorted(taken) == [(0, offset, 1) for offset in range(100)]
    gevent.killall(takers)
