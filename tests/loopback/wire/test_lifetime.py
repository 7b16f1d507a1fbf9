"""The life of a wire at the edges: what it may be made of, what keeps it alive, who may use it, and what it leaves.

The ordinary cases are in `test_wire_basics.py`.
"""

from __future__ import annotations

import gc
import socket
import threading
import time
import weakref
from typing import Any

import gevent
import pytest

import geventbt
from geventbt import Extension, Wire, WireClosed, limits
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from tests.loopback.harness import INFO_HASH, OUR_ID, PEER_ID, eventually, shake_hands


def test_a_datagram_socket_is_refused():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        datagrams.connect(datagrams.getsockname())
        with pytest.raises(TypeError):
            Wire(datagrams, incoming=False).close(0)
        assert datagrams.fileno() >= 0


def test_a_socket_that_is_not_connected_is_an_error_and_stays_the_callers():
    with socket.socket() as unconnected:
        with pytest.raises(OSError):
            Wire(unconnected, incoming=False)
        assert unconnected.fileno() >= 0


def test_a_unix_socket_will_do():
    left, right = socket.socketpair()
    a, b = Wire(left, incoming=False), Wire(right, incoming=True)
    other = gevent.spawn(b.handshake, INFO_HASH, PEER_ID)
    assert a.handshake(INFO_HASH, OUR_ID).peer_id == PEER_ID
    other.get(timeout=5)
    a.close()
    b.close()


def test_a_unix_socket_that_has_a_path_will_do(tmp_path):
    path = str(tmp_path / "peer")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as left:
        listener.bind(path)
        listener.listen()
        left.connect(path)
        right, _ = listener.accept()
        a, b = Wire(left, incoming=False), Wire(right, incoming=True)
    other = gevent.spawn(b.handshake, INFO_HASH, PEER_ID)
    assert a.handshake(INFO_HASH, OUR_ID).peer_id == PEER_ID
    other.get(timeout=5)
    assert a.remote_address == b.local_address == ("", 0)
    assert "yourip" not in a.extended_handshake
    a.close()
    b.close()


@pytest.mark.parametrize(
    "message",
    [m.KEEP_ALIVE_BYTES, m.pack_index(c.HAVE, 1), m.pack_range(c.REQUEST, 0, 0, 4), m.pack_bare(c.UNINTERESTED)],
    ids=["keep-alive", "a have that is no news", "a request that is rejected", "a state that is no news"],
)
def test_every_complete_message_is_a_sign_of_life(raw, monkeypatch, message):
    monkeypatch.setattr(limits, "INACTIVITY_TIMEOUT", 0.5)
    wire, peer = raw()
    peer.send(message)
    until = time.monotonic() + 2 * limits.INACTIVITY_TIMEOUT
    while time.monotonic() < until:
        assert not wire.closed, wire.close_reason
        peer.send(message)
        gevent.sleep(0.02)


def test_keep_alives_that_are_switched_on_again_are_sent(wires, monkeypatch):
    monkeypatch.setattr(limits, "KEEP_ALIVE_INTERVAL", 0.05)
    a, b = wires()
    b.set_keep_alive(False)
    a.set_keep_alive(False)
    a.set_keep_alive(True)
    b.wait_for("keep_alive", timeout=3)


CALLS: dict[str, Any] = {
    "wait_unchoked": lambda wire: wire.wait_unchoked(1),
    "wait_handshake": lambda wire: wire.wait_handshake(),
    "wait_for_piece": lambda wire: wire.wait_for_piece(1, 1),
    "wait_drained": lambda wire: wire.wait_drained(1),
    "wait_for": lambda wire: wire.wait_for("have", 1),
    "incoming_requests": lambda wire: list(wire.incoming_requests()),
    "serve": lambda wire: wire.serve(lambda *key: b""),
    "messages": lambda wire: next(wire.messages()),
    "read_into": lambda wire: wire.read_into(0, 0, bytearray(4)),
    "piece": lambda wire: wire.piece(0, 0, b"x"),
    "cancel": lambda wire: wire.cancel(0, 0, 1),
    "forget_piece": lambda wire: wire.forget_piece(1),
    "use": lambda wire: wire.use(Extension),
    "set number_of_pieces": lambda wire: setattr(wire, "number_of_pieces", 5),
    "set_keep_alive": lambda wire: wire.set_keep_alive(False),
    "close": lambda wire: wire.close(),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_call_from_another_native_thread_is_a_clear_error(wires, name):
    a, b = wires()
    b.unchoke()
    b.have(1)
    a.wait_unchoked(timeout=5)
    a.wait_for_piece(1, timeout=5)
    results: list[Any] = []

    def use() -> None:
        try:
            results.append(CALLS[name](a))
        except BaseException as error:
            results.append(type(error))

    thread = threading.Thread(target=use)
    thread.start()
    while thread.is_alive():
        gevent.sleep(0.005)
    assert results == [RuntimeError]
    assert not a.closed


def test_wires_in_two_native_threads_do_not_meet():
    """Each thread has a hub of its own, with a scratch buffer of its own."""
    results: list[Any] = []

    def transfer(fill: bytes) -> None:
        left, right = socket.socketpair()
        a, b = Wire(left, incoming=False), Wire(right, incoming=True)
        other = gevent.spawn(b.handshake, INFO_HASH, PEER_ID)
        a.handshake(INFO_HASH, OUR_ID)
        other.get(timeout=5)
        b.unchoke()
        a.wait_unchoked(timeout=5)
        server = gevent.spawn(b.serve, lambda piece, offset, length: fill * length)
        results.append(all(a.read(piece, 0, 1 << 20) == fill * (1 << 20) for piece in range(20)))
        a.close()
        b.close()
        server.join(timeout=5)
        gevent.get_hub().destroy(destroy_loop=True)

    threads = [threading.Thread(target=transfer, args=(fill,)) for fill in (b"x", b"y")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert results == [True, True]


def test_a_closed_wire_is_forgotten_whatever_it_was_used_for(socket_pair):
    class Plugin(Extension):
        name = "xx_plugin"

    def use_and_close() -> list[Any]:
        a, b = (Wire(sock, incoming=bool(number)) for number, sock in enumerate(socket_pair()))
        a.use(Plugin)
        shake_hands(a, b)
        b.unchoke()
        a.wait_unchoked(timeout=5)
        a.on("have", lambda wire, index: a.peer_pieces)
        a.on_choke.connect(a.peer_has)
        waits = [gevent.spawn(a.read, 0, 0, 65536), gevent.spawn(a.request, 0, 0, 4), gevent.spawn(a.wait_for, "have")]
        eventually(lambda: a.requests)
        a.close()
        b.close()
        gevent.joinall(waits, timeout=5)
        return [weakref.ref(a), weakref.ref(a.xx_plugin), weakref.ref(b)]

    references = use_and_close()

    def are_gone() -> bool:
        gc.collect()
        return all(reference() is None for reference in references)

    eventually(are_gone)


def test_closing_ends_every_request(raw):
    wire, peer = raw()
    peer.send(m.pack_bare(c.UNCHOKE))
    wire.wait_unchoked(timeout=5)
    waits = [gevent.spawn(wire.request, 0, 0, 4), gevent.spawn(wire.request, 0, 4, 4, wait_unchoked=True)]
    eventually(lambda: len(wire.requests) == 2)
    wire.close()
    gevent.joinall(waits, timeout=5)
    assert [type(wait.exception) for wait in waits] == [WireClosed] * 2


def test_closing_from_several_greenlets_and_within_a_wait_is_no_error(wires):
    a, b = wires()
    waiting = gevent.spawn(a.wait_unchoked)
    gevent.sleep(0)
    closers = [gevent.spawn(a.close) for _ in range(3)]
    gevent.joinall(closers, timeout=10)
    assert all(closer.successful() for closer in closers)
    gevent.joinall([waiting], timeout=5)
    assert isinstance(waiting.exception, WireClosed)
    eventually(lambda: b.closed)


def test_killing_a_greenlet_that_closes_leaves_a_closed_wire(raw):
    wire, peer = raw(geometry=geventbt.Geometry(1 << 26, 1 << 20))
    wire.unchoke()
    peer.send(b"".join(m.pack_range(c.REQUEST, number >> 6, number % 64 * 16384, 16384) for number in range(600)))
    eventually(lambda: len(wire.peer_requests) == 600)
    server = gevent.spawn(wire.serve, lambda piece, offset, length: bytes(length))
    eventually(lambda: wire.queued > limits.HIGH_WATER)
    closer = gevent.spawn(wire.close, 30)
    gevent.sleep(0.05)
    closer.kill()
    wire.close(0)
    assert wire.closed
    server.join(timeout=5)
    assert server.ready()
