"""Requests at the edges: a full queue, a wire that ends in the same breath, answers that two greenlets wait for.

The ordinary cases are in `test_wire_requests.py`.
"""

from __future__ import annotations

from typing import Any

import gevent
import pytest

from geventbt import (
    Extensions,
    LocalProtocolError,
    PeerChoking,
    PieceNotAvailable,
    RequestTimeout,
    Wire,
    WireClosed,
)
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from tests.loopback.harness import RawPeer, eventually

QUEUE = 4


def piece_message(piece: int, offset: int, block: bytes) -> bytes:
    return m.pack_piece_header(piece, offset, len(block)) + block


def ended(greenlet: Any, seconds: float = 5) -> Any:
    """The exception that a call on another greenlet ended with; fails if it goes on waiting."""
    eventually(greenlet.ready, seconds)
    return greenlet.exception


@pytest.fixture
def full(raw: Any) -> Any:
    """Makes a wire whose peer takes four requests at a time, that peer, and four greenlets that wait for answers."""
    greenlets: list[Any] = []

    def make(timeout: float | None = None, **options: Any) -> tuple[Wire, RawPeer, list[Any]]:
        wire, peer = raw(extensions=Extensions(fast=True, extended=True), **options)
        peer.send(m.pack_extended(0, b"d4:reqqi%dee" % QUEUE) + m.pack_bare(c.UNCHOKE))
        wire.wait_unchoked(timeout=5)
        assert wire.request_limit == QUEUE
        greenlets.extend(gevent.spawn(wire.request, 0, offset, 1, timeout=timeout) for offset in range(QUEUE))
        eventually(lambda: len(wire.requests) == QUEUE)
        return wire, peer, greenlets

    yield make
    gevent.killall(greenlets)


@pytest.mark.parametrize("ask", ["request", "read"])
def test_a_timeout_counts_also_while_the_peers_queue_is_full(full, ask):
    wire, _, _ = full()
    late = gevent.spawn(getattr(wire, ask), 0, 100, 1, timeout=0.05)
    assert isinstance(ended(late), RequestTimeout)
    assert len(wire.requests) == QUEUE


@pytest.mark.parametrize("ask", ["request", "read"])
@pytest.mark.parametrize(
    ("told", "key", "error"),
    [
        (m.pack_bitfield(b"\xf0\x00"), (5, 0), PieceNotAvailable),
        (m.pack_index(c.ALLOWED_FAST, 0) + m.pack_bare(c.CHOKE), (1, 0), PeerChoking),
        (m.pack_index(c.HAVE, 1), (1, -5), LocalProtocolError),
    ],
    ids=["a piece that it lacks", "while it chokes", "out of range"],
)
def test_what_cannot_be_asked_for_fails_at_once_also_while_the_peers_queue_is_full(full, ask, told, key, error):
    wire, peer, _ = full(geometry=None)
    peer.send(told + m.pack_port(1))
    wire.wait_for("port", timeout=5)
    with pytest.raises(error), gevent.Timeout(5):
        getattr(wire, ask)(*key, 1)
    assert len(wire.requests) == QUEUE


@pytest.mark.parametrize("how", ["killed", "cancelled", "timed out"])
def test_requests_that_are_given_up_make_room_for_those_that_wait(full, how):
    """The peer says nothing at all: the room is ours to notice."""
    wire, peer, pending = full(timeout=0.3 if how == "timed out" else None)
    waiting = gevent.spawn(wire.read, 0, 100, 4, timeout=30)
    gevent.sleep(0)
    if how == "killed":
        gevent.killall(pending)
    elif how == "cancelled":
        for request in wire.requests:
            wire.cancel(*request)
    eventually(lambda: wire.requests == [(0, 100, 4)], 5)
    peer.send(piece_message(0, 100, b"good"))
    assert waiting.get(timeout=5) == b"good"


def test_requests_that_wait_for_room_are_sent_in_order_as_answers_come(full):
    wire, peer, pending = full()
    more = [gevent.spawn(wire.request, 0, offset, 1) for offset in range(QUEUE, 3 * QUEUE)]
    gevent.sleep(0)
    assert len(wire.requests) == QUEUE
    for offset in range(3 * QUEUE):
        eventually(lambda offset=offset: (0, offset, 1) in wire.requests)
        peer.send(piece_message(0, offset, b"%c" % (65 + offset)))
    assert b"".join(greenlet.get(timeout=5) for greenlet in pending + more) == b"ABCDEFGHIJKL"


def test_waiting_to_be_unchoked_ends_when_the_peer_unchokes_and_breaks_a_rule_in_one_breath(raw):
    wire, peer = raw()
    request = gevent.spawn(wire.request, 0, 0, 4, wait_unchoked=True)
    gevent.sleep(0)
    peer.send(m.pack_bare(c.UNCHOKE) + b"\0\0\0\2\0x")
    assert isinstance(ended(request), WireClosed)
    assert request.exception.__cause__ is wire.close_reason
    assert wire.requests == []


def test_waiting_to_be_unchoked_ends_when_the_peer_leaves(raw):
    wire, peer = raw()
    request = gevent.spawn(wire.request, 0, 0, 4, wait_unchoked=True)
    gevent.sleep(0)
    peer.send(m.pack_bare(c.UNCHOKE))
    peer.reset()
    assert isinstance(ended(request), WireClosed)


def test_killing_a_greenlet_that_waits_to_be_unchoked_sends_no_request(raw):
    wire, peer = raw()
    request = gevent.spawn(wire.request, 0, 0, 4, wait_unchoked=True)
    gevent.sleep(0)
    request.kill()
    peer.send(m.pack_bare(c.UNCHOKE))
    wire.wait_unchoked(timeout=5)
    wire.port(1)
    assert peer.message() == m.pack_port(1)[4:]


def test_a_foreign_timeout_in_a_request_passes_through_and_cancels_it(raw):
    wire, peer = raw()
    peer.send(m.pack_bare(c.UNCHOKE))
    wire.wait_unchoked(timeout=5)
    mine = gevent.Timeout(0.01)
    with pytest.raises(gevent.Timeout) as caught, mine:
        wire.request(0, 0, 4, timeout=30)
    assert caught.value is mine
    assert peer.message() == m.pack_range(c.REQUEST, 0, 0, 4)[4:]
    assert peer.message() == m.pack_range(c.CANCEL, 0, 0, 4)[4:]
    assert not wire.closed


def test_of_two_who_wait_for_one_block_the_impatient_one_leaves_alone(raw):
    wire, peer = raw()
    peer.send(m.pack_bare(c.UNCHOKE))
    wire.wait_unchoked(timeout=5)
    patient = gevent.spawn(wire.request, 0, 0, 4, timeout=30)
    impatient = gevent.spawn(wire.request, 0, 0, 4, timeout=0.01)
    assert isinstance(ended(impatient), RequestTimeout)
    assert wire.requests == [(0, 0, 4)]
    peer.send(piece_message(0, 0, b"good"))
    assert patient.get(timeout=5) == b"good"
    assert peer.message() == m.pack_range(c.REQUEST, 0, 0, 4)[4:]


def test_one_reject_ends_a_read_and_takes_its_other_requests_back(raw):
    wire, peer = raw()
    peer.send(m.pack_bare(c.UNCHOKE))
    wire.wait_unchoked(timeout=5)
    read = gevent.spawn(wire.read, 1, 0, 65536)
    eventually(lambda: len(wire.requests) == 4)
    peer.send(m.pack_range(c.REJECT, 1, 16384, 16384))
    assert type(ended(read)).__name__ == "RequestRejected"
    assert wire.requests == []
    for offset in (0, 16384, 32768, 49152):
        assert peer.message() == m.pack_range(c.REQUEST, 1, offset, 16384)[4:]
    assert {peer.message() for _ in range(3)} == {
        m.pack_range(c.CANCEL, 1, offset, 16384)[4:] for offset in (0, 32768, 49152)
    }


def test_asking_again_for_what_was_choked_away_gets_the_second_answer(raw):
    """Without the fast extension a choke takes requests back silently; blocks already on their way may still come."""
    wire, peer = raw(extensions=Extensions())
    peer.send(m.pack_bare(c.UNCHOKE))
    wire.wait_unchoked(timeout=5)
    first = gevent.spawn(wire.request, 0, 0, 4)
    eventually(lambda: wire.requests)
    peer.send(m.pack_bare(c.CHOKE) + m.pack_bare(c.UNCHOKE))
    assert isinstance(ended(first), PeerChoking)
    second = gevent.spawn(wire.request, 0, 0, 4)
    eventually(lambda: wire.requests)
    peer.send(piece_message(0, 0, b"good"))
    assert second.get(timeout=5) == b"good"


def assert_usable(wire: Wire, peer: RawPeer) -> None:
    """Nothing is pending, and the wire still works."""
    assert wire.requests == []
    request = gevent.spawn(wire.request, 2, 0, 4)
    eventually(lambda: wire.requests)
    peer.send(piece_message(2, 0, b"good"))
    assert request.get(timeout=5) == b"good"


def test_a_greenlet_killed_while_its_block_is_on_the_way_in_leaves_the_wire_usable(raw):
    """The answer and the kill meet in one turn of the loop."""
    wire, peer = raw()
    peer.send(m.pack_bare(c.UNCHOKE))
    wire.wait_unchoked(timeout=5)
    for _ in range(20):
        waits = [gevent.spawn(wire.request, 0, 0, 4), gevent.spawn(wire.read, 1, 0, 40_000)]
        eventually(lambda: len(wire.requests) == 4)
        peer.send(b"".join(piece_message(*key[:2], bytes(key[2])) for key in wire.requests))
        for wait in waits:
            wait.kill(block=False)
        gevent.joinall(waits, timeout=5)
        assert all(wait.ready() for wait in waits)
        # Until all of it has been read, or the next round would be answered by what was meant for this one.
        heard = gevent.spawn(wire.wait_for, "keep_alive", 5)
        gevent.sleep(0)
        peer.send(m.KEEP_ALIVE_BYTES)
        heard.get()
    assert_usable(wire, peer)
