"""Which addresses untrusted parties may send us to."""

from __future__ import annotations

import pytest

from geventbt.net.addresses import (
    IPV4_BYTES,
    IPV6_BYTES,
    Ports,
    Scope,
    is_host_name,
    is_ip_address,
    is_port,
    is_socket_address,
    may_connect,
    named_addresses,
    normalise,
    pack_address,
    plain_host,
    scope_of,
    unpack_addresses,
)

PUBLIC, OTHER_PUBLIC, LAN, LOOPBACK = "93.184.216.34", "2606:4700::1111", "192.168.1.5", "127.0.0.1"


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ((PUBLIC, 6881), (PUBLIC, 6881)),
        ([PUBLIC, 6881], (PUBLIC, 6881)),
        ((f"::ffff:{PUBLIC}", 6881), (PUBLIC, 6881)),
        (("::FFFF:7f00:1", 1), ("127.0.0.1", 1)),
        (("2606:4700:0:0::1111", 65535, 0, 0), (OTHER_PUBLIC, 65535)),
        (("2606:4700::1111%eth0", 1), (OTHER_PUBLIC, 1)),
        (("fe80::1%eth0", 1), ("fe80::1%eth0", 1)),
        (("::1", 1), ("::1", 1)),
    ],
)
def test_an_address_has_one_form(address, known):
    assert normalise(address) == known


@pytest.mark.parametrize(
    "address",
    [
        (PUBLIC, 0),
        (PUBLIC, 65536),
        (PUBLIC, -1),
        (PUBLIC, True),
        (PUBLIC, "6881"),
        (PUBLIC, 6881.0),
        (PUBLIC,),
        (),
        PUBLIC,
        None,
        (None, 6881),
        (b"\x7f\0\0\1", 6881),
        (2130706433, 6881),
        ("localhost", 6881),
        ("127.1", 6881),
        ("", 6881),
        ("1" * 1_000_000, 6881),
        ("fe80::1%" + "x" * 1_000_000, 6881),
        ("fe80::1%eth0\n", 6881),
        ("fe80::1%\x1b[31m", 6881),
        ("fe80::1%\u202e", 6881),
        ("0.0.0.0", 6881),
        ("0.1.2.3", 6881),
        ("::", 6881),
        ("::ffff:0.0.0.0", 6881),
        ("224.0.0.1", 6881),
        ("239.192.152.143", 6771),
        ("::ffff:224.0.0.1", 6881),
        ("ff02::1", 6881),
        ("255.255.255.255", 6881),
        ("240.0.0.1", 6881),
        ("::127.0.0.1", 6881),
        ("64:ff9b::7f00:1", 6881),
    ],
)
def test_what_no_peer_can_have_is_no_address(address):
    assert normalise(address) is None
    assert not may_connect(address, None)


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        ("127.0.0.1", Scope.LOOPBACK),
        ("127.255.0.1", Scope.LOOPBACK),
        ("::1", Scope.LOOPBACK),
        ("::ffff:127.0.0.1", Scope.LOOPBACK),
        ("10.0.0.1", Scope.LOCAL),
        ("172.16.0.1", Scope.LOCAL),
        ("192.168.0.1", Scope.LOCAL),
        ("169.254.169.254", Scope.LOCAL),
        ("100.64.0.1", Scope.LOCAL),
        ("fc00::1", Scope.LOCAL),
        ("fe80::1%eth0", Scope.LOCAL),
        ("fec0::1", Scope.LOCAL),
        ("2002:c0a8:0101::1", Scope.LOCAL),
        ("2002:7f00:1::", Scope.LOOPBACK),
        (PUBLIC, Scope.GLOBAL),
        (OTHER_PUBLIC, Scope.GLOBAL),
        ("tracker.example", Scope.GLOBAL),
    ],
)
def test_each_address_has_a_scope(host, scope):
    assert scope_of(host) is scope


@pytest.mark.parametrize(
    ("host", "told_by", "allowed"),
    [
        (PUBLIC, PUBLIC, True),
        (PUBLIC, LAN, True),
        (PUBLIC, LOOPBACK, True),
        (LAN, PUBLIC, False),
        (LAN, LAN, True),
        (LAN, LOOPBACK, True),
        (LOOPBACK, PUBLIC, False),
        (LOOPBACK, LAN, False),
        (LOOPBACK, LOOPBACK, True),
        ("::ffff:127.0.0.1", PUBLIC, False),
        (LOOPBACK, "::ffff:127.0.0.1", True),
        (LOOPBACK, "tracker.example", False),
        (LOOPBACK, "", False),
        (LOOPBACK, None, True),
        (LAN, None, True),
        (PUBLIC, "", True),
    ],
)
def test_nobody_sends_us_nearer_than_they_are(host, told_by, allowed):
    assert may_connect((host, 6881), told_by) is allowed


@pytest.mark.parametrize("text", ["peer", "peer.example.org", "a.b.", "my_host", "x" * 63, "1.2.3.4.example"])
def test_the_name_of_a_host(text):
    assert is_host_name(text)


@pytest.mark.parametrize(
    "text",
    ["", ".", "a b", "a\n", "127.1", "1.2.3.4", "0x7f", "0x7f.1", "::1", "x" * 64, "é.example", "a." * 127 + "a"],
)
def test_what_is_not_the_name_of_a_host(text):
    assert not is_host_name(text)


def test_an_address_can_be_shown():
    assert is_ip_address("fe80::1%eth0")
    assert not any(is_ip_address(f"fe80::1%{zone}") for zone in ("eth0\n", "\x1b[31m", "\u202e", "a b\0"))


def test_an_address_in_compact_form():
    assert pack_address(("1.2.3.4", 258), IPV4_BYTES) == b"\1\2\3\4\1\2"
    assert pack_address(("::1", 1), IPV6_BYTES) == bytes(15) + b"\1\0\1"
    assert pack_address(("::1", 1), IPV4_BYTES) == b""


@pytest.mark.parametrize("address", [("localhost", 1), ("", 1), ("1.2.3.4", 0), ("1.2.3.4", -1), ("1.2.3.4", 65536)])
def test_what_no_peer_can_have_has_no_compact_form(address):
    with pytest.raises(ValueError):
        pack_address(address, IPV4_BYTES)


def test_compact_addresses_are_read_with_none_for_what_no_peer_can_have():
    data = b"\1\2\3\4\1\2" + b"\0\0\0\0\1\1" + b"\1\2\3\4\0\0" + b"\xe0\0\0\1\1\1" + b"\xff\xff\xff\xff\1\1" + b"cut"
    assert list(unpack_addresses(data, IPV4_BYTES)) == [("1.2.3.4", 258), None, None, None, None]
    mapped = bytes(10) + b"\xff\xff\1\2\3\4\0\1"
    assert list(unpack_addresses(mapped, IPV6_BYTES)) == [("1.2.3.4", 1)]


@pytest.mark.parametrize(
    ("host", "plain"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("::1", "::1"),
        ("::ffff:1:2", "::ffff:1:2"),
        ("2001:db8::ffff:192.0.2.1", "2001:db8::ffff:192.0.2.1"),
    ],
)
def test_an_address_that_is_mapped_into_ipv6_is_written_as_ipv4(host, plain):
    assert plain_host(host) == plain


def test_each_family_has_its_own_port():
    assert Ports(6881, None).over("192.0.2.1") == 6881
    assert Ports(6881, None).over("2001:db8::1") is None
    assert Ports(None, 6881).over("2001:db8::1") == 6881


@pytest.mark.parametrize("address", [("host", 1), ["::1", 0], ("fe80::1", 6881, 0, 2), ("", 65536)])
def test_the_form_of_a_sockets_address_is_known(address):
    assert is_socket_address(address)


@pytest.mark.parametrize("address", ["host:1", ("host",), ("host", "1"), (b"host", 1), (1, 1), {"host": 1}, None])
def test_other_forms_are_not_taken_for_a_sockets_address(address):
    assert not is_socket_address(address)


def test_zero_is_a_port_only_where_it_is_allowed():
    assert [is_port(port) for port in (-1, 0, 1, 65535, 65536)] == [False, False, True, True, False]
    assert [is_port(port, least=0) for port in (-1, 0, 65535, 65536)] == [False, True, True, False]
    assert not is_port(False, least=0)


def test_a_user_names_addresses_as_pairs_or_texts():
    assert named_addresses([("host", 1), ["::1", 2], "[::1]:3"], "peers") == [("host", 1), ("::1", 2), ("::1", 3)]


@pytest.mark.parametrize("address", [("", 1), ("host", 0), ("host", "1"), ("::1", 1, 0, 0), ":6881", "host", 6881])
def test_what_cannot_be_connected_to_is_refused_by_the_name_of_the_argument(address):
    with pytest.raises(ValueError, match=r"^peers: .* must be a \(host, port\) or 'host:port'"):
        named_addresses([address], "peers")
