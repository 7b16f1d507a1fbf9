"""Everything through a proxy, over sockets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

import geventbt
from geventbt import limits
from geventbt.discovery.trackers.announce import AnnounceRequest
from geventbt.errors import FetchError, NoPeersError, ProxyError, TrackerError
from geventbt.net.http.fetch import fetch
from geventbt.net.network import Network
from tests.loopback.fake_trackers import FakeHttp, FakeUdp, bencoded, ok, redirect, udp_answer
from tests.loopback.harness import INFO_HASH, OUR_ID, PEER_ID, eventually, gevent_listener
from tests.loopback.proxy_server import ProxyServer

REQUEST = AnnounceRequest(bytes(20), bytes(20), 6881)
KINDS = pytest.mark.parametrize("kind", ["socks5", "http"])


@pytest.fixture
def made() -> Iterator[list[Any]]:
    """What is to be closed at the end."""
    things: list[Any] = []
    yield things
    for thing in things:
        thing.close()


@pytest.fixture
def proxy(made: list[Any]) -> Callable[..., ProxyServer]:
    def make(**options: Any) -> ProxyServer:
        made.append(ProxyServer(names={"tracker.test": "127.0.0.1"}, **options))
        server: ProxyServer = made[-1]
        return server

    return make


@pytest.fixture(autouse=True)
def no_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name reaches the resolver of the system."""

    def refuse(*args: Any) -> None:
        pytest.fail(f"looked up: {args}")

    monkeypatch.setattr("geventbt.net.resolve._threads.call", refuse)


class Kept:
    """Keeps the datagrams that come."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, tuple[str, int]]] = []

    def receive(self, data: bytes, address: tuple[str, int]) -> None:
        self.got.append((data, address))

    def drained(self) -> None:
        pass


@KINDS
def test_a_peer_through_a_proxy_has_its_own_address(proxy, serving, kind):
    server = serving(lambda wire: wire.handshake(INFO_HASH, PEER_ID))
    network = Network(proxy=proxy(login=("me", "p@ss")).url(kind).replace("p@ss", "p%40ss"))
    wire = geventbt.connect(("127.0.0.1", server.server_port), network=network, info_hash=INFO_HASH)
    assert wire.handshake(INFO_HASH, OUR_ID).peer_id == PEER_ID
    assert wire.remote_address == ("127.0.0.1", server.server_port)
    wire.close()
    by_name = geventbt.connect(("tracker.test", server.server_port), network=network, encryption="disable")
    assert by_name.handshake(INFO_HASH, OUR_ID).peer_id == PEER_ID
    assert by_name.remote_address == ("", 0)
    by_name.close()


@KINDS
def test_names_are_looked_up_by_the_proxy(proxy, made, kind):
    web = FakeHttp({"/": ok(b"hello"), "/moved": redirect("/")})
    made.append(web)
    server = proxy()
    network = Network(proxy=server.url(kind))
    assert fetch(web.url("/moved", "tracker.test"), network=network) == b"hello"
    assert set(server.asked) == {("tracker.test", web.port)}
    with pytest.raises(FetchError, match="not the name of a host"):
        fetch("http://not_a..name/", network=network)


def test_a_redirect_to_this_machine_is_refused_behind_a_proxy_as_well(proxy, made):
    web = FakeHttp({"/": redirect("http://169.254.169.254/secret")})
    made.append(web)
    for host in ("127.0.0.1", "tracker.test"):
        with pytest.raises(FetchError, match="another kind of address"):
            fetch(web.url("/", host), network=Network(proxy=proxy().url()))


def test_trackers_over_http_and_udp(proxy, made):
    made += [FakeHttp({"": bencoded(interval=900, peers=b"\x01\x02\x03\x04\x1a\xe1")}), FakeUdp(udp_answer)]
    http, udp = made
    server = proxy()
    network = Network(proxy=server.url())
    assert geventbt.announce(http.url(host="tracker.test"), REQUEST, network=network).peers == (("1.2.3.4", 6881),)
    url = f"udp://tracker.test:{udp.port}/announce"
    assert geventbt.announce(url, REQUEST, network=network).interval == 1800
    assert geventbt.announce(udp.url, REQUEST, network=network).seeders == 3
    assert geventbt.scrape(url, [bytes(20)], network=network)[bytes(20)].seeders == 1
    assert ("tracker.test", udp.port) in server.asked


@pytest.mark.parametrize(
    ("kind", "options", "message"), [("http", {}, "carries no UDP"), ("socks5", {"relays": False}, "this command")]
)
def test_without_udp_a_udp_tracker_fails_and_gets_no_packet(proxy, made, kind, options, message):
    udp = FakeUdp(udp_answer)
    made.append(udp)
    with pytest.raises(TrackerError, match=message):
        geventbt.announce(udp.url, REQUEST, network=Network(proxy=proxy(**options).url(kind)), timeout=5)
    assert udp.packets == []


def test_the_dht_asks_through_the_proxy_and_takes_no_queries(proxy, made):
    with geventbt.DHT(host="127.0.0.1", routers=()) as far:
        server = proxy()
        network = Network(proxy=server.url())
        with geventbt.DHT(routers=(), nodes=[("127.0.0.1", far.port)], network=network) as near:
            near.wait_ready(10)
            assert near.port == 0
            assert near.status().nodes == 1
        assert ("127.0.0.1", far.port) in server.asked
        assert far.status().nodes == 0


def test_the_relay_is_asked_for_again_after_it_has_ended(proxy, made, monkeypatch):
    monkeypatch.setattr(limits, "PROXY_RETRY", 0.05)
    udp = FakeUdp(lambda packet: [packet])
    made.append(udp)

    server = proxy()
    receiver = Kept()
    socket = Network(proxy=server.url()).open_udp(("0.0.0.0", 0))
    socket.set_receiver(receiver)

    def answers() -> bool:
        socket.send(b"hello", ("127.0.0.1", udp.port))
        return bool(receiver.got)

    eventually(answers)
    port = server.port
    server.close()
    eventually(lambda: not socket.send(b"lost", ("127.0.0.1", udp.port)))
    made.append(ProxyServer(port=port))
    receiver.got.clear()
    eventually(answers)
    socket.leave(receiver)


def test_only_whole_datagrams_of_the_relay_are_handed_on(proxy, made):
    udp = FakeUdp(lambda packet: [packet])
    made.append(udp)
    server = proxy()
    server.spoil = lambda packet: [
        *(packet[:size] for size in range(10)),
        b"",
        packet[:2] + b"\1" + packet[3:],
        *(packet[:3] + bytes([kind]) + packet[4:] for kind in (0, 2, 3, 4, 5, 255)),
        # Of the other family, and without anything in it.
        b"\0\0\0\4" + bytes(15) + b"\1\1\1lie",
        packet[:10],
        packet,
    ]
    receiver = Kept()
    socket = Network(proxy=server.url()).open_udp(("0.0.0.0", 0))
    socket.set_receiver(receiver)
    socket.wait_open(5)
    socket.send(b"hello", ("127.0.0.1", udp.port))
    eventually(lambda: receiver.got)
    assert receiver.got == [(b"hello", ("127.0.0.1", udp.port))]
    socket.leave(receiver)


@pytest.mark.parametrize(
    "says",
    [
        b"",
        b"\5",
        b"\4\0",
        b"\5\0\5",
        b"\5\0\5\7\0\1" + bytes(6),
        b"\5\0\5\0\0\1" + bytes(6),
        b"\5\0\5\0\0\2" + bytes(6),
    ],
)
def test_a_relay_that_is_not_granted_is_an_error_at_once_and_asked_for_again_later(made, says, caplog, monkeypatch):
    monkeypatch.setattr(limits, "PROXY_RETRY", 0.02)
    caplog.set_level(logging.INFO)
    listener = gevent_listener()
    made.append(listener)
    accepted: list[Any] = []

    def answer() -> None:
        while True:
            sock, _ = listener.accept()
            accepted.append(sock)
            sock.recv(1000)
            sock.sendall(says)
            sock.close()

    serving = gevent.spawn(answer)
    receiver = Kept()
    socket = Network(proxy=f"socks5://127.0.0.1:{listener.getsockname()[1]}").open_udp(("0.0.0.0", 0))
    socket.set_receiver(receiver)
    with pytest.raises(OSError):
        socket.wait_open(5)
    asked = len(accepted)

    def is_asked_again() -> bool:
        socket.send(b"lost", ("127.0.0.1", 9))
        return len(accepted) > asked + 1

    eventually(is_asked_again)
    socket.leave(receiver)
    serving.kill()
    assert len({record.getMessage() for record in caplog.records}) <= 2


def test_what_a_proxy_says_on_the_connection_of_an_association_ends_it(proxy, monkeypatch):
    monkeypatch.setattr(limits, "PROXY_RETRY", 0.01)
    server = proxy()
    receiver = Kept()
    socket = Network(proxy=server.url()).open_udp(("0.0.0.0", 0))
    socket.set_receiver(receiver)
    socket.wait_open(5)
    server.associations[0].sendall(bytes(100_000))

    def is_made_anew() -> bool:
        socket.send(b"lost", ("127.0.0.1", 9))
        return len(server.associations) > 1

    eventually(is_made_anew)
    socket.leave(receiver)


@pytest.mark.parametrize("kind", ["socks5", "http"])
@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 200 OK\r\n", b"\5", b"nonsense" * 4000])
def test_a_proxy_that_breaks_off_is_a_clear_error(made, kind, says):
    listener = gevent_listener()
    made.append(listener)

    def answer() -> None:
        sock, _ = listener.accept()
        sock.recv(1000)
        sock.sendall(says)
        sock.close()

    gevent.spawn(answer)
    network = Network(proxy=f"{kind}://127.0.0.1:{listener.getsockname()[1]}")
    with pytest.raises((ProxyError, ConnectionResetError)):
        geventbt.connect(("203.0.113.1", 6881), network=network, timeout=5)


def test_a_proxy_may_leave_the_name_that_it_has_bound_empty(made):
    listener = gevent_listener()
    made.append(listener)

    def answer() -> None:
        sock, _ = listener.accept()
        sock.recv(1000)
        sock.sendall(b"\5\0" + b"\5\0\0\3\0\0\x50" + b"hello")
        sock.close()

    gevent.spawn(answer)
    network = Network(proxy=f"socks5://127.0.0.1:{listener.getsockname()[1]}")
    sock = network.connect(network.resolve("203.0.113.1", 6881)[0], 5.0)
    made.append(sock)
    assert sock.recv(100) == b"hello"


def test_a_proxy_that_says_nothing_ends_at_the_deadline(silent_peer):
    with pytest.raises(geventbt.WireTimeout, match=r"no connection to 203\.0\.113\.1:6881"):
        geventbt.connect(("203.0.113.1", 6881), network=Network(proxy=f"socks5://{silent_peer}"), timeout=0.1)


def test_a_proxy_that_is_not_there_is_named_without_its_password():
    network = Network(proxy="socks5://me:secret@127.0.0.1:1")
    with pytest.raises(ProxyError, match=r"the proxy socks5://127\.0\.0\.1:1 cannot be reached: .*refused"):
        geventbt.connect(("203.0.113.1", 6881), network=network)
    assert "secret" not in repr(network)


def test_nothing_listens_behind_a_proxy(proxy):
    network = Network(proxy=proxy().url())
    with pytest.raises(OSError, match="cannot listen: all goes through a proxy"):
        geventbt.listen(("127.0.0.1", 0), network=network)
    with geventbt.Client(network=network, dht=False) as client:
        assert client.port is None
        assert client.server is None


@KINDS
def test_a_download_goes_through_the_proxy_alone(world, proxy, caplog, kind):
    caplog.set_level(logging.INFO)
    torrent = world.torrent()
    (seed,) = world.seeds(torrent, 1)
    server = proxy(login=("me", "secret"))
    geventbt.download(torrent, world.folder / "got", peers=[seed], proxy=server.url(kind), timeout=30)
    assert set(server.asked) == {seed}
    assert "secret" not in caplog.text


def test_a_download_through_a_proxy_that_is_gone_ends_with_its_error(world):
    torrent = world.torrent()
    (seed,) = world.seeds(torrent, 1)
    with pytest.raises(NoPeersError, match=r"the proxy socks5://127\.0\.0\.1:1 cannot be reached"):
        geventbt.download(torrent, world.folder / "got", peers=[seed], proxy="socks5://127.0.0.1:1", dht=False)


def test_a_dht_of_its_own_way_is_refused(proxy):
    with geventbt.DHT(host="127.0.0.1", routers=()) as dht, pytest.raises(ValueError, match="goes past the proxy"):
        geventbt.Client(None, dht=dht, proxy=proxy().url())


def test_a_peer_that_is_named_is_left_out_with_a_warning(world, proxy, caplog):
    torrent = world.torrent()
    with pytest.raises(NoPeersError):
        geventbt.download(
            torrent, world.folder, peers=[("tracker.test", 7)], proxy=proxy().url(), dht=False, check=True
        )
    assert "with a proxy, peers are named by IP address" in caplog.text
