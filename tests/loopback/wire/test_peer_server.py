"""The server: who is let in, who is told, and how it ends."""

from __future__ import annotations

import socket
from typing import Any

import gevent
import gevent.event
import pytest

import geventbt
from geventbt import (
    HandshakeError,
    LocalProtocolError,
    RequestRejected,
    RequestTimeout,
    StorageError,
    WireClosed,
)
from tests.loopback.harness import INFO_HASH, OUR_ID, PEER_ID, eventually


def greet(wire: geventbt.Wire) -> None:
    """A handler that shakes hands and stays until the peer leaves."""
    wire.handshake(INFO_HASH, OUR_ID)
    list(wire.incoming_requests())


def call(server: geventbt.PeerServer, host: str = "127.0.0.1") -> geventbt.Wire:
    return geventbt.connect((host, server.server_port))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_peers_are_served_over_both_families(serving, host):
    server = serving(greet, host=host)
    with call(server, host) as wire:
        assert wire.handshake(INFO_HASH, PEER_ID).peer_id == OUR_ID
        assert wire.remote_address == (host, server.server_port)
    eventually(lambda: not server.wires)


def test_a_port_alone_listens_on_every_interface(serving):
    server = geventbt.listen(0, greet)
    with call(server) as wire:
        assert wire.handshake(INFO_HASH, PEER_ID).peer_id == OUR_ID
    server.stop()


def test_a_taken_port_is_an_error(serving):
    server = serving(greet)
    with pytest.raises(OSError, match="in use"):
        geventbt.listen(("127.0.0.1", server.server_port))


def test_a_connected_peer_is_told_of_and_lives_without_a_handler(serving):
    server = serving()
    wires = []
    server.on("peer_connected", lambda server, wire: wires.append(wire))
    with call(server) as wire:
        eventually(lambda: wires)
        other = gevent.spawn(wires[0].handshake, INFO_HASH, OUR_ID)
        assert wire.handshake(INFO_HASH, PEER_ID).peer_id == OUR_ID
        other.get(timeout=5)
        assert server.wires == set(wires)


def test_the_shared_signal_hears_every_server(serving):
    seen = []

    def hear(server, wire):
        seen.append(server)

    geventbt.signals.peer_connected.connect(hear)
    try:
        server = serving(greet)
        call(server).close(0)
        eventually(lambda: seen == [server])
    finally:
        geventbt.signals.peer_connected.disconnect(hear)


def test_peers_over_the_limit_are_refused_and_not_queued(serving):
    server = serving(greet, max_connections=2)
    wires = [call(server) for _ in range(2)]
    for number, wire in enumerate(wires):
        wire.handshake(INFO_HASH, bytes([number]) * 20)
    refused = call(server)
    with pytest.raises((WireClosed, ConnectionError)):
        refused.handshake(INFO_HASH, PEER_ID)
    wires[0].close()
    eventually(lambda: len(server.wires) == 1)
    with call(server) as wire:
        assert wire.handshake(INFO_HASH, PEER_ID).peer_id == OUR_ID
    wires[1].close()


@pytest.mark.parametrize("known", [[INFO_HASH], {INFO_HASH.hex()}, lambda: [INFO_HASH]])
def test_unknown_torrents_are_refused(serving, known):
    server = serving(greet, info_hashes=known)
    errors = []
    server.on("error", lambda server, error, wire: errors.append(error))
    with pytest.raises((WireClosed, ConnectionError)):
        call(server).handshake(b"x" * 20, PEER_ID)
    eventually(lambda: errors)
    assert isinstance(errors[0], HandshakeError)
    with call(server) as wire:
        assert wire.handshake(INFO_HASH, PEER_ID).peer_id == OUR_ID


def test_the_known_torrents_may_change(serving):
    known: set[Any] = set()
    server = serving(greet, info_hashes=known)
    with pytest.raises((WireClosed, ConnectionError)):
        call(server).handshake(INFO_HASH, PEER_ID)
    known.add(INFO_HASH)
    with call(server) as wire:
        wire.handshake(INFO_HASH, PEER_ID)


def test_a_handler_that_fails_hurts_no_other_peer(serving, caplog):
    def handler(wire: geventbt.Wire) -> None:
        if wire.wait_handshake().peer_id == PEER_ID:
            raise ZeroDivisionError("a bug of the user's")
        greet(wire)

    server = serving(handler)
    errors = []
    server.on("error", lambda server, error, wire: errors.append(error))
    good = call(server)
    good.handshake(INFO_HASH, b"g" * 20)
    with pytest.raises((WireClosed, ConnectionError)):
        call(server).handshake(INFO_HASH, PEER_ID)
    eventually(lambda: [type(error) for error in errors] == [ZeroDivisionError])
    assert "a bug of the user's" in caplog.text
    good.interested()
    assert not good.closed
    good.close()


def be_let_down(serving, failure: Exception) -> None:
    """Be the peer of a handler that raises this."""

    def handler(wire: geventbt.Wire) -> None:
        raise failure

    server = serving(handler)
    with pytest.raises((WireClosed, ConnectionError)):
        call(server).handshake(INFO_HASH, PEER_ID)


@pytest.mark.parametrize("failure", [LocalProtocolError, StorageError, KeyError])
def test_a_handler_that_fails_by_what_no_peer_has_done_is_logged_with_its_traceback(serving, caplog, failure):
    be_let_down(serving, failure("a bug of the user's"))
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.exc_info
    assert "a bug of the user's" in caplog.text


@pytest.mark.parametrize("failure", [WireClosed, RequestTimeout, RequestRejected, ConnectionResetError])
def test_a_handler_that_ends_by_what_a_peer_may_do_leaves_no_traceback(serving, nothing_logged, failure):
    """An untrusted peer would fill the log."""
    be_let_down(serving, failure("a peer's doing"))


def test_the_wire_is_closed_when_its_handler_returns(serving):
    server = serving(lambda wire: wire.handshake(INFO_HASH, OUR_ID))
    wire = call(server)
    wire.handshake(INFO_HASH, PEER_ID)
    eventually(lambda: wire.closed)
    assert wire.close_reason is None
    assert server.wires == set()


def test_stopping_closes_every_wire_and_tells(serving):
    server = serving(greet)
    told = []
    server.on("stopping", lambda server: told.append("stopping"))
    server.on("stop", lambda server: told.append("stop"))
    wires = [call(server) for _ in range(3)]
    for number, wire in enumerate(wires):
        wire.handshake(INFO_HASH, bytes([number]) * 20)
    server.stop()
    eventually(lambda: all(wire.closed for wire in wires))
    eventually(lambda: told == ["stopping", "stop"])
    assert server.wires == set()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.server_port))


def test_when_stopping_is_over_the_handlers_of_its_signal_have_run(serving):
    server = serving(greet)
    told = []

    def tell(server: geventbt.PeerServer) -> None:
        # It may stop what is stopped already, and does not wait for itself.
        server.stop()
        gevent.sleep(0.01)
        told.append("stop")

    server.on("stop", tell)
    wire = call(server)
    wire.handshake(INFO_HASH, PEER_ID)
    server.stop()
    assert told == ["stop"]
    wire.close()


def test_a_handler_of_the_stop_that_never_ends_holds_up_nobody_for_longer_than_the_timeout(serving):
    server = serving(greet)
    enough = gevent.event.Event()
    server.on("stop", lambda server: enough.wait())
    stopping = gevent.spawn(server.stop, 0.1)
    try:
        eventually(stopping.ready, 5)
    finally:
        enough.set()


def test_stopping_waits_for_a_block_to_be_sent(serving):
    """Graceful: what had been queued to a peer still reaches it."""

    def seed(wire: geventbt.Wire) -> None:
        wire.handshake(INFO_HASH, OUR_ID)
        wire.unchoke()
        wire.serve(lambda piece, offset, length: bytes(length))

    server = serving(seed)
    wire = call(server)
    wire.handshake(INFO_HASH, PEER_ID)
    wire.wait_unchoked(timeout=5)
    wire.request(0, 0, 16384)
    server.stop()
    eventually(lambda: wire.closed)
    assert wire.close_reason is None


def test_a_server_stops_from_another_greenlet_and_serve_forever_ends():
    server = geventbt.listen(("127.0.0.1", 0), greet)
    forever = gevent.spawn(server.serve_forever)
    gevent.sleep(0)
    server.stop()
    forever.get(timeout=5)


def test_a_server_is_a_context_manager():
    with geventbt.listen(("127.0.0.1", 0), greet) as server, call(server) as wire:
        wire.handshake(INFO_HASH, PEER_ID)
    assert not server.started
