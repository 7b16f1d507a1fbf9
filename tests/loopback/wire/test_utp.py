"""Wires over uTP on loopback sockets: the same as over TCP, and what is uTP's own."""

from __future__ import annotations

import errno
import gc
import random
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from time import process_time
from typing import Any

import gevent
import pytest

import geventbt
from geventbt import Wire, limits
from geventbt.net import udp_offload
from geventbt.net.addresses import Address
from geventbt.net.network import DIRECT
from geventbt.net.udp_port import UdpPort
from geventbt.protocol.handshake import Handshake
from geventbt.protocol.message_objects import Have
from geventbt.protocol.messages import Buffer
from geventbt.protocol.utp import packets as p
from geventbt.protocol.utp.stream import UtpStream
from geventbt.wire.connect import open_wire
from geventbt.wire.transports.base import BULK_READ
from geventbt.wire.transports.utp import UtpTransport
from geventbt.wire.transports.utp_ports import OwnPorts, UtpPorts
from tests.free_port import free_port
from tests.loopback.harness import eventually

INFO_HASH, OURS, THEIRS = b"h" * 20, b"-GB0001-aaaaaaaaaaaa", b"-GB0001-bbbbbbbbbbbb"
PAYLOAD = random.Random(3).randbytes(1 << 20)


def seed(wire: Wire) -> None:
    wire.handshake(INFO_HASH, THEIRS)
    wire.bitfield(b"\x80")
    wire.unchoke()
    wire.serve(lambda piece, offset, length: memoryview(PAYLOAD)[offset : offset + length])


@pytest.fixture
def serve() -> Iterator[Callable[..., geventbt.PeerServer]]:
    """Makes servers on loopback that take uTP unless said."""
    with ExitStack() as stack:

        def make(handler: Any = seed, address: Any = ("127.0.0.1", 0), **options: Any) -> geventbt.PeerServer:
            return stack.enter_context(geventbt.listen(address, handler, **{"transport": "utp", **options}))

        yield make


def connect(server: geventbt.PeerServer, host: str = "127.0.0.1", **options: Any) -> Wire:
    return geventbt.connect((host, server.server_port), **{"transport": "utp", **options})


def fetch(wire: Wire) -> bytes:
    """All that a seed has."""
    wire.handshake(INFO_HASH, OURS)
    wire.interested()
    wire.wait_unchoked(timeout=10)
    return bytes(wire.read(0, 0, len(PAYLOAD)))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_wire_over_utp_is_used_as_one_over_tcp(serve, host):
    server = serve(address=(host, 0))
    wire = connect(server, host)
    assert fetch(wire) == PAYLOAD
    assert (wire.transport, wire.type, wire.remote_address) == ("utp", "outgoing", (host, server.server_port))
    (other,) = server.wires
    assert (other.transport, other.type) == ("utp", "incoming")
    wire.close()
    eventually(lambda: not server.wires)


@pytest.mark.parametrize(("policy", "outcome"), [("require", "rc4"), ("prefer", "rc4"), ("disable", "plaintext")])
def test_the_opening_is_encrypted_over_utp_as_over_tcp(serve, policy, outcome):
    server = serve(info_hashes=[INFO_HASH], encryption=policy)
    with connect(server, info_hash=INFO_HASH, encryption=policy) as wire:
        assert fetch(wire) == PAYLOAD
        assert wire.encryption == outcome


def test_plaintext_is_tried_again_over_utp_where_the_peer_does_not_encrypt(serve):
    server = serve(info_hashes=[INFO_HASH], encryption="disable")
    with connect(server, info_hash=INFO_HASH) as wire:
        assert fetch(wire) == PAYLOAD
        assert (wire.encryption, wire.transport) == ("plaintext", "utp")


def test_one_server_takes_both_on_one_port(serve):
    server = serve(transport="both")
    for transport in ("tcp", "utp"):
        with connect(server, transport=transport) as wire:
            assert fetch(wire) == PAYLOAD
            assert wire.transport == transport
            assert wire in server.wires or len(server.wires) == 1


def test_a_server_on_every_interface_takes_utp_over_both_families(serve):
    server = serve(address=0, transport="both")
    for host in ("127.0.0.1", "::1"):
        with connect(server, host) as wire:
            assert fetch(wire) == PAYLOAD


def test_tcp_is_refused_where_only_utp_is_taken(serve):
    server = serve()
    with pytest.raises(ConnectionRefusedError):
        connect(server, transport="tcp")


@pytest.mark.parametrize("taken", ["tcp", "utp"])
def test_both_finds_the_transport_that_the_peer_takes(serve, taken):
    with connect(serve(transport=taken), transport="both") as wire:
        assert wire.transport == taken
        assert fetch(wire) == PAYLOAD


def test_tcp_is_preferred_where_the_peer_takes_both(serve):
    with connect(serve(transport="both"), transport="both") as wire:
        assert wire.transport == "tcp"


class Starting:
    """A peer that begins to listen when uTP is tried: TCP has been refused by then. Opens the uTP connections to it.

    Args:
        listen: has it listen at an address.

    Attributes:
        opened: the uTP connections.
    """

    def __init__(self, listen: Callable[[Address], object]) -> None:
        self._listen = listen
        self._address = "127.0.0.1", free_port()
        self.opened: list[UtpTransport] = []

    def connect(self, address: Address, timeout: float) -> UtpTransport:
        self._listen(address)
        self.opened.append(OwnPorts().connect(address, timeout))
        return self.opened[-1]

    def reach(self, timeout: float = 10) -> Wire:
        return open_wire(self._address, ("tcp", "utp"), self, timeout=timeout)


def test_a_peer_that_was_starting_when_it_refused_tcp_is_reached_over_tcp(serve):
    peer = Starting(lambda address: serve(address=address, transport="both"))
    with peer.reach() as wire:
        assert wire.transport == "tcp"
        assert [opened.closed for opened in peer.opened] == [True]
        assert fetch(wire) == PAYLOAD


@contextmanager
def silent_over_tcp(server: geventbt.PeerServer, address: Address) -> Iterator[Address]:
    """An address that takes uTP for a server, and does not answer over TCP: its backlog is full."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(address)
        full.listen(0)
        for _ in range(3):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        stack.callback(UtpPorts(UdpPort(DIRECT, [full.getsockname()]), server).close)
        yield full.getsockname()
        eventually(lambda: not server.wires)


def test_utp_is_tried_soon_where_tcp_is_silent(serve, monkeypatch):
    monkeypatch.setattr(limits, "UTP_HEAD_START", 0.05)
    with (
        silent_over_tcp(serve(), ("127.0.0.1", 0)) as address,
        geventbt.connect(address, transport="both") as wire,
    ):
        assert wire.transport == "utp"
        assert fetch(wire) == PAYLOAD


def test_tcp_that_is_silent_after_it_was_refused_leaves_utp(serve, monkeypatch):
    monkeypatch.setattr(limits, "UTP_HEAD_START", 0.05)
    with ExitStack() as stack:
        server = serve()
        peer = Starting(lambda address: stack.enter_context(silent_over_tcp(server, address)))
        with peer.reach() as wire:
            assert wire.transport == "utp"
            assert fetch(wire) == PAYLOAD


def test_nothing_stays_open_when_the_time_is_over_while_tcp_is_tried_again(serve):
    with ExitStack() as stack:
        server = serve()
        peer = Starting(lambda address: stack.enter_context(silent_over_tcp(server, address)))
        with pytest.raises(geventbt.WireTimeout):
            peer.reach(timeout=limits.UTP_HEAD_START / 2)
        eventually(lambda: [opened.closed for opened in peer.opened] == [True])


def test_nothing_that_listens_is_an_error_at_once():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        address = closed.getsockname()
    with pytest.raises(ConnectionRefusedError):
        geventbt.connect(address, transport="utp")


def test_a_peer_that_does_not_answer_is_a_timeout():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with pytest.raises(geventbt.WireTimeout, match=r"uTP|within"):
            geventbt.connect(silent.getsockname(), transport="utp", timeout=0.1)


@pytest.mark.parametrize("value", ["udp", "", None])
def test_an_unknown_transport_is_an_error(value):
    with pytest.raises(ValueError, match="transport"):
        geventbt.connect(("127.0.0.1", 1), transport=value)
    with pytest.raises(ValueError, match="transport"):
        geventbt.listen(0, transport=value)


def test_without_the_systems_help_packets_go_one_by_one(serve, monkeypatch):
    monkeypatch.setattr(udp_offload, "enable", lambda sock, **kind: False)
    with connect(serve()) as wire:
        assert fetch(wire) == PAYLOAD


def test_a_system_that_refuses_many_at_once_gets_them_one_by_one(serve, monkeypatch):
    monkeypatch.setattr(udp_offload, "segments", lambda size: [(socket.IPPROTO_UDP, 103, b"")])
    with connect(serve()) as wire:
        assert fetch(wire) == PAYLOAD


def test_what_was_sent_before_a_close_arrives(serve):
    got: list[int] = []

    def note(wire: Wire) -> None:
        wire.handshake(INFO_HASH, THEIRS)
        got.extend(message.index for message in wire.messages() if isinstance(message, Have))

    server = serve(note)
    wire = connect(server)
    wire.handshake(INFO_HASH, OURS)
    for index in range(500):
        wire.have(index)
    wire.close()
    eventually(lambda: got == list(range(500)))
    eventually(lambda: not server.wires)


class Collector:
    """A delegate that keeps what comes."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False
        self.released = False

    def on_data(self, data: memoryview) -> int:
        self.data += data
        return BULK_READ

    def on_end(self, error: Exception | None) -> None:
        self.ended = True

    def on_drained(self) -> None:
        """Nothing to do."""

    def on_released(self) -> None:
        self.released = True

    def take_outgoing(self) -> list[Buffer]:
        return []


def test_connections_that_are_over_leave_no_stream(serve):
    def streams() -> int:
        gc.collect()
        return sum(isinstance(each, UtpStream) for each in gc.get_objects())

    before, server = streams(), serve()
    for _ in range(5):
        with connect(server) as wire:
            wire.handshake(INFO_HASH, OURS)
    del wire
    eventually(lambda: streams() <= before)


def test_a_transport_that_is_paused_gives_nothing_and_makes_the_peer_wait(serve, monkeypatch):
    monkeypatch.setattr(limits, "UTP_ROOM", limits.UTP_MIN_ROOM)

    def flood(wire: Wire) -> None:
        wire.handshake(INFO_HASH, THEIRS)
        for index in range(20_000):
            wire.have(index)
        wire.wait_for("close")

    server = serve(flood)
    ports = UtpPorts(UdpPort.at(DIRECT, "127.0.0.1", 0))
    transport = ports.connect(("127.0.0.1", server.server_port), 5)
    collector = Collector()
    transport.attach(collector)
    transport.pause()
    transport.write(Handshake(INFO_HASH, OURS).to_bytes())
    eventually(lambda: any(wire.queued > 1.5 * limits.UTP_ROOM for wire in server.wires))
    assert not collector.data
    transport.resume()
    eventually(lambda: len(collector.data) >= 20_000 * 9)
    transport.close()
    assert collector.released
    eventually(lambda: not server.wires)
    ports.close()


def test_a_peer_that_never_reads_ends_the_wire(serve, monkeypatch):
    monkeypatch.setattr(limits, "UTP_ROOM", limits.UTP_MIN_ROOM)
    monkeypatch.setattr(limits, "HIGH_WATER", 100_000)
    monkeypatch.setattr(limits, "CONTROL_QUEUE", 100_000)
    reasons: list[Exception | None] = []

    def flood(wire: Wire) -> None:
        wire.handshake(INFO_HASH, THEIRS)
        with suppress(geventbt.WireClosed):
            while True:
                for index in range(1000):
                    wire.have(index)
                gevent.sleep(0)
        reasons.append(wire.close_reason)

    server = serve(flood)
    ports = UtpPorts(UdpPort.at(DIRECT, "127.0.0.1", 0))
    transport = ports.connect(("127.0.0.1", server.server_port), 5)
    transport.attach(Collector())
    transport.pause()
    transport.write(Handshake(INFO_HASH, OURS).to_bytes())
    eventually(lambda: reasons)
    assert "the peer does not read" in str(reasons[0])
    transport.close()
    ports.close()


def test_a_server_that_is_full_refuses_over_utp_as_well(serve):
    server = serve(max_connections=1)
    with connect(server) as first:
        first.handshake(INFO_HASH, OURS)
        second = connect(server)
        with pytest.raises((geventbt.WireClosed, ConnectionError)):
            second.handshake(INFO_HASH, OURS)


def test_a_pool_that_is_full_makes_peers_wait(serve):
    server = serve(spawn=1)
    first = connect(server)
    first.handshake(INFO_HASH, OURS)
    second = connect(server)
    waiting = gevent.spawn(second.handshake, INFO_HASH, OURS)
    gevent.sleep(0.1)
    assert not waiting.ready()
    first.close()
    waiting.get(timeout=10)
    second.close()


def test_the_dht_shares_the_port(serve):
    server = serve(address=("127.0.0.1", 0), transport="both")
    with (
        geventbt.DHT(server.server_port, "127.0.0.1", routers=()) as dht,
        geventbt.DHT(0, "127.0.0.1", routers=(), nodes=[("127.0.0.1", server.server_port)]) as other,
    ):
        assert dht.port == server.server_port
        other.wait_ready(10)
        with connect(server) as wire:
            assert fetch(wire) == PAYLOAD
        with pytest.raises(OSError) as taken:
            geventbt.DHT(server.server_port, "127.0.0.1", routers=())
        assert taken.value.errno == errno.EADDRINUSE
        server.stop()
        # The other one still has it.
        assert other.scrape(INFO_HASH) is not None
        assert not dht.is_closed


def test_a_port_of_which_udp_is_taken_is_used_by_tcp_alone(serve):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        server = serve(address=other.getsockname(), transport="both")
        with connect(server, transport="tcp") as wire:
            assert fetch(wire) == PAYLOAD
        with pytest.raises(OSError, match="in use"):
            serve(address=("127.0.0.1", other.getsockname()[1]), transport="utp")


def test_forged_requests_to_connect_cost_little_and_honest_peers_get_through(serve):
    server = serve()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = process_time()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
        for number in range(10_000):
            forger.sendto(p.pack(p.SYN, number, 0, 0, 0, number, 0), ("127.0.0.1", server.server_port))
            if not number % 100:
                gevent.sleep(0)
        with connect(server) as wire:
            assert fetch(wire) == PAYLOAD
    assert process_time() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024
    assert len(server.wires) <= 1


def test_garbage_on_the_port_disturbs_nobody(serve):
    server = serve()
    generator = random.Random(1)
    with connect(server) as wire, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        for size in [*range(60), 1400, 1400, 60_000]:
            for first in (*p.FIRST_BYTES, 0x64, 0xFF):
                data = bytes((first, 0)) + generator.randbytes(size)
                other.sendto(data[: max(1, size)], ("127.0.0.1", server.server_port))
        other.sendto(b"", ("127.0.0.1", server.server_port))
        assert fetch(wire) == PAYLOAD
