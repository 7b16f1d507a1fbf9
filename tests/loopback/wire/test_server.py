"""The server at the edges: peers that hold each other up, handlers that never end, descriptors that run out.

The ordinary cases are in `test_peer_server.py`.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import Any

import gevent
import pytest
from gevent import socket as gevent_socket
from gevent.event import Event

import geventbt
from geventbt import WireClosed, limits
from tests.loopback.harness import INFO_HASH, OUR_ID, PEER_ID, eventually

FAILURES = (WireClosed, ConnectionError)


def call(server: geventbt.PeerServer) -> geventbt.Wire:
    return geventbt.connect(("127.0.0.1", server.server_port))


def greet(wire: geventbt.Wire) -> None:
    """A handler that shakes hands and stays until the peer leaves."""
    wire.handshake(INFO_HASH, OUR_ID)
    list(wire.incoming_requests())


def assert_greeted(server: geventbt.PeerServer) -> None:
    """The next peer is served, and long before a handshake that never comes has run out of time."""
    with call(server) as wire:
        assert wire.handshake(INFO_HASH, PEER_ID, timeout=3).peer_id == OUR_ID


def test_a_silent_peer_holds_up_none_of_the_others_where_a_signal_hands_them_out(serving):
    """Without a handler the wires are in the hands of those who hear `peer_connected`; they may block, as all may."""
    server = serving()
    server.on("peer_connected", lambda server, wire: wire.handshake(INFO_HASH, OUR_ID))
    silent = gevent_socket.create_connection(("127.0.0.1", server.server_port))
    eventually(lambda: server.wires)
    try:
        assert_greeted(server)
    finally:
        silent.close()


def test_a_wire_that_is_closed_takes_up_no_place_even_while_its_handlers_are_slow(serving):
    stuck = Event()

    def handler(wire: geventbt.Wire) -> None:
        wire.on("have", lambda wire, index: stuck.wait())
        greet(wire)

    server = serving(handler, max_connections=1)
    wire = call(server)
    wire.handshake(INFO_HASH, PEER_ID)
    wire.have(1)
    wire.close()
    try:
        eventually(lambda: not server.wires, 3)
        assert_greeted(server)
    finally:
        stuck.set()


@pytest.mark.parametrize("stubborn", [False, True], ids=["one that sleeps", "one that will not be killed"])
def test_stopping_ends_whatever_a_handler_does(stubborn):
    enough = Event()

    def handler(wire: geventbt.Wire) -> None:
        while not enough.is_set():
            try:
                enough.wait()
            except gevent.GreenletExit:
                if not stubborn:
                    raise

    server = geventbt.listen(("127.0.0.1", 0), handler)
    wire = call(server)
    eventually(lambda: server.wires)
    stopping = gevent.spawn(server.stop, 0.1)
    try:
        eventually(stopping.ready, 5)
    finally:
        enough.set()
        stopping.join(5)
        wire.close(0)


def test_a_handler_may_stop_the_server(serving):
    server = serving(lambda wire: server.stop(1))
    wire = call(server)
    eventually(lambda: not server.started and not server.wires)
    wire.close(0)


def test_stopping_twice_and_before_any_peer_is_no_error():
    server = geventbt.listen(("127.0.0.1", 0), greet)
    server.stop()
    server.stop()
    assert not server.started


def test_the_wire_is_closed_and_told_of_when_a_handlers_own_timeout_ends_it(serving):
    """A `gevent.Timeout` is no `Exception`; the program that listens for errors is to hear of it all the same."""

    def handler(wire: geventbt.Wire) -> None:
        if wire.wait_handshake().peer_id == PEER_ID:
            greet(wire)
        with gevent.Timeout(0.01):
            wire.wait_for("have")

    server = serving(handler)
    errors = []
    server.on("error", lambda server, error, wire: errors.append(error))
    with pytest.raises(FAILURES):
        call(server).handshake(INFO_HASH, b"x" * 20)
    assert_greeted(server)
    eventually(lambda: any(isinstance(error, gevent.Timeout) for error in errors), 3)


@pytest.mark.parametrize("encryption", ["disable", "require"])
def test_a_callable_of_info_hashes_that_fails_closes_that_wire_alone(serving, caplog, encryption):
    fails = [True]

    def known() -> Any:
        if fails[0]:
            raise ZeroDivisionError("a bug of the user's")
        return [INFO_HASH]

    server = serving(greet, info_hashes=known)
    address = ("127.0.0.1", server.server_port)
    with pytest.raises(FAILURES), gevent.Timeout(5):
        geventbt.connect(address, encryption=encryption, info_hash=INFO_HASH).handshake(INFO_HASH, PEER_ID)
    assert "a bug of the user's" in caplog.text
    eventually(lambda: not server.wires)
    fails[0] = False
    assert_greeted(server)


def test_peers_that_leave_at_once_leave_nothing(serving, nothing_logged):
    server = serving(greet)
    for number in range(30):
        sock = gevent_socket.create_connection(("127.0.0.1", server.server_port))
        if number % 3 == 0:
            sock.send(b"\x13Bit")
        if number % 2:
            sock.setsockopt(gevent_socket.SOL_SOCKET, gevent_socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
    assert_greeted(server)
    eventually(lambda: not server.wires)


def test_a_refused_peer_reads_the_end_at_once(serving):
    server = serving(greet, max_connections=0)
    sock = gevent_socket.create_connection(("127.0.0.1", server.server_port))
    sock.settimeout(5)
    assert sock.recv(1) == b""
    sock.close()
    assert server.wires == set()


def test_a_server_that_runs_out_of_descriptors_goes_on_and_is_quiet():
    """How many connections there are is up to the peers; they must not fill the log with tracebacks."""
    code = """
import logging, resource, gevent
from gevent import socket
import geventbt

def greet(wire):
    wire.handshake(b"h" * 20, b"s" * 20)
    list(wire.incoming_requests())

warned = gevent.event.Event()
log = logging.StreamHandler()
log.addFilter(lambda record: warned.set() or True)
logging.getLogger("geventbt").addHandler(log)

server = geventbt.listen(("127.0.0.1", 0), greet)
address = ("127.0.0.1", server.server_port)
callers = [socket.create_connection(address) for _ in range(10)]
gevent.sleep(0.05)
spare = [socket.socket() for _ in range(4)]
used = max(sock.fileno() for sock in spare)
resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
for sock in spare:
    sock.connect(address)
assert warned.wait(10)
for sock in callers + spare:
    sock.close()
with gevent.Timeout(10):
    while server.wires:
        gevent.sleep(0.01)
    wire = geventbt.connect(address)
    assert wire.handshake(b"h" * 20, b"c" * 20).peer_id == b"s" * 20
wire.close()
server.stop()
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert result.returncode == 0
    assert {line.split(":")[0] for line in result.stderr.splitlines()} == {"no more peers are taken for now"}


@pytest.mark.skipif("uv" in str(gevent.config.loop), reason="libuv's clock moves within a turn, which begins it anew")
def test_connections_that_have_hung_up_do_not_fill_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each turn of the loop has time for a few connections, as when the machine is busy.
    monkeypatch.setattr(limits, "TURN", 0.001)
    open_at_a_time = []

    def greet_and_count(wire: geventbt.Wire) -> None:
        open_at_a_time.append(len(server.wires))
        greet(wire)

    with geventbt.listen(("127.0.0.1", 0), max_connections=100) as server:
        server.set_handle(greet_and_count)
        for _ in range(300):
            with socket.create_connection(("127.0.0.1", server.server_port)) as sock:
                sock.sendall(b"\x13Bit")
        assert_greeted(server)
    assert max(open_at_a_time) < server.max_connections
