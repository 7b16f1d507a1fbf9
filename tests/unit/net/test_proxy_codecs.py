"""What is said to a proxy, and what it may answer, as bytes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventbt import limits
from geventbt.errors import ProxyError
from geventbt.net.proxy.http_connect import tunnel
from geventbt.net.proxy.socks import ASSOCIATE, CONNECT, Steps, negotiate, pack_datagram, unpack_datagram
from geventbt.net.proxy.url import ProxyURL, parse_proxy

SOCKS = parse_proxy("socks5://proxy.example")
LOGIN = parse_proxy("socks5://me:p%40ss@proxy.example:9050")
HTTP = parse_proxy("http://me:p%40ss@[::1]:3128")
PEER, NAME = ("203.0.113.9", 6881), ("tracker.example", 80)
BOUND = b"\x01\x0a\x00\x00\x01\x04\x38"


class CutOff(Exception):
    """The proxy has said all that it will."""


def converse(steps: Steps, answers: bytes) -> tuple[bytes, tuple[str, int]]:
    """What is sent to a proxy that says these bytes, and the outcome."""
    sent, given = b"", b""
    try:
        while True:
            step = steps.send(given) if given else next(steps)
            given = b""
            if isinstance(step, bytes):
                sent += step
            elif len(answers) < step:
                raise CutOff
            else:
                given, answers = answers[:step], answers[step:]
    except StopIteration as end:
        return sent, end.value


def test_a_connection_by_address_and_by_name():
    sent, bound = converse(negotiate(SOCKS, CONNECT, PEER), b"\5\0" + b"\5\0\0" + BOUND)
    assert sent == b"\5\1\0" + b"\5\1\0\1\xcb\x00\x71\x09\x1a\xe1"
    assert bound == ("10.0.0.1", 1080)
    sent, _ = converse(negotiate(SOCKS, CONNECT, NAME), b"\5\0" + b"\5\0\0" + BOUND)
    assert sent[3:] == b"\5\1\0\3\x0ftracker.example\x00\x50"
    sent, _ = converse(negotiate(SOCKS, CONNECT, ("::1", 80)), b"\5\0" + b"\5\0\0" + BOUND)
    assert sent[3:] == b"\5\1\0\4" + bytes(15) + b"\1\x00\x50"


def test_a_login_is_sent_where_it_is_asked_for():
    asked = b"\5\2" + b"\1\0" + b"\5\0\0" + BOUND
    sent, _ = converse(negotiate(LOGIN, ASSOCIATE, ("0.0.0.0", 0)), asked)
    assert sent == b"\5\2\0\2" + b"\1\2me\4p@ss" + b"\5\3\0\1" + bytes(6)
    sent, _ = converse(negotiate(LOGIN, CONNECT, PEER), b"\5\0" + b"\5\0\0" + BOUND)
    assert b"p@ss" not in sent


@pytest.mark.parametrize("bound", [b"\3\4host\x04\x38", b"\4" + bytes(16) + b"\x04\x38", BOUND])
def test_what_was_bound_may_be_of_any_type(bound):
    assert converse(negotiate(SOCKS, CONNECT, PEER), b"\5\0\5\0\0" + bound)[1][1] == 1080


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (b"HT", "does not speak SOCKS5: its answer begins with 72"),
        (b"\5\xff", "wants a login"),
        (b"\5\2", "wants a login"),
        (b"\5\0" + b"\4\0\0\1", "does not speak SOCKS5"),
        (b"\5\0" + b"\5\2\0\1", r"refuses 203\.0\.113\.9:6881: it does not allow this"),
        (b"\5\0" + b"\5\7\0\1", "it does not know this command"),
        (b"\5\0" + b"\5\x63\0\1", "error 99"),
        (b"\5\0" + b"\5\0\0\x09", "address of type 9"),
    ],
)
def test_a_proxy_that_refuses_is_a_proxy_error(answers, message):
    with pytest.raises(ProxyError, match=message):
        converse(negotiate(SOCKS, CONNECT, PEER), answers)


def test_a_peer_that_cannot_be_reached_is_no_fault_of_the_proxy():
    with pytest.raises(OSError, match="refused, says the proxy") as failure:
        converse(negotiate(SOCKS, CONNECT, PEER), b"\5\0" + b"\5\5\0\1")
    assert not isinstance(failure.value, ProxyError)


def test_a_wrong_login_is_a_proxy_error_without_the_password():
    with pytest.raises(ProxyError, match="refuses the login") as failure:
        converse(negotiate(LOGIN, CONNECT, PEER), b"\5\2\1\1")
    assert "p@ss" not in str(failure.value)


@given(st.binary(max_size=400), st.sampled_from([SOCKS, LOGIN, HTTP]))
def test_no_answer_does_anything_but_succeed_fail_or_wait_for_more(answers, proxy):
    steps = tunnel(proxy, NAME) if proxy is HTTP else negotiate(proxy, CONNECT, NAME)
    with suppress(OSError, CutOff):
        converse(steps, answers)


@given(st.binary(max_size=100), st.ip_addresses(), st.integers(1, 65535))
def test_datagrams_survive_the_relay(data, host, port):
    assert unpack_datagram(pack_datagram(data, (str(host), port))) == (data, (str(host), port))


@given(st.binary(max_size=40))
def test_any_datagram_of_the_relay_is_read_or_left_out(packet):
    found = unpack_datagram(packet)
    assert found is None or len(found[0]) < len(packet)


def test_fragments_are_left_out():
    assert unpack_datagram(b"\0\0\1" + pack_datagram(b"x", PEER)[3:]) is None


# ---------------------------------------------------------------------- HTTP


def test_a_tunnel():
    sent, target = converse(tunnel(HTTP, NAME), b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n")
    assert target == NAME
    assert sent == (
        b"CONNECT tracker.example:80 HTTP/1.1\r\nHost: tracker.example:80\r\n"
        b"Proxy-Authorization: Basic bWU6cEBzcw==\r\n\r\n"
    )
    assert converse(tunnel(SOCKS, ("::1", 5)), b"HTTP/1.0 200\n\n")[0].startswith(b"CONNECT [::1]:5 HTTP")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 407 No\r\n\r\n", "wants a login"),
        (b"HTTP/1.1 403 No\r\n\r\n", "refuses tracker.example:80: 403"),
        (b"SSH-2.0\r\n\r\n", "not an answer of HTTP/1"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * limits.HTTP_HEAD, "longer than"),
    ],
)
def test_a_proxy_that_gives_no_tunnel_is_a_proxy_error(answer, message):
    with pytest.raises(ProxyError, match=message):
        converse(tunnel(HTTP, NAME), answer)


def test_a_host_that_the_proxy_cannot_reach_is_not_its_fault():
    with pytest.raises(OSError, match="could not connect: 502"):
        converse(tunnel(HTTP, NAME), b"HTTP/1.1 502 Bad Gateway\r\n\r\n")


# ---------------------------------------------------------------------- URLs


def test_urls_of_proxies():
    assert ProxyURL("socks5", "proxy.example", 9050, b"me", b"p@ss") == LOGIN
    assert (SOCKS.port, HTTP.host, HTTP.port) == (1080, "::1", 3128)
    assert parse_proxy("socks5h://h").kind == "socks5"


def test_a_proxy_is_shown_without_its_login():
    assert f"{LOGIN} {HTTP}" == "socks5://proxy.example:9050 http://[::1]:3128"
    assert "p@ss" not in repr(LOGIN)
    assert "me" not in repr(LOGIN).replace("name", "")


@pytest.mark.parametrize(
    "text",
    ["", "proxy:1080", "socks4://h", "https://h", "socks5://", "socks5://h:0", "socks5://h:99999", "socks5://h:x",
     "socks5://h/path", "socks5://h?q", "socks5://[::1", f"socks5://{'u' * 256}@h", "socks5://u:secret@"],
)  # fmt: skip
def test_what_is_not_a_proxy_is_an_error_that_does_not_show_it(text):
    with pytest.raises(ValueError, match="prox") as failure:
        parse_proxy(text)
    assert "secret" not in str(failure.value)
