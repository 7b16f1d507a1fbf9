"""Signals at the edges: handlers that wait, fail in every way or leave much undone.

The ordinary cases are in `test_wire_basics.py`.
"""

from __future__ import annotations

import logging
from typing import Any

import gevent
import pytest
from gevent.event import Event

from geventbt import Extensions, Handshake, limits, signals
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from tests.loopback.harness import GEOMETRY, INFO_HASH, PEER_ID, eventually


@pytest.mark.parametrize("failure", [ZeroDivisionError, gevent.Timeout])
def test_a_handler_that_fails_keeps_no_event_from_the_others(wires, failure):
    """A `gevent.Timeout` of the handler's own is no `Exception`, but a failure of that handler's alone all the same."""
    a, b = wires()
    seen = []

    def fail(wire, index):
        raise failure()

    a.on("have", fail)
    a.on("have", lambda wire, index: seen.append(index))
    b.have(1)
    b.have(2)
    eventually(lambda: seen == [1, 2], 3)


def test_a_handler_that_is_killed_leaves_the_next_event_to_be_told(raw):
    wire, peer = raw()
    seen = []

    def handler(wire, index):
        if index == 1:
            raise gevent.GreenletExit
        seen.append(index)

    wire.on("have", handler)
    peer.send(m.pack_index(c.HAVE, 1) + m.pack_index(c.HAVE, 2))
    eventually(lambda: seen == [2], 3)


def test_a_handler_that_is_cut_short_does_not_stop_the_reading_for_ever(wires):
    """It fails while the peer is not read, as too many events wait."""
    a, b = wires()
    stuck = Event()

    def wait_and_fail(wire, index):
        stuck.wait()
        raise gevent.Timeout(1)

    a.on("have", wait_and_fail)
    for piece in range(2 * limits.EVENT_QUEUE):
        b.have(piece)
    eventually(lambda: a.paused)
    b.unchoke()
    stuck.set()
    a.wait_unchoked(timeout=5)


def test_handlers_of_one_signal_run_in_the_order_in_which_they_were_connected(wires):
    a, b = wires()
    seen = []
    for number in range(20):
        a.on("have", lambda wire, index, number=number: seen.append(number))
    b.have(1)
    eventually(lambda: len(seen) == 20)
    assert seen == list(range(20))


def test_a_handler_may_wait_for_an_answer_however_many_events_wait_for_it(wires):
    """What it waits for comes behind them on the same connection."""
    a, b = wires()
    b.unchoke()
    a.wait_unchoked(timeout=5)
    server = gevent.spawn(b.serve, lambda piece, offset, length: b"good")
    got = []
    a.on("have", lambda wire, index: got.append(wire.request(index, 0, 4)))
    for piece in range(limits.EVENT_QUEUE + 500):
        b.have(piece)
    eventually(lambda: len(got) == limits.EVENT_QUEUE + 500, 10)
    server.kill()


def test_a_peer_that_floods_a_handler_that_waits_for_it_is_closed(raw, monkeypatch):
    """It is read on for the handler's sake, but not without bound."""
    monkeypatch.setattr(limits, "STATE_MESSAGES", 10_000)
    monkeypatch.setattr(limits, "EVENTS_WHILE_WAITING", 2000)
    wire, peer = raw()
    waiting = []

    def wait(wire):
        waiting.append(True)
        wire.wait_unchoked()

    wire.on("interested", wait)
    peer.send(m.pack_bare(c.INTERESTED))
    eventually(lambda: waiting)
    peer.send(b"".join(m.pack_bare(c.UNINTERESTED) + m.pack_bare(c.INTERESTED) for _ in range(2100)))
    eventually(lambda: wire.closed)
    assert "keep up" in str(wire.close_reason)


def test_what_waits_for_a_slow_handler_is_bounded_in_bytes_too(raw):
    wire, peer = raw(extensions=Extensions(extended=True))
    stuck = Event()
    wire.on("extended", lambda wire, **fields: stuck.wait())
    message = m.pack_extended(1, bytes(limits.MESSAGE - 2))
    peer.sock.settimeout(0.5)
    sent = 0
    try:
        while sent < 200 * limits.MIB:
            sent += peer.sock.send(memoryview(message)[sent % len(message) :])
    except TimeoutError:
        pass
    stuck.set()
    assert sent < 64 * limits.MIB


@pytest.mark.parametrize("how", ["leaves", "chokes", "rejects", "breaks a rule"])
def test_a_handler_that_fails_by_what_the_peer_did_leaves_no_traceback(raw, caplog, how):
    """An untrusted peer would fill the log."""
    caplog.set_level(logging.DEBUG)
    wire, peer = raw()
    ended = []

    def request(wire):
        try:
            wire.request(0, 0, 4)
        finally:
            ended.append(True)

    wire.on("unchoke", request)
    peer.send(m.pack_bare(c.UNCHOKE))
    eventually(lambda: wire.requests)
    if how == "leaves":
        peer.sock.close()
    else:
        answers = {
            "chokes": m.pack_bare(c.CHOKE) + m.pack_range(c.REJECT, 0, 0, 4),
            "rejects": m.pack_range(c.REJECT, 0, 0, 4),
            "breaks a rule": b"\0\0\0\2\0x",
        }
        peer.send(answers[how])
    eventually(lambda: ended)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_the_end_is_told_after_all_that_came_before_it(raw):
    """The error, then the close, and both behind the events that a slow handler has not seen yet."""
    wire, peer = raw()
    told: list[Any] = []

    def slowly(wire, index):
        gevent.sleep(0.01)
        told.append(index)

    wire.on("have", slowly)
    wire.on("error", lambda wire, error: told.append("error"))
    wire.on("close", lambda wire, error: told.append("close"))
    peer.send(b"".join(m.pack_index(c.HAVE, piece) for piece in range(5)) + b"\0\0\0\2\0x")
    eventually(lambda: told == [0, 1, 2, 3, 4, "error", "close"])


def test_a_handler_may_close_the_wire(wires):
    a, b = wires()
    closed = []
    a.on("unchoke", lambda wire: wire.close())
    a.on("close", lambda wire, error: closed.append(error))
    b.unchoke()
    eventually(lambda: closed == [None])
    eventually(lambda: b.closed)


def test_a_handler_may_connect_and_disconnect_others(wires):
    a, b = wires()
    seen = []

    def second(wire, index):
        seen.append(("second", index))

    def first(wire, index):
        seen.append(("first", index))
        wire.off("have", first)
        wire.on("have", second)

    a.on("have", first)
    b.have(1)
    eventually(lambda: seen == [("first", 1)])
    b.have(2)
    eventually(lambda: seen == [("first", 1), ("second", 2)])


def test_a_handler_that_is_to_be_called_once_may_be_taken_off_before(raw):
    wire, peer = raw()
    seen: list[Any] = []

    def taken_off(wire, index):
        seen.append("taken off")

    wire.once("have", taken_off)
    wire.once("have", lambda wire, index: seen.append(index))
    wire.off("have", taken_off)
    wire.on("interested", lambda wire: seen.append("the end"))
    peer.send(m.pack_index(c.HAVE, 1) + m.pack_index(c.HAVE, 2) + m.pack_bare(c.INTERESTED))
    eventually(lambda: "the end" in seen)
    assert seen == [1, "the end"]


def test_the_signals_of_a_transfer_have_the_beps_fields(raw):
    wire, peer = raw()
    seen: list[Any] = []
    for name in ("request", "piece", "cancel", "reject", "upload", "download"):
        wire.on(name, lambda wire, name=name, **fields: seen.append((name, fields)))
    wire.unchoke()
    peer.send(m.pack_bare(c.UNCHOKE))
    wire.wait_unchoked(timeout=5)
    peer.send(m.pack_range(c.REQUEST, 1, 2, 3) + m.pack_range(c.REQUEST, 1, 5, 3) + m.pack_range(c.CANCEL, 1, 2, 3))
    eventually(lambda: len(seen) == 3)
    seen[1][1]["respond"](b"abc")
    asked = [gevent.spawn(wire.request, 4, offset, 1) for offset in (0, 1)]
    eventually(lambda: len(wire.requests) == 2)
    peer.send(m.pack_piece_header(4, 0, 1) + b"x" + m.pack_range(c.REJECT, 4, 1, 1))
    eventually(lambda: len(seen) == 7)
    gevent.joinall(asked, timeout=5)
    for _, fields in seen[:2]:
        assert callable(fields.pop("respond"))
    assert seen[:3] == [
        ("request", {"index": 1, "begin": 2, "length": 3}),
        ("request", {"index": 1, "begin": 5, "length": 3}),
        ("cancel", {"index": 1, "begin": 2, "length": 3}),
    ]
    rest = dict(seen[3:])
    assert rest["upload"] == {"count": 3}
    assert rest["piece"] == {"index": 4, "begin": 0, "block": b"x"}
    assert rest["download"] == {"count": 1}
    assert rest["reject"] == {"index": 4, "begin": 1, "length": 1}


@pytest.mark.parametrize("wrong", [None, 7, b"", b"too long", ZeroDivisionError("a bug")])
def test_whatever_a_handler_responds_the_peer_is_answered(raw, wrong):
    wire, peer = raw()
    wire.unchoke()
    errors = []
    wire.on("error", lambda wire, error: errors.append(error))
    wire.on("request", lambda wire, index, begin, length, respond: respond(b"good" if index else wrong))
    peer.send(m.pack_range(c.REQUEST, 0, 0, 4) + m.pack_range(c.REQUEST, 1, 0, 4))
    assert peer.message() == m.pack_bare(c.UNCHOKE)[4:]
    assert peer.message() == m.pack_range(c.REJECT, 0, 0, 4)[4:]
    assert peer.message() == (m.pack_piece_header(1, 0, 4) + b"good")[4:]
    eventually(lambda: len(errors) == 1)


def test_the_handshakes_are_signals_with_the_peers_words(socket_pair):
    import geventbt

    left, right = socket_pair()
    wire = geventbt.Wire(left, incoming=False)
    seen: dict[str, Any] = {}
    wire.on("handshake", lambda wire, **fields: seen.update(handshake=fields))
    wire.on("extended_handshake", lambda wire, **fields: seen.update(extended_handshake=fields))
    bits = Extensions(dht=True, extended=True)
    right.sendall(Handshake(INFO_HASH, PEER_ID, bits).to_bytes() + m.pack_extended(0, b"d1:md5:xx_aai3ee1:pi6881ee"))
    wire.handshake(INFO_HASH, b"o" * 20)
    eventually(lambda: len(seen) == 2)
    assert seen["handshake"] == {"info_hash": INFO_HASH, "peer_id": PEER_ID, "extensions": bits}
    assert seen["extended_handshake"]["handshake"]["m"] == {"xx_aa": 3}
    assert seen["extended_handshake"]["handshake"]["p"] == 6881
    wire.close(0)


def test_a_timeout_is_told_once_for_a_block_that_two_waited_for(raw):
    wire, peer = raw()
    peer.send(m.pack_bare(c.UNCHOKE))
    wire.wait_unchoked(timeout=5)
    late = []
    wire.on("timeout", lambda wire, **fields: late.append(fields))
    waits = [gevent.spawn(wire.request, 0, 0, 4, timeout=0.05) for _ in range(2)]
    gevent.joinall(waits, timeout=5)
    assert all(wait.ready() for wait in waits)
    gevent.sleep(0.01)
    assert late == [{"index": 0, "begin": 0, "length": 4}]


def test_receivers_of_shared_signals_may_fail_or_vanish(wires):
    _, b = wires(geometry=GEOMETRY)
    seen = []

    def fail(wire, **fields):
        raise ZeroDivisionError

    def vanish(wire, **fields):
        seen.append("vanished")

    def hear(wire, **fields):
        seen.append("heard")

    for receiver in (fail, vanish, hear):
        signals.have.connect(receiver)
    try:
        del vanish, receiver
        b.have(1)
        eventually(lambda: seen[-1:] == ["heard"])
    finally:
        signals.have.disconnect(fail)
        signals.have.disconnect(hear)
