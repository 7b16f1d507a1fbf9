"""Port mapping, against routers on loopback."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from time import monotonic
from typing import Any

import gevent
import pytest

import geventbt
from geventbt import limits
from geventbt.net.mapping.announcements import RouterAnnouncements
from geventbt.net.mapping.base import MappingFailed, PortMapping, Router, Transport
from geventbt.net.mapping.mapper import PortMapper
from geventbt.net.mapping.pinhole_router import PinholeRouter
from geventbt.net.mapping.pmp_router import PmpRouter
from geventbt.net.mapping.ssdp import PINHOLES
from geventbt.net.mapping.ssdp import PORTS as PORTS_OF_ROUTERS
from geventbt.net.mapping.upnp_router import UpnpRouter
from geventbt.net.network import DIRECT, Network
from geventbt.net.resolve import Endpoint
from tests.loopback.fake_routers import DESCRIPTION, EXTERNAL, PinholeServer, PmpServer, UpnpServer, fault
from tests.loopback.fake_trackers import FakeHttp, bencoded, ok
from tests.loopback.harness import eventually

TCP = 6
PORTS: list[tuple[Transport, int]] = [("tcp", 6881), ("udp", 6882)]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PMP_FIRST_WAIT", 0.02)
    monkeypatch.setattr(limits, "PMP_ATTEMPTS", 3)
    monkeypatch.setattr(limits, "MAPPING_TIMEOUT", 1.0)
    monkeypatch.setattr("geventbt.net.mapping.ssdp.MX", 0.1)
    monkeypatch.setattr(limits, "UPNP_SLACK", 0.1)


@pytest.fixture
def pmp() -> Iterator[Callable[..., tuple[PmpServer, PmpRouter]]]:
    made: list[PmpServer] = []

    def make(**options: Any) -> tuple[PmpServer, PmpRouter]:
        made.append(PmpServer(**options))
        return made[-1], PmpRouter(DIRECT, options.get("host", "127.0.0.1"), port=made[-1].port)

    yield make
    for server in made:
        server.close()


@pytest.fixture
def upnp() -> Iterator[Callable[..., tuple[UpnpServer, UpnpRouter]]]:
    made: list[UpnpServer] = []

    def make(**options: Any) -> tuple[UpnpServer, UpnpRouter]:
        made.append(UpnpServer(**options))
        return made[-1], UpnpRouter(DIRECT, search=PORTS_OF_ROUTERS._replace(group=made[-1].group))

    yield make
    for server in made:
        server.close()


class Listener:
    """Keeps what was mapped."""

    def __init__(self) -> None:
        self.mapped: list[PortMapping] = []

    def on_mapped(self, mapping: PortMapping) -> None:
        self.mapped.append(mapping)


def keep(*routers: Router) -> Any:
    return closing(PortMapper([(router, PORTS) for router in routers], Listener()))


# ---------------------------------------------------------------------- PCP and NAT-PMP


@pytest.mark.parametrize(("knows_pcp", "name"), [(True, "pcp"), (False, "nat-pmp")])
def test_a_port_is_mapped_and_given_back(pmp, knows_pcp, name):
    server, router = pmp(knows_pcp=knows_pcp)
    server.external_port = lambda port: port + 1000
    mapping = router.map("tcp", 6881, 6881)
    assert mapping == PortMapping(name, "tcp", 6881, 7881, EXTERNAL, 3600)
    assert server.mapped == {(TCP, 6881): 7881}
    assert router.map("tcp", 6881, 7881).external_port == 8881
    router.unmap(mapping)
    assert server.mapped == {}


def test_a_request_that_is_lost_is_sent_again(pmp):
    server, router = pmp()
    server.spoil = lambda answer: [answer] if len(server.requests) == 3 else []
    assert router.map("udp", 6881, 6881).external_port == 6881
    assert len(set(server.requests)) == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answer: [],
        lambda answer: [answer[:-1]],
        lambda answer: [b""],
        lambda answer: [bytes(len(answer))] * 50,
        lambda answer: [answer[: len(answer) // 2] + bytes(len(answer) // 2)],
        lambda answer: [b"\xff" * 3000],
    ],
)
@pytest.mark.parametrize("knows_pcp", [True, False])
def test_answers_that_are_not_right_are_none(pmp, spoil, knows_pcp):
    server, router = pmp(knows_pcp=knows_pcp)
    server.spoil = spoil
    with pytest.raises(MappingFailed):
        router.map("tcp", 6881, 6881)


@pytest.mark.parametrize("knows_pcp", [True, False])
@pytest.mark.parametrize(("given", "message"), [({"result": 2}, "not allowed"), ({"lifetime": 0}, "gives no port")])
def test_a_router_that_refuses(pmp, knows_pcp, given, message):
    server, router = pmp(knows_pcp=knows_pcp)
    vars(server).update(given)
    with pytest.raises(MappingFailed, match=message):
        router.map("tcp", 6881, 6881)


@pytest.mark.parametrize("knows_pcp", [True, False])
def test_answers_that_come_twice_late_or_early_are_those_of_their_own_question(pmp, knows_pcp):
    server, router = pmp(knows_pcp=knows_pcp)
    before: list[bytes] = []

    def spoil(answer: bytes) -> list[bytes]:
        # Without the refusal of PCP, which says nothing of what it refuses.
        before.extend([answer] if len(answer) > 8 else [])
        return [*before, answer]

    server.spoil = spoil
    server.external_port = lambda port: port + 1
    for transport, port in (("tcp", 6881), ("udp", 6881), ("tcp", 6883), ("udp", 6883)):
        mapping = router.map(transport, port, port)
        assert (mapping.transport, mapping.port, mapping.external_port) == (transport, port, port + 1)


def test_where_no_router_is_the_answer_is_quick():
    with pytest.raises(MappingFailed, match="does not answer: Connection refused"):
        PmpRouter(DIRECT, "127.0.0.1", port=1).map("tcp", 1, 1)


# ---------------------------------------------------------------------- UPnP


@pytest.mark.parametrize("kind", ["WANIPConnection", "WANPPPConnection"])
def test_a_port_is_mapped_and_given_back_by_upnp(upnp, kind):
    server, router = upnp(kind=kind)
    mapping = router.map("tcp", 6881, 6881)
    assert mapping == PortMapping("upnp", "tcp", 6881, 6881, EXTERNAL, limits.MAPPING_LIFETIME)
    assert server.mapped == {(6881, "TCP"): ("127.0.0.1", 6881, limits.MAPPING_LIFETIME)}
    router.map("udp", 6882, 6882)
    assert len([head for head in server.heads if head.startswith("GET")]) == 1
    router.unmap(mapping)
    assert list(server.mapped) == [(6882, "UDP")]


def test_a_port_that_is_taken_gives_another(upnp):
    server, router = upnp()
    server.taken.add(6881)
    mapping = router.map("tcp", 6881, 6881)
    assert 40000 <= mapping.external_port < 50000
    assert list(server.mapped) == [(mapping.external_port, "TCP")]


def test_of_a_routers_connections_one_that_works_is_used(upnp):
    server, router = upnp()
    used = DESCRIPTION.format(kind="WANIPConnection", control="/control")
    both = used.replace("WANCommonInterfaceConfig", "WANPPPConnection")
    server.replies |= {"/description.xml": ok(both.encode()), "/wrong": fault(501)}
    assert router.map("tcp", 6881, 6881).external_port == 6881
    assert list(server.mapped) == [(6881, "TCP")]


def test_a_router_that_knows_no_leases_maps_for_ever(upnp):
    server, router = upnp()
    server.knows_leases = False
    assert router.map("tcp", 6881, 6881).lifetime == 0
    server.actions.clear()
    assert router.map("tcp", 6881, 6881).lifetime == 0
    assert server.actions == ["AddPortMapping", "GetExternalIPAddress"]


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (ok(b"<root/>"), "not a router"),
        (ok(b"x" * (limits.UPNP_ANSWER + 1)), "longer than"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n" + bytes(300_000), "longer than"),
        (ok(b'<!DOCTYPE a [<!ENTITY b "c">]><root>&b;</root>'), "document type"),
        (b"HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "302"),
        (b"nonsense\r\n\r\n", "not an answer of HTTP/1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "cut off"),
    ],
)
def test_a_description_that_is_not_right_is_one_clear_error(upnp, description, message):
    server, router = upnp()
    server.replies["/description.xml"] = description
    with pytest.raises(MappingFailed, match=message):
        router.map("tcp", 6881, 6881)


def endless(start: bytes, part: bytes) -> Callable[[Any], None]:
    """Sends the same part again and again, as long as it is taken."""

    def send(sock: Any) -> None:
        sock.sendall(start)
        while True:
            sock.sendall(part)

    return send


def dripping(data: bytes) -> Callable[[Any], None]:
    """Sends a byte now and then."""

    def send(sock: Any) -> None:
        for byte in data:
            sock.sendall(bytes([byte]))
            gevent.sleep(0.02)

    return send


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNBOUNDED = {
    "chunks": endless(CHUNKED, b"10000\r\n" + bytes(65536) + b"\r\n"),
    "small chunks": endless(CHUNKED, b"000000000001\r\nx\r\n" * 4000),
    "until the end": endless(b"HTTP/1.1 200 OK\r\n\r\n", b"<a/>" * 16_000),
    "head": endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 10_000),
    "interim": endless(b"", b"HTTP/1.1 100 Go on\r\n\r\n" * 3000),
    "dripped head": dripping(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000),
    "dripped body": dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"<a/>" * 250),
    "ten MB": lambda sock: sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + bytes(10_000_000)),
}


@pytest.mark.parametrize("reply", UNBOUNDED.values(), ids=UNBOUNDED)
@pytest.mark.parametrize("path", ["/description.xml", "/control"])
def test_an_answer_without_end_is_cut_short_and_said_once(upnp, monkeypatch, caplog, path, reply):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(limits, "MAPPING_TIMEOUT", 0.3)
    monkeypatch.setattr(limits, "MIN_MAPPING_WAIT", 0.01)
    monkeypatch.setattr(limits, "MAPPING_RETRY", 0.01)
    server, router = upnp()
    server.replies[path] = reply
    started = monotonic()
    with pytest.raises(MappingFailed):
        router.map("tcp", 6881, 6881)
    assert monotonic() - started < 5
    with keep(router):
        eventually(lambda: len(server.heads) >= 3)
    assert len([record for record in caplog.records if "no port is mapped by upnp" in record.getMessage()]) <= 1


def test_a_flood_of_answers_to_the_search_is_bounded(upnp):
    server, router = upnp()
    server.replies["/none.xml"] = ok(b"<root/>")
    wrong = [b"", b"x" * 5000, b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nLOCATION: x\r\n" * 50]
    other = [server.search_answer(server.location.replace("description", f"none?{number}")) for number in range(100)]
    server.answers = wrong + other
    with pytest.raises(MappingFailed):
        router.map("tcp", 6881, 6881)
    assert len(server.heads) <= limits.UPNP_ROUTERS
    server.answers = wrong + server.answers[-1:] + [server.search_answer(server.location)] * 100
    assert router.map("tcp", 6881, 6881).external_port == 6881


class Unplugged(Network):
    """The network of a machine that has left it after the router was found."""

    def source_host(self, endpoint: Endpoint) -> str:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")


def test_a_router_out_of_reach_is_a_failure_as_any_other(upnp):
    server, _ = upnp()
    with pytest.raises(MappingFailed, match="unreachable"):
        UpnpRouter(Unplugged(), search=PORTS_OF_ROUTERS._replace(group=server.group)).map("tcp", 6881, 6881)


@pytest.mark.parametrize("host", ["fe80::1%eth0\nERROR forged", "2606:4700::1111", "router.example", ""])
def test_what_cannot_be_the_address_of_a_router_of_ipv4_is_none(upnp, host):
    server, router = upnp()
    server.replies["/control"] = ok(f"<NewExternalIPAddress>{host}</NewExternalIPAddress>".encode())
    assert router.map("tcp", 6881, 6881).external_host is None


@pytest.mark.parametrize("answer", [fault(501), ok(b"no XML"), b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"])
def test_an_action_that_fails(upnp, answer):
    server, router = upnp()
    server.replies["/control"] = answer
    if b"200" in answer:
        assert router.map("tcp", 6881, 6881).external_host is None
    else:
        with pytest.raises(MappingFailed, match=r"error 50[01]|status 500"):
            router.map("tcp", 6881, 6881)


def test_a_router_that_says_nothing_does_not_hold_up_for_long(upnp, monkeypatch):
    monkeypatch.setattr(limits, "MAPPING_TIMEOUT", 0.1)
    server, router = upnp()
    server.replies["/description.xml"] = b""
    with pytest.raises(MappingFailed, match=r"no answer within 0\.1 seconds"):
        router.map("tcp", 6881, 6881)
    server.answers = []
    with pytest.raises(MappingFailed, match="no router answers"):
        router.map("tcp", 6881, 6881)


# ---------------------------------------------------------------------- all of it


def test_ports_are_kept_by_all_protocols_and_given_back_at_the_end(pmp, upnp):
    server, router = pmp()
    other, other_router = upnp()
    with keep(router, other_router) as mapper:
        eventually(lambda: len(mapper.mappings) == 4)
        assert [mapping.protocol for mapping in mapper.mappings] == ["pcp", "pcp", "upnp", "upnp"]
        assert mapper.find("udp").protocol == "pcp"
    assert server.mapped == {}
    assert other.mapped == {}


def test_a_mapping_is_renewed_with_the_port_that_was_given(monkeypatch):
    monkeypatch.setattr(limits, "MIN_MAPPING_WAIT", 0.02)
    router = Brief()
    with keep(router) as mapper:
        eventually(lambda: len(router.ports) >= 3)
        assert mapper.find("tcp").external_port == 7000
    assert router.ports[:3] == [6881, 7000, 7000]
    assert router.ended == [7000, 6882]


class Brief:
    """A router whose mappings are brief; it notes the external ports that it was asked for over TCP."""

    name = "brief"

    def __init__(self) -> None:
        self.ports: list[int] = []
        self.ended: list[int] = []

    def map(self, transport: Transport, port: int, external_port: int) -> PortMapping:
        if transport == "tcp":
            self.ports.append(external_port)
        return PortMapping("brief", transport, port, 7000 if transport == "tcp" else port, None, 0.1)

    def unmap(self, mapping: PortMapping) -> None:
        self.ended.append(mapping.external_port)


def test_a_failure_is_one_line_in_the_log_and_tried_again(pmp, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(limits, "MIN_MAPPING_WAIT", 0.01)
    monkeypatch.setattr(limits, "MAPPING_RETRY", 0.01)
    server, router = pmp()
    server.result = 2
    with keep(router) as mapper:
        eventually(lambda: len(server.requests) >= 8)
        assert [record.getMessage() for record in caplog.records] == ["no port is mapped by pcp: it is not allowed"]
        server.result = 0
        eventually(lambda: len(mapper.mappings) == 2)


# ---------------------------------------------------------------------- IPv6


def test_a_way_through_the_firewall_is_opened_and_closed(pmp):
    server, router = pmp(host="::1")
    server.external_host = bytes(15) + b"\1"
    mapping = router.map("tcp", 6881, 6881)
    assert mapping == PortMapping("pcp", "tcp", 6881, 6881, "::1", 3600)
    assert mapping.is_ipv6
    # From the address that peers connect to, and for any outside.
    assert server.requests[0][8:24] == bytes(15) + b"\1"
    assert server.requests[0][44:60] == bytes(16)
    router.unmap(mapping)
    assert server.mapped == {}


def test_there_is_no_nat_pmp_over_ipv6(pmp):
    server, router = pmp(host="::1", knows_pcp=False)
    with pytest.raises(MappingFailed, match="does not know PCP"):
        router.map("tcp", 6881, 6881)
    assert {packet[0] for packet in server.requests} == {2}


def test_mappings_are_found_by_their_family(pmp):
    server, router = pmp()
    server.external_port = lambda port: port + 1
    other, other_router = pmp(host="::1")
    other.external_host = bytes(15) + b"\1"
    with keep(router, other_router) as mapper:
        eventually(lambda: len(mapper.mappings) == 4)
        assert mapper.find("tcp").external_port == 6882
        assert mapper.find("tcp", is_ipv6=True).external_port == 6881


@pytest.fixture
def pinholes() -> Iterator[tuple[PinholeServer, PinholeRouter]]:
    """A router that opens its firewall by UPnP."""
    server = PinholeServer()
    yield server, PinholeRouter(DIRECT, search=PINHOLES._replace(group=server.group), host="::1")
    server.close()


def test_a_way_through_the_firewall_is_opened_renewed_and_closed_by_upnp(pinholes):
    server, router = pinholes
    mapping = router.map("tcp", 6881, 6881)
    assert mapping == PortMapping("upnp", "tcp", 6881, 6881, "::1", limits.MAPPING_LIFETIME)
    assert server.pinholes == {"7": ("::1", 6881, TCP, limits.MAPPING_LIFETIME)}
    assert router.map("tcp", 6881, 6881) == mapping
    router.map("udp", 6881, 6881)
    assert server.actions == ["AddPinhole", "UpdatePinhole", "AddPinhole"]
    router.unmap(mapping)
    assert server.pinholes == {"8": ("::1", 6881, 17, limits.MAPPING_LIFETIME)}


def test_a_firewall_that_was_closed_is_opened_again(pinholes):
    server, router = pinholes
    router.map("tcp", 6881, 6881)
    server.pinholes.clear()
    mapping = router.map("tcp", 6881, 6881)
    router.unmap(mapping)
    assert server.actions == ["AddPinhole", "UpdatePinhole", "AddPinhole", "DeletePinhole"]


def test_a_firewall_is_kept_open_until_the_end(pinholes):
    server, router = pinholes
    with keep(router) as mapper:
        eventually(lambda: len(mapper.mappings) == 2)
        assert mapper.find("tcp", is_ipv6=True) is not None
        assert len(server.pinholes) == 2
    assert server.pinholes == {}


NUMBERS = ["", "-1", "x", "99999999999999999999", "1 2", "<a/>", "\u0661"]


@pytest.mark.parametrize(
    "answer",
    [*(ok(f"<s><UniqueID>{number}</UniqueID></s>".encode()) for number in NUMBERS), ok(b"<s/>"), ok(b"x"), fault(703)],
)
def test_a_firewall_that_is_not_known_to_be_open_is_a_failure(pinholes, answer):
    server, router = pinholes
    server.replies["/control"] = answer
    with pytest.raises(MappingFailed):
        router.map("tcp", 6881, 6881)


def test_a_firewall_is_opened_only_by_what_can_open_it(pmp):
    server = PinholeServer(kind="WANIPConnection")
    with closing(server), pytest.raises(MappingFailed, match="not a router"):
        PinholeRouter(DIRECT, search=PINHOLES._replace(group=server.group), host="::1").map("tcp", 6881, 6881)


def test_a_gateway_of_a_device_that_is_gone_is_a_failure():
    with pytest.raises(OSError, match="interface"):
        PmpRouter(DIRECT, "fe80::1%nonsense")


# ---------------------------------------------------------------------- routers that are started anew

RESTARTED = [
    b"\2\x80" + bytes(6) + (5).to_bytes(4, "big") + bytes(12),
    b"\0\x80\0\0" + (5).to_bytes(4, "big") + bytes([93, 184, 216, 34]),
]


@pytest.mark.parametrize("announcement", RESTARTED)
def test_a_router_that_has_lost_its_mappings_is_asked_for_them_at_once(pmp, monkeypatch, announcement):
    monkeypatch.setattr(limits, "MIN_MAPPING_WAIT", 0.02)
    server, router = pmp()
    with keep(router) as mapper:
        eventually(lambda: len(mapper.mappings) == 2)
        announcements = RouterAnnouncements("127.0.0.1", mapper, port=0)
        server.mapped.clear()
        server.say(b"nonsense", announcements.port)
        server.say(announcement, announcements.port)
        eventually(lambda: len(server.mapped) == 2)
        announcements.close()


class Renewals:
    """Counts how often mappings are to be renewed."""

    def __init__(self) -> None:
        self.count = 0

    def renew(self) -> None:
        self.count += 1


def test_only_news_of_the_router_itself_makes_us_renew():
    renewals, now = Renewals(), [1000.0]
    with closing(RouterAnnouncements("127.0.0.9", renewals, port=0, now=lambda: now[0])) as announcements:

        def say(seconds: int, *, sender: str = "127.0.0.9", host: bytes = bytes([93, 184, 216, 34])) -> int:
            data = b"\0\x80\0\0" + seconds.to_bytes(4, "big") + host
            announcements.receive(data, (sender, 5351))
            return renewals.count

        assert say(500, sender="127.0.0.8") == 0
        assert say(500) == 1
        # It says everything ten times.
        assert say(500) == 1
        now[0] += 100
        assert say(590) == 1
        assert say(591, host=bytes([93, 184, 216, 35])) == 2
        assert say(3, host=bytes([93, 184, 216, 35])) == 3
        for nonsense in (b"", b"\0\x80", b"\0\x80\0\1" + bytes(8), b"\2\x80\0\1" + bytes(20), b"\2\x81" + bytes(58)):
            announcements.receive(nonsense, ("127.0.0.9", 5351))
        assert renewals.count == 3


# ---------------------------------------------------------------------- what a client makes of it


@pytest.fixture
def mapped_by(pmp, monkeypatch) -> PmpServer:
    """A router of the client, which gives the port 4242 at first."""
    # So that it is asked again soon.
    server, _ = pmp(lifetime=1)
    server.external_port = lambda port: 4242
    monkeypatch.setenv("GEVENTBT_GATEWAY", "127.0.0.1")
    monkeypatch.setattr(PmpRouter.__init__, "__kwdefaults__", {"port": server.port})
    monkeypatch.setattr(limits, "MIN_MAPPING_WAIT", 0.02)
    return server


@pytest.mark.parametrize(
    "change",
    [
        lambda server: setattr(server, "external_port", lambda port: 4243),
        lambda server: setattr(server, "external_host", server.external_host[:-1] + b"\x23"),
    ],
    ids=["port", "address"],
)
def test_trackers_and_dht_are_told_early_where_we_are_reached(mapped_by, monkeypatch, tmp_path, change):
    monkeypatch.setattr(limits, "EARLY_ANNOUNCE", 0.05)
    monkeypatch.setattr(limits, "MIN_ANNOUNCE_INTERVAL", 0.05)
    monkeypatch.setattr(limits, "DHT_MIN_ANNOUNCE_INTERVAL", 0.05)
    monkeypatch.setattr(limits, "DHT_SOURCE_DELAY", 0.0)
    data = tmp_path / "data"
    data.write_bytes(bytes(1000))
    web = FakeHttp({"": bencoded(interval=1800, peers=b"")})
    torrent = geventbt.create_torrent(data, trackers=[[web.url()]])

    def announced_ports() -> list[str]:
        return [re.search(r"port=(\d+)", request)[1] for request in web.requests]

    with (
        closing(web),
        geventbt.DHT(host="127.0.0.1", routers=()) as far,
        geventbt.DHT(host="127.0.0.1", routers=(), nodes=[("127.0.0.1", far.port)]) as asking,
        geventbt.Client(lsd=False, transport="tcp") as client,
    ):
        client.dht.add_node(("127.0.0.1", far.port))
        client.add(torrent, tmp_path)
        # The first announce may have come before the router's answer.
        eventually(lambda: announced_ports()[-1:] == ["4242"])
        eventually(lambda: ("127.0.0.1", 4242) in set(asking.get_peers(torrent.info_hash, timeout=1)))
        count = len(announced_ports())
        change(mapped_by)
        eventually(lambda: len(announced_ports()) > count)
        port = client.port_mappings[0].external_port
        assert announced_ports()[-1] == str(port)
        eventually(lambda: ("127.0.0.1", port) in set(asking.get_peers(torrent.info_hash, timeout=1)))


def test_a_client_tells_trackers_the_port_of_the_router(pmp, monkeypatch):
    server, _ = pmp()
    server.external_port = lambda port: 4242
    monkeypatch.setenv("GEVENTBT_GATEWAY", "127.0.0.1")
    monkeypatch.setattr("geventbt.net.mapping.nat_pmp.PORT", server.port)
    monkeypatch.setattr(PmpRouter.__init__, "__kwdefaults__", {"port": server.port})
    with geventbt.Client(dht=False, lsd=False, transport="tcp") as client:
        eventually(lambda: client.port_mappings)
        (mapping,) = client.port_mappings
        assert (mapping.port, mapping.external_port, mapping.external_host) == (client.port, 4242, EXTERNAL)
        assert server.mapped == {(TCP, client.port): 4242}
    assert server.mapped == {}


@pytest.mark.parametrize("options", [{"host": "127.0.0.1"}, {"host": "::1"}, {"port": None}, {"port_mapping": False}])
def test_no_router_is_asked_where_peers_cannot_come_or_are_not_to(monkeypatch, options):
    monkeypatch.setenv("GEVENTBT_GATEWAY", "127.0.0.1")
    before = set(os.listdir("/proc/self/fd"))
    with geventbt.Client(dht=False, lsd=False, transport="tcp", **options) as client:
        assert client.port_mappings == ()
        assert len(set(os.listdir("/proc/self/fd")) - before) <= 2
