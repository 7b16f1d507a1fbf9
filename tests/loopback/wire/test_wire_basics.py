"""The states of a wire, its messages both ways, its signals and its end, over real sockets."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import threading
import weakref
from typing import Any

import gevent
import pytest
from bitarray import bitarray

import geventbt
from geventbt import LocalProtocolError, RemoteProtocolError, Wire, WireClosed, WireTimeout, limits, signals
from geventbt.protocol import message_objects as o
from tests.loopback.harness import GEOMETRY, INFO_HASH, OUR_ID, PEER_ID, eventually


def test_both_sides_see_each_others_handshake(wires):
    outgoing, incoming = wires(dht=True, fast=True)
    assert (outgoing.type, incoming.type) == ("outgoing", "incoming")
    assert (outgoing.peer_id, incoming.peer_id) == (PEER_ID, OUR_ID)
    assert outgoing.info_hash == incoming.info_hash == INFO_HASH
    assert outgoing.peer_extensions == geventbt.Extensions(dht=True, fast=True, extended=True)
    assert outgoing.has_fast
    assert incoming.has_fast
    assert outgoing.encryption == "plaintext"
    assert outgoing.remote_address == incoming.local_address


def test_hex_will_do_for_hashes_and_ids(wires):
    outgoing, incoming = wires(handshake=False)
    other = gevent.spawn(incoming.handshake, INFO_HASH.hex(), PEER_ID.hex())
    assert outgoing.handshake(INFO_HASH.hex().upper(), OUR_ID.hex()).peer_id == PEER_ID
    other.get(timeout=5)


def test_an_inbound_peers_handshake_can_be_read_before_ours_is_sent(wires):
    outgoing, incoming = wires(handshake=False)
    other = gevent.spawn(outgoing.handshake, INFO_HASH, OUR_ID)
    assert incoming.wait_handshake().info_hash == INFO_HASH
    assert not other.ready()
    incoming.handshake(incoming.info_hash, PEER_ID)
    other.get(timeout=5)


def test_choke_and_interest_are_seen_by_the_other_side(wires):
    a, b = wires()
    assert (a.am_choking, a.peer_choking, a.am_interested, a.peer_interested) == (True, True, False, False)
    b.unchoke()
    a.wait_unchoked(timeout=5)
    assert not b.am_choking
    a.interested()
    b.wait_for("interested", timeout=5)
    assert a.am_interested
    assert b.peer_interested
    a.not_interested()
    b.wait_for("uninterested", timeout=5)
    assert not b.peer_interested
    b.choke()
    a.wait_for("choke", timeout=5)
    assert a.peer_choking


def test_a_bitfield_and_haves_make_up_what_the_peer_has(wires):
    a, b = wires()
    b.bitfield(bitarray("1010000000"))
    b.have(9)
    a.wait_for_piece(9, timeout=5)
    a.number_of_pieces = 10
    assert a.peer_pieces == bitarray("1010000001")
    assert a.peer_has(2)
    assert not a.peer_has(3)
    assert not a.peer_has_all


def test_have_all_is_known_before_the_number_of_pieces_is(wires):
    a, b = wires()
    b.have_all()
    a.wait_for("have_all", timeout=5)
    assert a.peer_has_all
    assert a.peer_has(1000)
    a.number_of_pieces = 3
    assert a.peer_pieces == bitarray("111")


def test_no_second_event_for_a_piece_known_already(wires):
    a, b = wires()
    seen = []
    a.on("have", lambda wire, index: seen.append(index))
    for piece in (3, 3, 4, 3):
        b.have(piece)
    b.port(1)
    a.wait_for("port", timeout=5)
    eventually(lambda: seen == [3, 4])


SENDS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("choke", (), {}),
    ("interested", (), {}),
    ("have", (7,), {"index": 7}),
    ("bitfield", (b"\xff\x80",), {"bitfield": b"\xff\x80"}),
    ("port", (6881,), {"listen_port": 6881}),
    ("keep_alive", (), {}),
    ("have_all", (), {}),
    ("have_none", (), {}),
    ("suggest", (3,), {"index": 3}),
    ("allowed_fast", (3,), {"index": 3}),
]


@pytest.mark.parametrize(("name", "arguments", "fields"), SENDS, ids=[name for name, _, _ in SENDS])
def test_every_send_is_a_signal_on_the_other_side(wires, name, arguments, fields):
    a, b = wires()
    if name == "choke":
        b.unchoke()
    got = gevent.spawn(a.wait_for, name, 5)
    gevent.sleep(0)
    getattr(b, name)(*arguments)
    assert got.get() == fields


def test_hash_messages_pass_where_both_sides_speak_v2(wires):
    a, b = wires(v2=True)
    root = bytes(range(32))
    for name, extra in (("hash_request", ()), ("hashes", (bytes(64),)), ("hash_reject", ())):
        got = gevent.spawn(a.wait_for, name, 5)
        gevent.sleep(0)
        getattr(b, name)(root, 0, 2, 2, 1, *extra)
        assert got.get()["pieces_root"] == root


def test_an_unknown_message_is_an_event_and_no_offence(raw):
    wire, peer = raw()
    got = gevent.spawn(wire.wait_for, "unknown_message", 5)
    gevent.sleep(0)
    peer.send(b"\0\0\0\4\x63abc")
    assert got.get() == {"id": 0x63, "payload": b"abc"}
    assert not wire.closed


def test_messages_have_the_beps_field_names(wires):
    a, b = wires()
    messages = a.messages()
    b.unchoke()
    b.have(4)
    assert next(messages) == o.Unchoke()
    have = next(messages)
    assert (type(have).__name__, have.index) == ("Have", 4)
    b.close()
    assert list(messages) == []


def test_messages_that_nobody_takes_make_the_peer_wait(wires):
    a, b = wires()
    messages = a.messages()
    for piece in range(4 * limits.EVENT_QUEUE):
        b.have(piece)
    eventually(lambda: a.paused)
    assert [next(messages).index for _ in range(4 * limits.EVENT_QUEUE)] == list(range(4 * limits.EVENT_QUEUE))


def test_the_allowed_fast_set_is_granted_as_the_bep_says(wires):
    a, b = wires(geometry=GEOMETRY)
    granted = b.grant_allowed_fast()
    assert granted == geventbt.allowed_fast_set("127.0.0.1", INFO_HASH, 10)
    eventually(lambda: a.peer_allowed_fast_set == set(granted))
    assert b.allowed_fast_set == set(granted)


# ---------------------------------------------------------------------- signals


def test_handlers_run_in_order_and_may_block(wires):
    a, b = wires()
    seen = []

    def slow(wire, index):
        gevent.sleep(0.01)
        seen.append(index)

    a.on_have.connect(slow)
    for piece in range(5):
        b.have(piece)
    eventually(lambda: seen == [0, 1, 2, 3, 4])


def test_a_handler_may_call_blocking_methods(wires):
    a, b = wires()
    got = []
    a.on("unchoke", lambda wire: got.append(wire.request(0, 0, 4)))
    b.unchoke()
    server = gevent.spawn(b.serve, lambda piece, offset, length: b"good")
    eventually(lambda: got == [b"good"])
    server.kill()


def test_a_slow_handler_stalls_neither_the_reader_nor_another_wire(wires):
    a, b = wires()
    stuck = gevent.event.Event()
    a.on("have", lambda wire, index: stuck.wait())
    b.have(1)
    b.unchoke()
    a.wait_unchoked(timeout=5)
    c, d = wires()
    d.unchoke()
    c.wait_unchoked(timeout=5)
    stuck.set()


def test_a_failing_handler_is_logged_and_stops_nobody(wires, caplog):
    a, b = wires()
    seen = []
    a.on("have", lambda wire, index: 1 / 0)
    a.on("have", lambda wire, index: seen.append(index))
    b.have(1)
    b.have(2)
    eventually(lambda: seen == [1, 2])
    assert "ZeroDivisionError" in caplog.text
    assert not a.closed


def test_once_is_once_and_off_is_off(wires):
    a, b = wires()
    once, until_off = [], []
    a.once("have", lambda wire, index: once.append(index))
    handler = a.on("have", lambda wire, index: until_off.append(index))
    b.have(1)
    b.have(2)
    eventually(lambda: until_off == [1, 2])
    a.off("have", handler)
    b.have(3)
    a.wait_for_piece(3, timeout=5)
    gevent.sleep(0)
    assert (once, until_off) == ([1], [1, 2])


def test_a_shared_signal_hears_every_wire_or_one(wires):
    a, b = wires()
    c, d = wires()
    everyone, only_a = [], []

    def hear(wire):
        everyone.append(wire)

    def hear_a(wire):
        only_a.append(wire)

    signals.unchoke.connect(hear)
    signals.unchoke.connect(hear_a, sender=a)
    try:
        b.unchoke()
        d.unchoke()
        eventually(lambda: set(everyone) == {a, c})
        assert only_a == [a]
    finally:
        signals.unchoke.disconnect(hear)
        signals.unchoke.disconnect(hear_a, sender=a)


def test_no_such_signal_is_an_error(wires):
    a, _ = wires()
    with pytest.raises(LookupError):
        a.on("dance", print)
    with pytest.raises(AttributeError):
        a.on_dance  # noqa: B018
    with pytest.raises(AttributeError):
        a.dance  # noqa: B018


def test_close_and_error_tell_the_reason(raw):
    wire, peer = raw()
    closed, errors = [], []
    wire.on("close", lambda wire, error: closed.append(error))
    wire.on("error", lambda wire, error: errors.append(error))
    peer.send(b"\0\0\0\2\0x")
    eventually(lambda: closed)
    assert isinstance(wire.close_reason, RemoteProtocolError)
    assert closed == errors == [wire.close_reason]
    assert wire.close_reason.message_id == 0


def test_a_peer_that_just_leaves_is_no_error(wires):
    a, b = wires()
    closed, errors = [], []
    a.on("close", lambda wire, error: closed.append(error))
    a.on("error", lambda wire, error: errors.append(error))
    b.close()
    eventually(lambda: closed == [None])
    assert errors == []
    assert a.close_reason is None


# ---------------------------------------------------------------------- time


def test_a_wait_ends_with_an_ordinary_timeout(wires):
    a, _ = wires()
    for wait in (lambda: a.wait_unchoked(0.01), lambda: a.wait_for("have", 0.01), lambda: a.wait_for_piece(1, 0.01)):
        with pytest.raises(WireTimeout) as caught:
            wait()
        assert isinstance(caught.value, TimeoutError)


def test_a_foreign_gevent_timeout_passes_through(wires):
    a, _ = wires()
    mine = gevent.Timeout(0.01)
    with pytest.raises(gevent.Timeout) as caught, mine:
        a.wait_unchoked(timeout=30)
    assert caught.value is mine


def test_a_silent_peer_is_closed_after_the_inactivity_limit(wires, monkeypatch):
    monkeypatch.setattr(limits, "INACTIVITY_TIMEOUT", 0.05)
    monkeypatch.setattr(limits, "KEEP_ALIVE_INTERVAL", 1000.0)
    both = wires()
    eventually(lambda: all(wire.closed for wire in both))
    # The first that finds the other silent closes the connection.
    assert any(isinstance(wire.close_reason, WireTimeout) for wire in both)


def test_drips_do_not_count_as_activity(raw, monkeypatch):
    monkeypatch.setattr(limits, "INACTIVITY_TIMEOUT", 0.2)
    wire, peer = raw()
    peer.send(b"\0\1\0\0\x14")

    def drip_until_closed() -> bool:
        if not wire.closed:
            peer.drip(b"x")
        return wire.closed

    eventually(drip_until_closed)
    assert isinstance(wire.close_reason, WireTimeout)


def test_keep_alives_keep_an_idle_connection_open(wires, monkeypatch):
    monkeypatch.setattr(limits, "INACTIVITY_TIMEOUT", 5.0)
    monkeypatch.setattr(limits, "KEEP_ALIVE_INTERVAL", 0.05)
    a, b = wires()
    for _ in range(20):
        a.wait_for("keep_alive", timeout=5)
    assert not b.closed


def test_keep_alives_can_be_switched_off(wires, monkeypatch):
    monkeypatch.setattr(limits, "INACTIVITY_TIMEOUT", 0.2)
    monkeypatch.setattr(limits, "KEEP_ALIVE_INTERVAL", 0.02)
    a, b = wires(handshake=False)
    b.set_keep_alive(False)
    other = gevent.spawn(b.handshake, INFO_HASH, PEER_ID)
    a.handshake(INFO_HASH, OUR_ID)
    other.get(timeout=5)
    eventually(lambda: isinstance(a.close_reason, WireTimeout) or b.closed)


# ---------------------------------------------------------------------- life and death


def test_a_closed_wire_raises_for_every_call(wires):
    a, b = wires()
    b.close()
    eventually(lambda: a.closed)
    for call in (a.choke, a.interested, lambda: a.have(1), lambda: a.request(0, 0, 1), lambda: a.read(0, 0, 1)):
        with pytest.raises(WireClosed):
            call()
    assert list(a.incoming_requests()) == []
    a.close()


def test_close_sends_what_is_queued_first(wires):
    a, b = wires()
    b.unchoke()
    a.wait_unchoked(timeout=5)
    reading = gevent.spawn(a.read, 0, 0, 3_000_000)
    block = bytes(16384)
    requests = b.incoming_requests()
    for _ in range(180):
        request = next(requests)
        b.piece(request.piece, request.offset, block[: request.length])
    b.close()
    with pytest.raises(WireClosed):
        reading.get(timeout=10)
    assert a.downloaded == 180 * 16384


def test_an_idle_wire_has_no_greenlet(wires):
    def greenlets() -> int:
        gc.collect()
        return sum(1 for thing in gc.get_objects() if isinstance(thing, gevent.Greenlet) and not thing.dead and thing)

    before = greenlets()
    pairs = [wires() for _ in range(5)]
    eventually(lambda: greenlets() <= before)
    assert len(pairs) == 5


def test_a_closed_wire_is_forgotten(socket_pair):
    left, right = socket_pair()
    wire = Wire(left, incoming=False)
    wire.on("have", lambda wire, index: None)
    reference = weakref.ref(wire)
    wire.close()
    del wire

    def is_gone() -> bool:
        gc.collect()
        return reference() is None

    eventually(is_gone)
    right.close()


def test_a_plain_socket_is_taken_over():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        plain = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
        a, b = Wire(plain, incoming=False), Wire(other, incoming=True)
        assert plain.fileno() == -1
        greenlet = gevent.spawn(b.handshake, INFO_HASH, PEER_ID)
        assert a.handshake(INFO_HASH, OUR_ID).peer_id == PEER_ID
        greenlet.get(timeout=5)
        a.close()
        b.close()


def test_tcp_holds_no_small_message_back(socket_pair):
    for sock in socket_pair():
        wire = Wire(sock, incoming=False)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        wire.close()


def test_anything_but_a_stream_socket_is_refused():
    with pytest.raises(TypeError):
        Wire(object(), incoming=False)


def test_use_from_another_native_thread_is_a_clear_error(wires):
    a, _ = wires()
    errors: list[Exception] = []

    def use() -> None:
        for call in (a.interested, lambda: a.request(0, 0, 1), lambda: a.wait_unchoked(1)):
            try:
                call()
            except Exception as error:
                errors.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join(timeout=10)
    assert [type(error) for error in errors] == [RuntimeError] * 3


def test_it_works_in_a_monkey_patched_program():
    code = """
from gevent import monkey; monkey.patch_all()
import geventbt, socket
def seed(wire):
    wire.handshake(b"h" * 20, b"s" * 20)
    wire.unchoke()
    wire.serve(lambda piece, offset, length: bytes(length))
with geventbt.listen(("127.0.0.1", 0), seed) as server:
    wire = geventbt.Wire(socket.create_connection(("127.0.0.1", server.server_port)), incoming=False)
    wire.handshake(b"h" * 20, b"d" * 20)
    wire.wait_unchoked()
    assert wire.request(0, 0, 16384) == bytes(16384)
    wire.close()
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (result.returncode, result.stderr) == (0, "")


def test_before_the_handshake_nothing_can_be_sent(wires):
    a, _ = wires(handshake=False)
    with pytest.raises(LocalProtocolError):
        a.interested()
    with pytest.raises(LocalProtocolError):
        a.request(0, 0, 1)
    assert not a.closed


def test_connect_to_nobody_is_a_connection_error():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with pytest.raises(ConnectionError):
        geventbt.connect(address)


def test_an_unknown_encryption_policy_is_an_error():
    with pytest.raises(ValueError):
        geventbt.connect(("127.0.0.1", 1), encryption="perhaps")
    with pytest.raises(ValueError):
        geventbt.connect(("127.0.0.1", 1), encryption="require")
    with pytest.raises(ValueError):
        geventbt.listen(("127.0.0.1", 0), encryption="require")
