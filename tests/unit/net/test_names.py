"""Questions to name servers as bytes, whatever they answer, and where the servers come from."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventbt.errors import FetchError
from geventbt.net.dns_packets import IPV4, IPV6, ServerFailed, pack_query, parse_answer
from geventbt.net.name_servers import (
    SERVERS_VARIABLE,
    hosts_file,
    named_servers,
    parse_configuration,
    system_servers,
)
from tests.loopback.fake_names import ALIAS, FAILED, NO_SUCH_NAME, answer, packed, record

NAME = "tracker.example.org"
QUERY = pack_query(0x1234, NAME, IPV4)
HERE = b"\xc0\x0c"
HOST = record(HERE, IPV4, bytes([93, 184, 216, 34]))
ALIASED = (
    record(HERE, ALIAS, packed("cdn.Example.net")),
    record(packed("other.example.net"), IPV4, bytes([6, 6, 6, 6])),
    record(packed("CDN.example.net"), IPV4, bytes([93, 184, 216, 35])),
    record(HERE, 16, b"\4text"),
    record(HERE, IPV4, b"\1\2\3"),
)


def read(data: bytes, kind: int = IPV4) -> list[str] | None:
    return parse_answer(data, 0x1234, NAME, kind)


def test_a_query_and_its_answer():
    assert QUERY == b"\x12\x34\1\0\0\1\0\0\0\0\0\0\7tracker\7example\3org\0\0\1\0\1"
    assert read(answer(QUERY, HOST, HOST)) == ["93.184.216.34"] * 2
    query = pack_query(0x1234, NAME + ".", IPV6)
    assert query[-4:] == b"\0\x1c\0\1"
    assert read(answer(query, record(HERE, IPV6, ip_address("2001:db8::1").packed)), IPV6) == ["2001:db8::1"]
    assert read(answer(QUERY)) == []


def test_a_name_that_stands_for_another_has_its_addresses():
    assert read(answer(QUERY, *ALIASED)) == ["93.184.216.35"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        answer(QUERY, HOST)[:11],
        b"\x12\x35" + answer(QUERY, HOST)[2:],
        QUERY,
        answer(pack_query(0x1234, "another.example.org", IPV4), HOST),
        answer(pack_query(0x1234, NAME, IPV6), HOST),
    ],
)
def test_what_is_not_the_answer_is_left_out(data):
    assert read(data) is None


def test_a_name_that_is_not_there_is_an_error():
    with pytest.raises(FetchError, match="no such name"):
        read(answer(QUERY, flags=NO_SUCH_NAME))
    with pytest.raises(ServerFailed):
        read(answer(QUERY, flags=FAILED))


@pytest.mark.parametrize(
    "record",
    [
        # A pointer to itself, on, and beyond the end; a label of a type that there is none of; and one that is cut off.
        b"\xc0\x25" + HOST[2:],
        b"\xc0\x30" + HOST[2:],
        b"\xff\xff" + HOST[2:],
        b"\x80" + HOST[2:],
        b"\x3fabc",
        b"\x3f" + b"a" * 63 + (b"\x3f" + b"a" * 63) * 5 + HOST[1:],
        HOST[:7],
    ],
)
def test_an_answer_that_cannot_be_read_is_a_failure_of_the_server(record):
    with pytest.raises(ServerFailed):
        read(answer(QUERY, record))


@given(
    st.binary(max_size=600)
    | st.integers(0, 200).map(lambda size: answer(QUERY, HOST, *ALIASED)[:size])
    | st.builds(
        lambda at, byte: (data := answer(QUERY, *ALIASED, HOST))[:at] + bytes([byte]) + data[at + 1 :],
        st.integers(0, 200),
        st.integers(0, 255),
    )
)
def test_any_bytes_are_addresses_a_failure_or_left_out(data):
    with suppress(FetchError, ServerFailed):
        for address in read(data) or ():
            ip_address(address)


# ---------------------------------------------------------------------- servers


def test_the_servers_of_the_system(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("# nameserver 9.9.9.9\nsearch example.org\nnameserver 127.0.0.53\nnameserver\nnameserver x\n")
    second.write_text("".join(f"nameserver 10.0.0.{number}\n" for number in range(1, 6)))
    files = [str(first), str(tmp_path / "none"), str(second)]
    assert parse_configuration(first.read_text()) == ["127.0.0.53"]
    assert system_servers(takes_loopback=True, files=files) == [("127.0.0.53", 53)]
    assert system_servers(takes_loopback=False, files=files) == [(f"10.0.0.{number}", 53) for number in (1, 2, 3)]
    assert system_servers(takes_loopback=False, files=files[:2]) == []


def test_the_environment_may_name_servers(monkeypatch):
    monkeypatch.delenv(SERVERS_VARIABLE, raising=False)
    assert named_servers() is None
    monkeypatch.setenv(SERVERS_VARIABLE, "10.8.0.1 fd00::1 127.0.0.1:5353 [::1]:54")
    assert named_servers() == [("10.8.0.1", 53), ("fd00::1", 53), ("127.0.0.1", 5353), ("::1", 54)]
    for wrong in ("dns.example.org", "10.8.0.1:0", "10.8.0.1:x", "10.8.0.1,10.8.0.2"):
        monkeypatch.setenv(SERVERS_VARIABLE, wrong)
        with pytest.raises(ValueError, match="is not an IP address"):
            named_servers()


def test_a_file_of_hosts():
    text = (
        "127.0.0.1 localhost\n# 1.2.3.4 peer.test\n10.0.0.9\tPeer.test peer # peer.test\nx peer.test\n::1 peer.test\n"
    )
    assert hosts_file(text, "peer.test.") == ["10.0.0.9", "::1"]
    assert hosts_file(text, "10.0.0.9") == []
