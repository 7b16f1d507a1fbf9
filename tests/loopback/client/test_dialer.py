"""Outgoing connections of one torrent: room, handshakes, failures, and an end in the middle."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from time import monotonic
from typing import Any

import gevent
import pytest

import geventbt
from geventbt import Wire, limits
from geventbt.client.context import ClientContext
from geventbt.client.options import ClientOptions
from geventbt.client.peers.known_peers import KnownPeers, Source
from geventbt.client.swarm.dialer import Dialer
from geventbt.errors import HandshakeError, WireClosed
from geventbt.net.addresses import Address
from geventbt.net.network import DIRECT
from geventbt.net.udp_port import UdpPort
from geventbt.wire.connect import open_wire
from geventbt.wire.transports.utp_ports import UtpPorts
from tests.free_port import free_port
from tests.loopback.harness import eventually, gevent_listener

INFO_HASH = b"i" * 20


class Owner:
    """Shakes hands, and keeps the connections."""

    def __init__(self) -> None:
        self.room = True
        self.refuses = False
        self.gives_way = False
        self.wires: dict[Address, Wire] = {}
        self.refused: list[Wire] = []

    def has_room(self) -> bool:
        return self.room

    def make_room(self) -> bool:
        self.room = self.room or self.gives_way
        return self.gives_way

    def shake_hands(self, wire: Wire, info_hash: bytes) -> None:
        if self.refuses:
            self.refused.append(wire)
            raise HandshakeError("refused")
        wire.handshake(INFO_HASH, b"o" * 20)

    def on_connected(self, wire: Wire, address: Address) -> None:
        self.wires[address] = wire


class Dialling:
    """A dialer with its owner, and the addresses that it knows."""

    def __init__(self) -> None:
        self.owner = Owner()
        self.known = KnownPeers()
        self.connections = 0
        options = ClientOptions(encryption="disable", max_connections=1)
        self.context = ClientContext(options, lambda: self.connections)
        self.dialer = Dialer(self.context, INFO_HASH, self.known, self.owner)

    def add(self, address: Address) -> None:
        self.known.add(address, Source.USER, monotonic())
        self.dialer.wake()

    def is_waiting_for_room(self) -> bool:
        """Whether an address is due, and not connected to, after the dialer has had its turn."""
        gevent.idle()
        return self.dialer.dialling == 0 and self.known.next_due(0.0) is not None and not self.owner.wires

    def close(self) -> None:
        self.dialer.stop()
        for wire in self.owner.wires.values():
            wire.close()


@pytest.fixture
def dialling() -> Iterator[Dialling]:
    made = Dialling()
    yield made
    made.close()


def serve(wire: Wire) -> None:
    wire.handshake(wire.wait_handshake().info_hash, b"t" * 20)
    wire.wait_for("close")


@pytest.fixture
def peer() -> Iterator[Address]:
    """The address of a peer that shakes hands."""
    with geventbt.listen(("127.0.0.1", 0), serve) as server:
        yield "127.0.0.1", server.server_port


@pytest.fixture
def listener() -> Iterator[Any]:
    """A socket to which a connection can be opened, and that never answers."""
    with gevent_listener() as listener:
        yield listener


def test_a_known_peer_is_connected_to_and_handed_over_after_the_handshake(dialling, peer):
    dialling.add(peer)
    dialling.dialer.start()
    eventually(lambda: peer in dialling.owner.wires)
    assert dialling.owner.wires[peer].peer_id == b"t" * 20
    assert dialling.dialer.is_idle()
    # Connected: there is nothing to try, and a peer to hope for.
    assert dialling.known.next(monotonic()) is None
    assert not dialling.dialer.is_exhausted(1)


def test_an_address_that_becomes_known_later_is_connected_to(dialling, peer):
    dialling.dialer.start()
    assert dialling.dialer.is_idle()
    dialling.add(peer)
    assert not dialling.dialer.is_idle()
    eventually(lambda: peer in dialling.owner.wires)


def test_a_peer_that_cannot_be_reached_is_retried_later(dialling, listener):
    address = listener.getsockname()
    listener.close()
    dialling.add(address)
    dialling.dialer.start()
    eventually(lambda: isinstance(dialling.dialer.last_failure, OSError))
    assert dialling.owner.wires == {}
    due = dialling.known.next_due(monotonic())
    assert due is not None
    assert due > monotonic()
    assert dialling.dialer.is_exhausted(1)


def test_a_connection_without_a_handshake_is_closed_and_counts_as_a_failure(dialling, peer):
    dialling.owner.refuses = True
    dialling.add(peer)
    dialling.dialer.start()
    eventually(lambda: isinstance(dialling.dialer.last_failure, HandshakeError))
    assert [wire.closed for wire in dialling.owner.refused] == [True]
    assert dialling.owner.wires == {}
    assert dialling.known.next(monotonic()) is None


def test_a_peer_that_closes_during_the_handshake_counts_as_a_failure(dialling, listener):
    dialling.add(listener.getsockname())
    dialling.dialer.start()
    accepted, _ = listener.accept()
    accepted.close()
    eventually(lambda: isinstance(dialling.dialer.last_failure, (WireClosed, OSError)))
    assert dialling.owner.wires == {}


def test_nothing_is_connected_to_before_the_owner_has_room(dialling, peer):
    dialling.owner.room = False
    dialling.add(peer)
    dialling.dialer.start()
    assert dialling.is_waiting_for_room()
    dialling.owner.room = True
    dialling.dialer.wake()
    eventually(lambda: peer in dialling.owner.wires)


def test_nothing_is_connected_to_beyond_the_clients_connections(dialling, peer):
    dialling.connections = 1
    dialling.add(peer)
    dialling.dialer.start()
    assert dialling.is_waiting_for_room()
    # Another torrent of the client has closed a connection: that is noticed without a call.
    dialling.connections = 0
    eventually(lambda: peer in dialling.owner.wires)


def test_a_place_that_was_made_free_is_used_at_once(dialling, peer, monkeypatch):
    monkeypatch.setattr("geventbt.client.swarm.dialer._MAX_WAIT", 3600.0)
    dialling.owner.room = False
    dialling.owner.gives_way = True
    dialling.add(peer)
    dialling.dialer.start()
    eventually(lambda: peer in dialling.owner.wires)


def test_a_stop_gives_up_the_connections_that_are_being_made(dialling, listener):
    address = listener.getsockname()
    dialling.add(address)
    dialling.dialer.start()
    accepted, _ = listener.accept()
    with accepted:
        assert dialling.dialer.dialling == 1
        dialling.dialer.stop()
        assert dialling.dialer.dialling == 0
        assert dialling.dialer.last_failure is None
        # The peer is not to blame: it may be tried at once.
        assert dialling.known.next(monotonic()) == address


@pytest.mark.parametrize("shortage", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS])
def test_for_want_of_a_descriptor_the_same_peer_is_tried_again_and_not_blamed(dialling, peer, monkeypatch, shortage):
    tries = []

    def connect(address: Address, *ways: Any, **options: Any) -> Wire:
        tries.append(address)
        if len(tries) < 8:
            raise OSError(shortage, "none left")
        return open_wire(address, *ways, **options)

    monkeypatch.setattr("geventbt.client.swarm.dialer.open_wire", connect)
    monkeypatch.setattr(limits, "SHORTAGE_PAUSE", 0.05)
    dialling.add(peer)
    dialling.dialer.start()
    started = monotonic()
    eventually(lambda: dialling.dialer.last_failure)
    assert not dialling.dialer.is_exhausted(1), "it may yet be connected to"
    eventually(lambda: peer in dialling.owner.wires)
    # A peer that fails by its own fault is not tried as often, and not as soon.
    assert len(tries) == 8 > limits.CONNECT_FAILURES
    assert monotonic() - started >= 7 * limits.SHORTAGE_PAUSE


def test_an_unexpected_error_is_a_failed_try_and_logged_once(dialling, monkeypatch, caplog):
    def connect(address: Address, *ways: Any, **options: Any) -> Wire:
        raise ArithmeticError("unexpected")

    monkeypatch.setattr("geventbt.client.swarm.dialer.open_wire", connect)
    for port in (1, 2, 3):
        dialling.add(("127.0.0.1", port))
    dialling.dialer.start()
    eventually(lambda: dialling.dialer.is_exhausted(1))
    assert [record.levelname for record in caplog.records].count("ERROR") == 1


def test_a_peer_that_was_reached_over_utp_is_reached_over_tcp_as_soon_as_it_takes_that(dialling):
    address = "127.0.0.1", free_port()
    dialling.add(address)
    for taken, used in [("utp", "utp"), ("both", "tcp")]:
        with geventbt.listen(address, serve, transport=taken):
            dialling.dialer.start()
            eventually(lambda: address in dialling.owner.wires)
            wire = dialling.owner.wires.pop(address)
            assert wire.transport == used
            wire.close()
            dialling.dialer.stop()
            dialling.known.released(address, monotonic())


@pytest.mark.parametrize("encryption", ["disable", "require"])
@pytest.mark.parametrize("is_reset", [True, False], ids=["reset", "closed"])
def test_a_peer_that_hangs_up_on_tcp_is_tried_over_utp_at_once(dialling, listener, encryption, is_reset):
    dialling.context.encryption = encryption

    def hang_up() -> None:
        while True:
            sock, _ = listener.accept()
            if is_reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                # Or what comes afterwards resets it.
                while not sock.recv(4096):
                    pass
            sock.close()

    address = listener.getsockname()
    with geventbt.listen(("127.0.0.1", 0), serve, transport="utp", info_hashes=[INFO_HASH]) as server:
        ports = UtpPorts(UdpPort(DIRECT, [address]), server)
        hanging_up = gevent.spawn(hang_up)
        dialling.add(address)
        dialling.dialer.start()
        eventually(lambda: address in dialling.owner.wires)
        assert dialling.owner.wires[address].transport == "utp"
        hanging_up.kill()
        dialling.owner.wires.pop(address).close()
        eventually(lambda: not server.wires)
        ports.close()


def test_a_peer_that_is_introduced_is_connected_to_over_utp_alone_and_at_once(dialling, listener):
    address = listener.getsockname()
    with geventbt.listen(("127.0.0.1", 0), serve, transport="utp") as server:
        ports = UtpPorts(UdpPort(DIRECT, [address]), server)
        dialling.dialer.start()
        dialling.known.add(address, Source.HOLEPUNCH, monotonic(), reported_by=address[0])
        dialling.dialer.connect_now(address)
        # Being connected to, it is not connected to once more.
        dialling.dialer.connect_now(address)
        assert dialling.dialer.dialling == 1
        eventually(lambda: address in dialling.owner.wires)
        assert dialling.owner.wires.pop(address).transport == "utp"
        ports.close()


def test_nothing_is_connected_to_at_once_without_room_or_after_the_end(dialling, peer):
    dialling.known.add(peer, Source.HOLEPUNCH, monotonic(), reported_by=peer[0])
    dialling.dialer.connect_now(peer)
    dialling.owner.room = False
    dialling.dialer.start()
    dialling.dialer.connect_now(peer)
    assert dialling.dialer.dialling == 0
