"""`wire.messages()` at the edges: every message as an object, and an iteration that is given up or waits itself."""

from __future__ import annotations

from typing import Any

import gevent
import gevent.event
import pytest

from geventbt import Extensions, LocalProtocolError, limits
from geventbt.protocol import constants as c
from geventbt.protocol import message_objects as o
from geventbt.protocol import messages as m
from tests.loopback.harness import eventually

ROOT = bytes(range(32))
MESSAGES: list[tuple[bytes, Any]] = [
    (m.KEEP_ALIVE_BYTES, o.KeepAlive()),
    (m.pack_bare(c.UNCHOKE), o.Unchoke()),
    (m.pack_bare(c.CHOKE), o.Choke()),
    (m.pack_bare(c.INTERESTED), o.Interested()),
    (m.pack_bare(c.UNINTERESTED), o.NotInterested()),
    (m.pack_index(c.HAVE, 3), o.Have(index=3)),
    (m.pack_bitfield(b"\xf0\x00"), o.Bitfield(bitfield=b"\xf0\x00")),
    (m.pack_range(c.REQUEST, 1, 2, 3), o.Request(index=1, begin=2, length=3)),
    (m.pack_range(c.CANCEL, 1, 2, 3), o.Cancel(index=1, begin=2, length=3)),
    (m.pack_port(6881), o.Port(listen_port=6881)),
    (m.pack_index(c.SUGGEST, 3), o.SuggestPiece(index=3)),
    (m.pack_bare(c.HAVE_ALL), o.HaveAll()),
    (m.pack_bare(c.HAVE_NONE), o.HaveNone()),
    (m.pack_index(c.ALLOWED_FAST, 3), o.AllowedFast(index=3)),
    (m.pack_extended(7, b"abc"), o.Extended(extended_id=7, payload=b"abc")),
    (
        m.pack_hash_range(c.HASH_REQUEST, ROOT, 0, 2, 4, 1),
        o.HashRequest(pieces_root=ROOT, base_layer=0, index=2, length=4, proof_layers=1),
    ),
    (
        m.pack_hash_range(c.HASHES, ROOT, 0, 2, 4, 1, bytes(64)),
        o.Hashes(pieces_root=ROOT, base_layer=0, index=2, length=4, proof_layers=1, hashes=bytes(64)),
    ),
    (
        m.pack_hash_range(c.HASH_REJECT, ROOT, 0, 2, 4, 1),
        o.HashReject(pieces_root=ROOT, base_layer=0, index=2, length=4, proof_layers=1),
    ),
    (b"\0\0\0\4\x63abc", o.UnknownMessage(id=0x63, payload=b"abc")),
]


@pytest.fixture
def everything(raw: Any) -> Any:
    """A wire that has agreed on all there is and serves its peer, that peer, and the wire's messages."""
    wire, peer = raw(extensions=Extensions(dht=True, fast=True, extended=True, v2=True), dht=True, v2=True)
    wire.unchoke()
    return wire, peer, wire.messages()


def test_every_message_is_an_object_with_the_beps_field_names(everything):
    _, peer, messages = everything
    peer.send(b"".join(sent for sent, _ in MESSAGES))
    assert [next(messages) for _ in MESSAGES] == [expected for _, expected in MESSAGES]


def test_the_messages_are_the_same_when_they_drip(everything):
    _, peer, messages = everything
    dripping = gevent.spawn(peer.drip, b"".join(sent for sent, _ in MESSAGES))
    assert [next(messages) for _ in MESSAGES] == [expected for _, expected in MESSAGES]
    dripping.get(timeout=5)


def test_blocks_and_rejects_are_among_the_messages_and_reach_those_who_asked(everything):
    wire, peer, messages = everything
    peer.send(m.pack_bare(c.UNCHOKE))
    assert next(messages) == o.Unchoke()
    asked = [gevent.spawn(wire.request, 0, offset, 4) for offset in (0, 4)]
    eventually(lambda: len(wire.requests) == 2)
    peer.send(m.pack_piece_header(0, 0, 4) + b"good" + m.pack_range(c.REJECT, 0, 4, 4))
    assert next(messages) == o.Piece(index=0, begin=0, block=b"good")
    assert next(messages) == o.RejectRequest(index=0, begin=4, length=4)
    assert asked[0].get(timeout=5) == b"good"
    gevent.joinall(asked, timeout=5)


def test_blocks_alone_wake_a_greenlet_that_iterates(everything):
    wire, peer, messages = everything
    peer.send(m.pack_bare(c.UNCHOKE))
    assert next(messages) == o.Unchoke()
    asked = gevent.spawn(wire.request, 0, 0, 4)
    taker = gevent.spawn(next, messages)
    eventually(lambda: wire.requests)
    peer.send(m.pack_piece_header(0, 0, 4) + b"good")
    assert asked.get(timeout=5) == b"good"
    assert taker.get(timeout=5) == o.Piece(index=0, begin=0, block=b"good")


@pytest.mark.parametrize("how", ["left", "killed", "never begun"])
def test_an_iteration_that_is_given_up_holds_nothing_back(wires, how):
    """The messages are no longer taken, and need not be."""
    a, b = wires()

    def take() -> None:
        for message in a.messages():
            if how == "left":
                return
            assert message

    taker = gevent.spawn(a.messages if how == "never begun" else take)
    gevent.sleep(0)
    b.have(0)
    a.wait_for_piece(0, timeout=5)
    if how == "killed":
        taker.kill()
    taker.get(timeout=5)
    del taker
    for piece in range(1, 3 * limits.EVENT_QUEUE):
        b.have(piece)
    a.wait_for_piece(3 * limits.EVENT_QUEUE - 1, timeout=5)
    b.unchoke()
    a.wait_unchoked(timeout=5)


@pytest.mark.parametrize("when", ["before the peer has to wait", "while the peer waits"])
def test_a_greenlet_that_is_killed_holds_nothing_back_even_if_it_is_kept(wires, when):
    """Its traceback keeps the iterator alive."""
    a, b = wires()

    def take() -> None:
        messages = a.messages()
        for message in messages:
            gevent.event.Event().wait()
            assert message

    taker = gevent.spawn(take)
    gevent.sleep(0)
    b.have(0)
    a.wait_for_piece(0, timeout=5)
    if when == "before the peer has to wait":
        taker.kill()
    for piece in range(1, 3 * limits.EVENT_QUEUE):
        b.have(piece)
    if when == "while the peer waits":
        eventually(lambda: a.paused)
        taker.kill()
    a.wait_for_piece(3 * limits.EVENT_QUEUE - 1, timeout=5)
    assert taker.dead


def test_another_may_iterate_when_the_first_is_dead(wires):
    a, b = wires()
    taker = gevent.spawn(lambda: list(a.messages()))
    gevent.sleep(0)
    with pytest.raises(LocalProtocolError):
        a.messages()
    taker.kill()
    messages = a.messages()
    b.have(1)
    assert next(messages) == o.Have(1)
    assert taker.dead


def test_each_message_may_be_taken_by_a_greenlet_of_its_own(wires):
    a, b = wires()
    messages = a.messages()
    for piece in range(10):
        taker = gevent.spawn(next, messages)
        b.have(piece)
        assert taker.get(timeout=5) == o.Have(piece)


def test_one_that_iterates_with_others_may_wait_for_an_answer_though_they_leave(raw):
    """What it waits for comes behind more messages than the peer may send when no greenlet waits."""
    wire, peer = raw()
    peer.send(m.pack_bare(c.UNCHOKE))
    wire.wait_unchoked(timeout=5)
    messages = wire.messages()
    first, second = (gevent.spawn(lambda: wire.request(next(messages).index, 0, 4)) for _ in range(2))
    gevent.sleep(0)
    peer.send(m.pack_index(c.HAVE, 0) + m.pack_index(c.HAVE, 1))
    eventually(lambda: len(wire.requests) == 2)
    peer.send(m.pack_piece_header(0, 0, 4) + b"good")
    assert first.get(timeout=5) == b"good"
    peer.send(10 * limits.EVENT_QUEUE * m.KEEP_ALIVE_BYTES + m.pack_piece_header(1, 0, 4) + b"also")
    assert second.get(timeout=5) == b"also"


def test_an_iteration_that_is_closed_ends_also_for_a_greenlet_that_waits_in_it(wires):
    a, b = wires()
    messages = a.messages()
    taker = gevent.spawn(list, messages)
    gevent.sleep(0)
    messages.close()
    taker.get(timeout=5)
    with gevent.Timeout(5):
        assert next(messages, "the end") == "the end"
    again = a.messages()
    b.have(1)
    assert next(again) == o.Have(1)


def test_each_message_goes_to_one_of_those_who_iterate_together(raw):
    wire, peer = raw()
    messages = wire.messages()
    taken: list[Any] = []

    def take() -> None:
        for message in messages:
            taken.append(message)
            gevent.sleep(0)

    takers = [gevent.spawn(take) for _ in range(3)]
    gevent.sleep(0)
    for index in range(10):
        peer.send(m.pack_index(c.HAVE, index))
        eventually(lambda index=index: len(taken) > index)
    assert taken == [o.Have(index) for index in range(10)]
    wire.close(0)
    for taker in takers:
        taker.get(timeout=5)


def test_messages_that_came_before_the_end_are_still_given(raw):
    wire, peer = raw()
    messages = wire.messages()
    peer.send(m.pack_index(c.HAVE, 1) + m.pack_index(c.HAVE, 2))
    eventually(lambda: wire.peer_has(2))
    peer.reset()
    eventually(lambda: wire.closed)
    assert list(messages) == [o.Have(1), o.Have(2)]


def test_a_foreign_timeout_in_the_iteration_passes_through(wires):
    a, _ = wires(fast=False, extended=False)
    mine = gevent.Timeout(0.01)
    with pytest.raises(gevent.Timeout) as caught, mine:
        next(a.messages())
    assert caught.value is mine
    assert not a.closed


def test_one_that_iterates_may_wait_for_an_answer_however_many_messages_there_are(wires):
    a, b = wires()
    b.unchoke()
    a.wait_unchoked(timeout=5)
    server = gevent.spawn(b.serve, lambda piece, offset, length: b"good")
    messages = a.messages()
    count = limits.EVENT_QUEUE + 500
    for piece in range(count):
        b.have(piece)
    got = 0

    def take() -> None:
        nonlocal got
        for message in messages:
            if isinstance(message, o.Have):
                assert a.request(message.index, 0, 4) == b"good"
                got += 1

    taker = gevent.spawn(take)
    eventually(lambda: got == count, 10)
    gevent.killall([server, taker])
