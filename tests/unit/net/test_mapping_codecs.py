"""Port mapping as bytes and XML: what is asked, and whatever a router may answer."""

from __future__ import annotations

from contextlib import suppress
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventbt import limits
from geventbt.net.http.url import parse_url
from geventbt.net.mapping import igd, nat_pmp, pcp, ssdp
from geventbt.net.mapping.base import MappingFailed
from geventbt.net.mapping.gateway import GATEWAY_VARIABLE, named_gateway, parse_routes, parse_routes_ipv6
from tests.loopback.fake_routers import DESCRIPTION

URL = parse_url("http://192.168.1.1:5000/root.xml")
KINDS = ("WANIPConnection", "WANPPPConnection")
NONCE = bytes(range(12))
PCP_ANSWER = (
    b"\2\x81\0\0" + (600).to_bytes(4, "big") + bytes(16) + NONCE + b"\6\0\0\0\x1a\xe1\x1a\xe2"
    + bytes(10) + b"\xff\xff\x5d\xb8\xd8\x22"
)  # fmt: skip


def test_nat_pmp():
    assert nat_pmp.pack_address_request() == b"\0\0"
    assert nat_pmp.pack_map_request("tcp", 6881, 6882, 3600) == b"\0\2\0\0\x1a\xe1\x1a\xe2\0\0\x0e\x10"
    assert nat_pmp.parse_address(b"\0\x80\0\0\0\0\0\1\x5d\xb8\xd8\x22") == "93.184.216.34"
    answer = b"\0\x82\0\0\0\0\0\1\x1a\xe1\x1a\xe2\0\0\x0e\x10"
    assert nat_pmp.parse_mapped(answer, "tcp", 6881) == (6882, 3600)
    assert nat_pmp.parse_mapped(answer, "udp", 6881) is None
    assert nat_pmp.parse_mapped(answer, "tcp", 6883) is None
    with pytest.raises(MappingFailed, match="it is not allowed"):
        nat_pmp.parse_mapped(b"\0\x82\0\2\0\0\0\1", "tcp", 6881)


def test_pcp():
    request = pcp.pack_map_request(NONCE, "tcp", 6881, 6882, 3600, "192.168.1.5")
    assert request == (
        b"\2\1\0\0\0\0\x0e\x10" + bytes(10) + b"\xff\xff\xc0\xa8\1\5"
        + NONCE + b"\6\0\0\0\x1a\xe1\x1a\xe2" + bytes(10) + b"\xff\xff\0\0\0\0"
    )  # fmt: skip
    assert pcp.parse_mapped(PCP_ANSWER, NONCE, "tcp", 6881) == ("93.184.216.34", 6882, 600)
    assert pcp.parse_mapped(PCP_ANSWER, bytes(12), "tcp", 6881) is None
    assert pcp.parse_mapped(PCP_ANSWER, NONCE, "udp", 6881) is None
    refusal = PCP_ANSWER[:3] + b"\x08" + PCP_ANSWER[4:]
    with pytest.raises(MappingFailed, match="no ports left"):
        pcp.parse_mapped(refusal, NONCE, "tcp", 6881)


@pytest.mark.parametrize("answer", [b"\0\x80\0\1\0\0\0\1", b"\2\x81\0\1" + bytes(20)])
def test_a_router_without_pcp_is_known_by_its_version(answer):
    with pytest.raises(pcp.VersionRefused):
        pcp.parse_mapped(answer, NONCE, "tcp", 6881)


@given(st.binary(max_size=80) | st.builds(lambda at, byte: PCP_ANSWER[:at] + bytes([byte]) + PCP_ANSWER[at + 1 :],
                                          st.integers(0, 59), st.integers(0, 255)))  # fmt: skip
def test_no_datagram_is_anything_but_an_answer_a_refusal_or_left_out(data):
    for parse in (
        lambda: pcp.parse_mapped(data, NONCE, "tcp", 6881),
        lambda: nat_pmp.parse_mapped(data, "tcp", 6881),
        lambda: nat_pmp.parse_address(data),
        lambda: nat_pmp.parse_announcement(data),
        lambda: pcp.parse_announcement(data),
        lambda: ssdp.PORTS.parse_answer(data, "192.168.1.1", ""),
    ):
        with suppress(MappingFailed):
            parse()


def changed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :]


NAT_PMP_ANSWER = b"\0\x82\0\0\0\0\0\1\x1a\xe1\x1a\xe2\0\0\x0e\x10"


@pytest.mark.parametrize(
    ("name", "places"),
    [("version", [0]), ("opcode", [1]), ("nonce", range(24, 36)), ("protocol", [36]), ("port", [40, 41])],
)
def test_an_answer_of_pcp_with_another_field_is_none(name, places):
    for at in places:
        assert pcp.parse_mapped(changed(PCP_ANSWER, at), NONCE, "tcp", 6881) is None


def test_an_answer_of_pcp_with_another_result_is_a_refusal():
    with pytest.raises(MappingFailed, match="error 65"):
        pcp.parse_mapped(changed(PCP_ANSWER, 3), NONCE, "tcp", 6881)


@pytest.mark.parametrize(("name", "places"), [("version", [0]), ("opcode", [1]), ("port", [8, 9])])
def test_an_answer_of_nat_pmp_with_another_field_is_none(name, places):
    for at in places:
        assert nat_pmp.parse_mapped(changed(NAT_PMP_ANSWER, at), "tcp", 6881) is None


@pytest.mark.parametrize("at", [2, 3])
def test_an_answer_of_nat_pmp_with_another_result_is_a_refusal(at):
    with pytest.raises(MappingFailed, match="error"):
        nat_pmp.parse_mapped(changed(NAT_PMP_ANSWER, at), "tcp", 6881)


def test_answers_that_are_cut_off_are_none():
    for size in range(60):
        with suppress(MappingFailed):
            assert pcp.parse_mapped(PCP_ANSWER[:size], NONCE, "tcp", 6881) is None
    assert not any(nat_pmp.parse_mapped(NAT_PMP_ANSWER[:size], "tcp", 6881) for size in range(16))
    assert pcp.parse_mapped(PCP_ANSWER + bytes(9), NONCE, "tcp", 6881)
    assert nat_pmp.parse_mapped(NAT_PMP_ANSWER + bytes(9), "tcp", 6881)


# ---------------------------------------------------------------------- SSDP


def ssdp_answer(
    location: str = str(URL), *, status: str = "200 OK", kind: str = "device:InternetGatewayDevice:2"
) -> bytes:
    return f"HTTP/1.1 {status}\r\nLocation: {location}\r\nST: urn:schemas-upnp-org:{kind}\r\n\r\n".encode()


def test_an_answer_to_the_search_leads_to_the_description():
    assert ssdp.PORTS.parse_answer(ssdp_answer(), "192.168.1.1", "") == URL
    assert all(packet.startswith(b"M-SEARCH * HTTP/1.1\r\n") for packet in [*ssdp.PORTS.pack(), *ssdp.PINHOLES.pack()])


@pytest.mark.parametrize(
    ("data", "sender"),
    [
        (ssdp_answer(), "192.168.1.2"),
        (ssdp_answer("http://127.0.0.1/admin"), "192.168.1.1"),
        (ssdp_answer("http://router.example/"), "192.168.1.1"),
        (ssdp_answer("https://192.168.1.1/"), "192.168.1.1"),
        (ssdp_answer("http://93.184.216.34/"), "93.184.216.34"),
        (ssdp_answer(status="404 No"), "192.168.1.1"),
        (ssdp_answer(kind="device:MediaServer:1"), "192.168.1.1"),
        (ssdp_answer() + bytes(limits.UPNP_DATAGRAM), "192.168.1.1"),
        (b"NOTIFY * HTTP/1.1\r\n\r\n", "192.168.1.1"),
    ],
)
def test_an_answer_leads_nowhere_else(data, sender):
    assert ssdp.PORTS.parse_answer(data, sender, "") is None


@pytest.mark.parametrize(
    ("sender", "near", "is_right"),
    [
        ("fd00::1", "2606:4700::7", True),
        ("2606:4700::1", "2606:4700::7", True),
        ("2606:4700:0:1::1", "2606:4700::7", False),
        ("2606:4700::1", "", False),
        ("93.184.216.34", "93.184.216.34", True),
        ("93.184.216.34", "93.184.216.35", False),
    ],
)
def test_an_answer_comes_from_our_network(sender, near, is_right):
    url = f"http://[{sender}]/" if ":" in sender else f"http://{sender}/"
    found = ssdp.PINHOLES.parse_answer(ssdp_answer(url), sender, near)
    assert (str(found) if found else None) == (url if is_right else None)


# ---------------------------------------------------------------------- XML


@pytest.mark.parametrize("kind", ["WANIPConnection", "WANPPPConnection"])
def test_the_service_of_a_description(kind):
    data = DESCRIPTION.format(kind=kind, control="ctl?a=1&amp;b=2").encode()
    (service,) = igd.parse_description(data, URL, KINDS)
    assert service.type == f"urn:schemas-upnp-org:service:{kind}:1"
    assert str(service.control) == "http://192.168.1.1:5000/ctl?a=1&b=2"


@pytest.mark.parametrize(
    "kind",
    ["WANIPConnection:1&#10;X-Admin: 1", "WANIPConnection:\u0661", "WANIPConnection", "WANPPPConnection:1 x"],
)
def test_a_service_whose_type_is_none_is_left_out(kind):
    data = DESCRIPTION.replace("{kind}:1", kind).format(control="/c").encode()
    assert igd.parse_description(data, URL, KINDS) == []


@pytest.mark.parametrize("control", ["http://127.0.0.1/", "http://evil.example/", "https://192.168.1.1/", "", "ftp:x"])
def test_a_control_url_of_another_host_is_left_out(control):
    data = DESCRIPTION.format(kind="WANIPConnection", control=control).encode()
    assert igd.parse_description(data, URL, KINDS) == []


def test_a_base_of_another_host_is_left_out():
    data = DESCRIPTION.format(kind="WANIPConnection", control="/c").replace(
        "<device>", "<URLBase>http://127.0.0.1/</URLBase><device>", 1
    )
    assert igd.parse_description(data.encode(), URL, KINDS) == []


ENTITIES = b'<!DOCTYPE a [<!ENTITY b "xxxx"><!ENTITY c "&b;&b;&b;">]><root>&c;</root>'
EXTERNAL = b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><root/>'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (ENTITIES, "document type"),
        (EXTERNAL, "document type"),
        (b"<a>" * 100, "too much XML"),
        (b"<r>" + b"<a/>" * 10_000 + b"</r>", "too much XML"),
        (b"<a><b></a>", "broken XML"),
        (b"&undefined;", "broken XML"),
        (b"\xff\xfe<\0", "broken XML"),
        (b"<?xml version='1.0' encoding='nonsense'?><a/>", "broken XML"),
        (b"", "broken XML"),
    ],
)
def test_hostile_xml_is_refused_at_once(data, message):
    started = perf_counter()
    with pytest.raises(MappingFailed, match=message):
        igd.parse_description(data, URL, KINDS)
    with pytest.raises(MappingFailed, match=message):
        igd.parse_result(data, "NewExternalIPAddress")
    assert igd.parse_fault(data, 500).code == 0
    assert perf_counter() - started < 1


@given(st.binary(max_size=200))
def test_no_bytes_make_a_reader_fail_otherwise(data):
    with suppress(MappingFailed):
        igd.parse_description(data, URL, KINDS)
    igd.parse_fault(data, 500)


def test_only_the_services_that_are_wanted_are_found():
    data = DESCRIPTION.format(kind="WANIPv6FirewallControl", control="/c").encode()
    assert igd.parse_description(data, URL, KINDS) == []
    assert len(igd.parse_description(data, URL, ("WANIPv6FirewallControl",))) == 1


def test_an_action_and_its_answers():
    service = igd.Service("urn:schemas-upnp-org:service:WANIPConnection:1", URL)
    body, headers = igd.pack_action(service, "AddPortMapping", {"NewRemoteHost": "", "NewExternalPort": "<&>"})
    assert headers["SOAPAction"] == '"urn:schemas-upnp-org:service:WANIPConnection:1#AddPortMapping"'
    assert b"<NewRemoteHost></NewRemoteHost><NewExternalPort>&lt;&amp;&gt;</NewExternalPort>" in body
    assert igd.parse_result(b"<s:E><u:R><NewExternalIPAddress> 1.2.3.4 </NewExternalIPAddress></u:R></s:E>",
                            "NewExternalIPAddress") == "1.2.3.4"  # fmt: skip
    fault = igd.parse_fault(b"<a><errorCode>718</errorCode><errorDescription>Con\x7fflict</errorDescription></a>", 500)
    assert (fault.code, str(fault)) == (718, "error 718 Con\ufffdflict")
    assert igd.parse_fault(b"<a><errorCode>-1</errorCode></a>", 500).code == 0


# ---------------------------------------------------------------------- the gateway

ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0201A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0
tun0\t00000000\t01000080\t0003\t0\t0\t0\t00000080\t0\t0\t0
eth0\t0000000A\t00000000\t0001\t0\t0\t100\t000000FF\t0\t0\t0
nonsense
"""


def test_the_gateway_is_that_of_the_best_default_route():
    assert parse_routes(ROUTES) == "10.0.0.1"
    assert parse_routes(ROUTES, "wlan0") == "192.168.1.2"
    assert parse_routes(ROUTES, "lo") is None
    assert parse_routes("") is None


ROUTES_IPV6 = """fd99000000000000 00 nonsense
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000003 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000200 00000003 00000000 00000003    wlan0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
"""  # noqa: E501


def test_the_gateway_of_ipv6_has_its_device_where_it_is_of_the_link():
    assert parse_routes_ipv6(ROUTES_IPV6) == ("fd00::1", "wlan0")
    assert parse_routes_ipv6(ROUTES_IPV6, "eth0") == ("fe80::1%eth0", "eth0")
    assert parse_routes_ipv6(ROUTES_IPV6, "lo") is None
    assert parse_routes_ipv6("") is None


def test_the_environment_may_name_the_router(monkeypatch):
    assert named_gateway() == ""
    monkeypatch.setenv(GATEWAY_VARIABLE, "192.168.7.1")
    assert named_gateway() == "192.168.7.1"
    monkeypatch.delenv(GATEWAY_VARIABLE)
    assert named_gateway() is None
    monkeypatch.setenv(GATEWAY_VARIABLE, "router")
    with pytest.raises(ValueError, match="'router' is not an IPv4 address"):
        named_gateway()
