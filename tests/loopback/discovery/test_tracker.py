"""One call for every kind of tracker, over one address family or both; and the announcer with real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent import socket as gevent_socket

from geventbt import limits
from geventbt.discovery.trackers import udp
from geventbt.discovery.trackers.announce import AnnounceRequest, ScrapeResult
from geventbt.discovery.trackers.announcer import Announcer
from geventbt.discovery.trackers.tracker import announce, scrape
from geventbt.errors import TrackerError
from geventbt.net import opener, resolve
from tests.loopback.fake_trackers import FakeHttp, FakeUdp, bencoded, ok, redirect, udp_answer
from tests.loopback.harness import eventually

REQUEST = AnnounceRequest(b"i" * 20, b"p" * 20, 6881, key=5, event="started")
PEERS = b"\1\2\3\4\x1a\xe1"


@pytest.fixture
def servers() -> Iterator[list[Any]]:
    """Whatever is put in is closed."""
    made: list[Any] = []
    yield made
    for server in made:
        server.close()


@pytest.fixture
def serve(servers: list[Any]) -> Any:
    """Makes an HTTP server with one reply."""

    def make(reply: Any, host: str = "127.0.0.1") -> FakeHttp:
        servers.append(FakeHttp({"": reply}, host))
        return servers[-1]

    return make


@pytest.fixture
def two_families(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives the name "both.example" one address of each family."""

    def give(ipv4_port: int, ipv6_port: int) -> None:
        endpoints = [
            resolve.Endpoint(socket.AF_INET6, ("::1", ipv6_port, 0, 0)),
            resolve.Endpoint(socket.AF_INET, ("127.0.0.1", ipv4_port)),
        ]
        monkeypatch.setattr(opener, "resolve", lambda host, port, **options: endpoints)
        monkeypatch.setattr(udp, "connection_ids", udp.ConnectionIds())

    return give


def test_an_announce_over_http(serve):
    server = serve(bencoded(interval=900, peers=PEERS, complete=1, warning_message="be\nkind"))
    response = announce(server.url("/announce?key=1"), REQUEST)
    assert (response.interval, response.peers, response.seeders) == (900, (("1.2.3.4", 6881),), 1)
    assert response.warning == "be\ufffdkind"
    query = server.requests[0].split(" ")[1]
    assert query.startswith("/announce?key=1&info_hash=" + "i" * 20 + "&peer_id=" + "p" * 20)
    assert query.endswith("&event=started&key=00000005")


def test_a_failure_reason_is_told(serve):
    with pytest.raises(TrackerError, match="not here\ufffd") as caught:
        announce(serve(bencoded(failure_reason="not here\x07", retry_in="2")).url(), REQUEST)
    assert caught.value.retry_in == 120


def test_a_page_of_html_is_an_error(serve):
    with pytest.raises(TrackerError, match="not the answer of a tracker"):
        announce(serve(ok(b"<html>hello")).url(), REQUEST)


def test_an_answer_over_a_mebibyte_is_refused(serve):
    padding = "x" * (limits.TRACKER_ANSWER - 20)
    assert announce(serve(bencoded(peers=PEERS)).url(), REQUEST).peers
    for ask in (lambda url: announce(url, REQUEST), lambda url: scrape(url, [b"i" * 20])):
        with pytest.raises(TrackerError, match="longer than 1048576 bytes"):
            ask(serve(bencoded(files={}, padding=padding, peers=PEERS)).url())


def test_a_scrape_over_http(serve):
    files = {"files": {b"i" * 20: {"complete": 1, "incomplete": 2, "downloaded": 3}}}
    server = serve(bencoded(**files))
    assert scrape(server.url(), [b"i" * 20, "69" * 20]) == {b"i" * 20: ScrapeResult(1, 2, 3)}
    assert server.requests[0].startswith("GET /scrape?info_hash=iiiiiiiiiiiiiiiiiiii HTTP")


def test_another_service_of_this_machine_is_not_asked(serve):
    admin = serve(ok(b"done"))
    with pytest.raises(TrackerError, match="this machine"):
        announce(admin.url("/shutdown"), REQUEST)
    with pytest.raises(TrackerError, match="this machine"):
        announce(serve(redirect(admin.url("/shutdown"))).url(), REQUEST)
    assert not admin.requests


@pytest.mark.parametrize(
    "url",
    [
        "wss://t.example/announce",
        "file:///etc/passwd",
        "t.example",
        "",
        "udp://t.example/announce",
        "udp://h:0",
        "http://[",
        "udp://:1",
    ],
)
def test_a_url_that_is_none_of_a_tracker_is_an_error(url):
    with pytest.raises(TrackerError):
        announce(url, REQUEST)
    with pytest.raises(TrackerError):
        scrape(url, [b"i" * 20])


def replace_lookups(monkeypatch: pytest.MonkeyPatch, getaddrinfo: Any) -> None:
    """Put a function in the place of the one that gevent's threads call."""
    fake = SimpleNamespace(getaddrinfo=getaddrinfo, gaierror=socket.gaierror, herror=socket.herror)
    monkeypatch.setattr("gevent.resolver.thread._socket", fake)


@pytest.mark.parametrize("scheme", ["http", "udp"])
def test_a_name_that_does_not_exist_is_an_error(monkeypatch, scheme):
    def nothing(*args: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    replace_lookups(monkeypatch, nothing)
    with pytest.raises(TrackerError, match="tracker: Name or service not known"):
        announce(f"{scheme}://tracker:1/announce", REQUEST)


def test_names_that_are_looked_up_for_ever_hold_up_nobody_else(serve, monkeypatch):
    server, over = serve(bencoded(interval=900)), threading.Event()

    def look_up(host: Any, *args: Any) -> Any:
        return over.wait(60) if b"dead" in host else socket.getaddrinfo(host, *args)

    replace_lookups(monkeypatch, look_up)
    dead = [gevent.spawn(announce, f"udp://dead{number}:1", REQUEST) for number in range(20)]
    gevent.sleep(0)
    try:
        assert announce(server.url(host="localhost"), REQUEST).interval == 900
        gevent_socket.create_connection((b"127.0.0.1", server.port)).close()
    finally:
        gevent.killall(dead)
        over.set()


def test_an_info_hash_that_is_none_is_the_callers_error():
    with pytest.raises(ValueError):
        scrape("http://127.0.0.1/announce", [b"short"])


def test_both_families_are_told_and_their_peers_joined(servers, two_families):
    servers += [
        FakeUdp(lambda packet: udp_answer(packet, peers=PEERS)),
        FakeUdp(lambda packet: udp_answer(packet, peers=bytes(15) + b"\1\0\7"), "::1"),
    ]
    two_families(servers[0].port, servers[1].port)
    assert announce("udp://both.example:1", REQUEST).peers == (("1.2.3.4", 6881), ("::1", 7))


def test_each_family_gets_the_port_that_is_open_there(servers, two_families):
    servers += [FakeUdp(udp_answer), FakeUdp(udp_answer, "::1")]
    two_families(servers[0].port, servers[1].port)
    announce("udp://both.example:1", replace(REQUEST, port6=1))
    assert [int.from_bytes(server.packets[-1][96:98], "big") for server in servers] == [6881, 1]


def test_over_http_too_each_family_gets_its_own_port(serve):
    for host, port in (("127.0.0.1", 6881), ("::1", 1)):
        server = serve(bencoded(interval=900), host)
        announce(server.url(), replace(REQUEST, port6=1))
        assert f"&port={port}&" in server.requests[0]


@pytest.mark.parametrize("first", ["refuses", "is silent"])
def test_every_address_of_a_tracker_over_udp_is_tried(servers, monkeypatch, first):
    servers += [FakeUdp(udp_answer)]
    port = servers[0].port
    if first == "is silent":
        silent = gevent_socket.socket(type=socket.SOCK_DGRAM)
        silent.bind(("127.0.0.2", port))
        servers += [silent]
    endpoints = [resolve.Endpoint(socket.AF_INET, (host, port)) for host in ("127.0.0.2", "127.0.0.1")]
    monkeypatch.setattr(opener, "resolve", lambda host, port, **options: endpoints)
    assert announce("udp://tracker.example:1", REQUEST, timeout=0.4).address == "127.0.0.1"


def test_a_tracker_that_refuses_over_udp_is_not_asked_at_its_other_addresses(servers, monkeypatch):
    servers += [FakeUdp(lambda packet: [b"\0\0\0\3" + packet[12:16] + b"go away"])]
    endpoints = [resolve.Endpoint(socket.AF_INET, (host, servers[0].port)) for host in ("127.0.0.1", "127.0.0.2")]
    monkeypatch.setattr(opener, "resolve", lambda host, port, **options: endpoints)
    with pytest.raises(TrackerError, match="go away"):
        announce("udp://tracker.example:1", REQUEST)


@pytest.mark.parametrize("silent", [0, 1])
def test_a_family_that_does_not_answer_holds_up_the_other_only_a_moment(servers, two_families, monkeypatch, silent):
    monkeypatch.setattr(limits, "SECOND_FAMILY", 0.05)
    servers += [FakeUdp(udp_answer), FakeUdp(udp_answer, "::1")]
    servers[silent].answer = lambda packet: []
    two_families(servers[0].port, servers[1].port)
    assert announce("udp://both.example:1", REQUEST, timeout=10).seeders == 3


def test_a_family_that_cannot_be_reached_is_no_error(servers, two_families):
    servers += [FakeUdp(lambda packet: udp_answer(packet, peers=PEERS))]
    two_families(servers[0].port, servers[0].port)
    assert announce("udp://both.example:1", REQUEST).peers == (("1.2.3.4", 6881),)


def test_the_error_of_both_families_is_told_where_both_fail(servers, two_families):
    servers += [FakeUdp(lambda packet: [b"\0\0\0\3" + packet[12:16] + b"go away"])]
    two_families(servers[0].port, servers[0].port)
    with pytest.raises(TrackerError, match="go away; ::1: Connection refused"):
        announce("udp://both.example:1", REQUEST)


def test_a_timeout_of_the_caller_leaves_nothing_of_both_families_behind(servers, two_families):
    servers += [FakeUdp(lambda packet: []), FakeUdp(lambda packet: [], "::1")]
    two_families(servers[0].port, servers[1].port)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        announce("udp://both.example:1", REQUEST)


def test_an_announcer_with_good_slow_and_bad_trackers(serve, servers):
    def slow(sock: Any) -> None:
        while sock.recv(4096):
            pass

    good, bad = serve(bencoded(interval=900, peers=PEERS)), serve(bencoded(failure_reason="no"))
    servers.append(FakeUdp(lambda packet: udp_answer(packet, peers=b"\5\6\7\10\0\1")))
    over_udp, hanging = servers[-1], serve(slow)
    got = {}
    announcer = Announcer(
        [[hanging.url()], [good.url()], [bad.url()], [over_udp.url]],
        lambda event: AnnounceRequest(b"i" * 20, b"p" * 20, 6881),
        lambda peers, url: got.update({url: peers}),
    )
    announcer.start()
    eventually(lambda: len(got) == 2 and announcer.status[bad.url()].error and hanging.requests)
    assert got == {good.url(): [("1.2.3.4", 6881)], over_udp.url: [("5.6.7.8", 1)]}
    assert announcer.status[bad.url()].error == "no"
    announcer.completed()
    eventually(lambda: len(good.requests) == 2 and len(over_udp.packets) == 3)
    announcer.stop(1)
    assert ["started" in good.requests[0], "completed" in good.requests[1], "stopped" in good.requests[2]] == [True] * 3
    assert [packet[83] for packet in over_udp.packets[1:]] == [2, 1, 3]
    assert len(bad.requests) == 1
    # It may have taken us in, although it has not answered.
    assert "stopped" in hanging.requests[-1]


@pytest.mark.parametrize(
    ("after", "seconds"),
    [("120", 120.0), ("0", limits.MIN_ANNOUNCE_INTERVAL), ("999999999", limits.MAX_ANNOUNCE_INTERVAL)],
)
def test_a_tracker_that_is_busy_says_when_to_ask_again(serve, after, seconds):
    server = serve(f"HTTP/1.1 503 Busy\r\nRetry-After: {after}\r\nContent-Length: 0\r\n\r\n".encode())
    with pytest.raises(TrackerError, match="503 Busy") as caught:
        announce(server.url(), REQUEST)
    assert (caught.value.status, caught.value.retry_in) == (503, seconds)
