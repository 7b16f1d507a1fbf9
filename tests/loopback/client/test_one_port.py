"""DHT, uTP and UDP trackers of a client share one port, and through a proxy one association."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gevent
import pytest

import geventbt
from geventbt import limits
from geventbt.discovery.trackers import udp
from geventbt.discovery.trackers.tracker import announce_from
from geventbt.discovery.trackers.udp_port import TrackerPort
from geventbt.errors import NoPeersError
from geventbt.net.datagrams import DatagramConnection
from geventbt.net.http.policy import AddressPolicy
from geventbt.net.network import DIRECT, Network
from geventbt.net.resolve import Endpoint
from geventbt.net.udp_port import UdpPort
from tests.free_port import free_port
from tests.loopback.fake_trackers import FakeHttp, FakeUdp, bencoded, udp_answer
from tests.loopback.harness import eventually
from tests.loopback.proxy_server import ProxyServer
from tests.loopback.world import World, address


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeUdp]:
    monkeypatch.setattr(udp, "connection_ids", udp.ConnectionIds())
    monkeypatch.setattr(limits, "UDP_RETRANSMIT", 0.05)
    server = FakeUdp(udp_answer)
    yield server
    server.close()


@pytest.fixture
def proxy() -> Iterator[Callable[..., ProxyServer]]:
    made: list[ProxyServer] = []

    def make(**options: Any) -> ProxyServer:
        made.append(ProxyServer(**options))
        return made[-1]

    yield make
    for server in made:
        server.close()


def announced(client: geventbt.Client, torrent: geventbt.Torrent, world: World, tracker: FakeUdp) -> None:
    """Add a torrent, and wait until the tracker counts it."""
    active = client.add(torrent, world.folder / "out", trackers=[tracker.url])
    eventually(lambda: is_registered(active))


def is_registered(active: geventbt.ActiveTorrent) -> bool:
    """Whether all of its trackers count it."""
    return bool(active.trackers) and all(status.registered for status in active.trackers.values())


# ---------------------------------------------------------------------- directly


@pytest.mark.parametrize("transport", ["tcp", "both", "utp"])
@pytest.mark.parametrize("dht", [True, False])
def test_udp_trackers_are_asked_from_the_port_that_peers_connect_to(world, tracker, transport, dht):
    with world.client(transport=transport, dht=dht, lsd=False) as client:
        announced(client, world.torrent(), world, tracker)
        assert client.dht is None or client.dht.port == client.port
    assert set(tracker.senders) == {("127.0.0.1", client.port)}
    # With the "stopped" at the end.
    assert len(tracker.senders) >= 3


def test_trackers_over_http_are_asked_from_the_address_that_the_client_listens_on(world):
    seen: list[str] = []

    def answer(sock: Any) -> None:
        seen.append(sock.getpeername()[0])
        sock.sendall(bencoded(interval=900, peers=b""))

    servers = [FakeHttp({"": answer}), FakeHttp({"": answer}, "::1")]
    with geventbt.Client(host="127.0.0.9", dht=False, lsd=False) as client:
        trackers = [server.url() for server in servers]
        torrent = world.torrent()
        active = client.add(torrent, world.folder / "out", trackers=trackers[:1])
        other = client.add(world.torrent("other"), world.folder / "out", trackers=trackers[1:])
        eventually(lambda: is_registered(active) and is_registered(other))
    for server in servers:
        server.close()
    assert set(seen) == {"127.0.0.9", "::1"}


@pytest.mark.parametrize(
    ("source", "host", "used"),
    [
        ("127.0.0.9", "127.0.0.1", "127.0.0.9"),
        ("127.0.0.9", "93.184.216.34", None),
        ("192.168.1.9", "93.184.216.34", "192.168.1.9"),
        ("192.168.1.9", "2001:db8::1", None),
        (None, "127.0.0.1", None),
    ],
)
def test_what_would_not_get_to_a_tracker_is_not_sent_from_there(monkeypatch, source, host, used):
    policies: list[AddressPolicy] = []

    def fetch(url: str, *, policy: AddressPolicy, **options: Any) -> bytes:
        policies.append(policy)
        return b"d8:intervali900ee"

    monkeypatch.setattr("geventbt.discovery.trackers.tracker.fetch", fetch)
    url = f"http://[{host}]/announce" if ":" in host else f"http://{host}/announce"
    request = geventbt.AnnounceRequest(bytes(20), bytes(20), 6881)
    announce_from(DIRECT, url, request, source=source)
    assert [policy.source for policy in policies] == [used]


def test_a_client_that_does_not_listen_asks_from_the_port_of_its_dht(world, tracker):
    with geventbt.Client(None, host="127.0.0.1", lsd=False) as client:
        announced(client, world.torrent(), world, tracker)
        assert client.dht is not None
        assert set(tracker.senders) == {("127.0.0.1", client.dht.port)}


def test_a_client_listens_on_the_port_of_the_dht_that_it_is_given(world, tracker):
    # Of TCP, too: another program may have the one of the same number as a port of UDP that the system chooses.
    with geventbt.DHT(free_port(), host="127.0.0.1", routers=()) as dht:
        first, second = (world.client(dht=dht, lsd=False) for _ in range(2))
        assert first.port == dht.port
        assert second.port not in (None, 0, dht.port)
        announced(second, world.torrent(), world, tracker)
        assert set(tracker.senders) == {("127.0.0.1", second.port)}


def test_questions_at_one_time_each_get_their_own_answer(world, tracker):
    answered = {}

    def answer(packet: bytes) -> list[bytes]:
        if packet[8:12] == bytes(4):
            return udp_answer(packet)
        # The peer's port says which torrent was asked for.
        port = answered.setdefault(packet[16:36], 1000 + len(answered))
        return udp_answer(packet, peers=b"\1\2\3\4" + port.to_bytes(2, "big"))

    tracker.answer = answer
    port = TrackerPort(UdpPort.at(DIRECT, "127.0.0.1", 0))
    endpoint = Endpoint(socket.AF_INET, ("127.0.0.1", tracker.port))
    hashes = [bytes([number]) * 20 for number in range(50)]
    requests = [geventbt.AnnounceRequest(info_hash, bytes(20), 6881) for info_hash in hashes]
    asking = [gevent.spawn(udp.announce, [endpoint], request, timeout=5, udp=port) for request in requests]
    found = [greenlet.get().peers for greenlet in asking]
    assert found == [(("1.2.3.4", answered[info_hash]),) for info_hash in hashes]
    assert len(set(tracker.senders)) == 1


def test_answers_of_others_are_left_out(tracker):
    port = TrackerPort(UdpPort.at(DIRECT, "127.0.0.1", 0))
    question = asked(port, tracker)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        eventually(lambda: tracker.senders)
        for answer in (bytes(4) + b"good" + b"of another", b"\0\0\0\1evil" + bytes(8), b"\0", bytes(3000)):
            other.sendto(answer, tracker.senders[0])
    tracker.answer = lambda packet: [b"\0\0\0\0evil", b"\0\0\0\0good", *[b"\0\0\0\0good"] * 2 * limits.UDP_ANSWERS]
    question.send(bytes(12) + b"good")
    question.settimeout(5)
    assert question.recv(1000) == b"\0\0\0\0good"
    question.close()


def asked(port: TrackerPort, tracker: FakeUdp) -> DatagramConnection:
    """A question that has been sent, and is not answered."""
    tracker.answer = lambda packet: []
    question = port.connect_udp(Endpoint(socket.AF_INET, ("127.0.0.1", tracker.port)), 5)
    question.send(bytes(12) + b"good")
    return question


def test_a_tracker_that_is_not_there_is_known_at_once():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        gone = Endpoint(socket.AF_INET, sock.getsockname())
    port = TrackerPort(UdpPort.at(DIRECT, "127.0.0.1", 0))
    question = port.connect_udp(gone, 5)
    question.send(bytes(16))
    question.settimeout(5)
    with pytest.raises(ConnectionRefusedError):
        question.recv(100)
    question.close()


def test_a_tracker_of_the_other_family_gets_a_socket_of_its_own(tracker):
    server = FakeUdp(udp_answer, "::1")
    port = TrackerPort(UdpPort.at(DIRECT, "127.0.0.1", 0))
    request = geventbt.AnnounceRequest(bytes(20), bytes(20), 6881)
    try:
        endpoint = Endpoint(socket.AF_INET6, ("::1", server.port, 0, 0))
        assert udp.announce([endpoint], request, timeout=5, udp=port).seeders == 3
    finally:
        server.close()


# ---------------------------------------------------------------------- through a proxy


def test_through_a_proxy_all_have_one_association(world, tracker, proxy):
    server = proxy()
    torrent = world.torrent()
    seed = world.seed(torrent, transport="utp")
    with (
        geventbt.DHT(host="127.0.0.1", routers=()) as far,
        geventbt.Client(dht=True, transport="utp", proxy=server.url()) as client,
    ):
        assert client.dht is not None
        client.dht.add_node(("127.0.0.1", far.port))
        active = client.add(torrent, world.folder / "out", peers=[address(seed)], trackers=[tracker.url])
        assert active.wait(20)
        eventually(lambda: is_registered(active))
        client.dht.wait_ready(10)
    assert (world.folder / "out" / "data" / "a").read_bytes() == (world.origin / "data" / "a").read_bytes()
    assert len(set(tracker.senders)) == 1
    assert {address(seed), ("127.0.0.1", tracker.port), ("127.0.0.1", far.port)} <= set(server.asked)
    # The DHT may have asked for one over IPv6 as well, if it had anything to send there.
    assert len(server.associations) == 1


def test_clients_that_share_a_node_and_a_proxy_have_an_association_each(world, tracker, proxy):
    server = proxy()
    torrent = world.torrent()
    seed = address(world.seed(torrent, transport="utp"))
    network = Network(proxy=server.url())
    options: dict[str, Any] = {"network": network, "transport": "utp"}
    with (
        geventbt.DHT(routers=(), network=network) as dht,
        geventbt.Client(dht=dht, **options) as first,
        geventbt.Client(dht=dht, **options) as second,
    ):
        for name, client in (("1", first), ("2", second)):
            active = client.add(torrent, world.folder / name, peers=[seed], trackers=[tracker.url])
            assert active.wait(20)
            eventually(partial(is_registered, active))
    assert len(server.associations) == 2


def test_a_wire_over_utp_goes_through_a_proxy(world, proxy):
    server = proxy()
    torrent = world.torrent()
    seed = address(world.seed(torrent, transport="utp"))
    with geventbt.connect(
        seed, transport="utp", network=Network(proxy=server.url()), info_hash=torrent.info_hash
    ) as wire:
        wire.handshake(torrent.info_hash, geventbt.new_peer_id())
        assert (wire.transport, wire.remote_address) == ("utp", seed)
    assert set(server.asked) == {seed}


def test_uTP_needs_the_address_of_a_peer_behind_a_proxy(proxy):
    network = Network(proxy=proxy().url())
    with pytest.raises(OSError, match="over uTP: only a proxy knows"):
        geventbt.connect(("peer.test", 6881), transport="utp", network=network)


def test_where_an_association_has_ended_peers_are_left_at_once_and_the_next_come_by_another(world, proxy, monkeypatch):
    monkeypatch.setattr(limits, "PROXY_RETRY", 0.01)
    monkeypatch.setattr(limits, "MAX_PROXY_RETRY", 0.01)
    server = proxy()
    torrent = world.torrent()
    slow = address(world.seed(torrent, transport="utp", limit_up=800_000))
    with geventbt.Client(dht=False, transport="utp", proxy=server.url()) as client:
        active = client.add(torrent, world.folder / "out", peers=[slow])
        eventually(lambda: active.progress.done > 0)
        server.associations[0].close()
        eventually(lambda: not active.peers)
        # The first one still takes us for connected.
        active.add_peers([address(world.seed(torrent, transport="utp"))])
        assert active.wait(20)
    assert len(server.associations) == 2


def test_without_datagrams_a_download_goes_over_TCP_and_says_so_once(world, proxy, caplog, monkeypatch):
    monkeypatch.setattr(limits, "PROXY_RETRY", 0.01)
    monkeypatch.setattr(limits, "UTP_HEAD_START", 0.0)
    caplog.set_level(logging.INFO)
    torrent = world.torrent()
    seeds = world.seeds(torrent, 3)
    with geventbt.Client(lsd=False, proxy=proxy(relays=False).url()) as client:
        assert client.dht is not None
        client.dht.add_node(("127.0.0.1", 1))
        active = client.add(torrent, world.folder / "out", peers=seeds)
        assert active.wait(20)
    said = [record.getMessage() for record in caplog.records if "no datagrams" in record.getMessage()]
    assert len(said) == 1
    assert "does not know this command" in said[0]


def test_over_utp_alone_without_datagrams_a_download_fails_with_the_reason(world, proxy):
    torrent = world.torrent()
    seed = address(world.seed(torrent, transport="utp"))
    with pytest.raises(NoPeersError, match="does not know this command"):
        geventbt.download(
            torrent, world.folder / "out", peers=[seed], proxy=proxy(relays=False).url(), dht=False, transport="utp"
        )


def test_a_client_that_cannot_open_all_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    with monkeypatch.context() as patch:
        patch.setenv("GEVENTBT_DHT_ROUTERS", "nonsense")
        with pytest.raises(ValueError, match="nonsense") as caught:
            geventbt.Client(port, host="127.0.0.1")
    # With the error in hand nothing of the client has been collected yet.
    assert caught.value
    geventbt.Client(port, host="127.0.0.1", dht=False, lsd=False, port_mapping=False).close()
