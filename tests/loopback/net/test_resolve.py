"""Looking up names: what is not one, what the program has put in our place, and what a busy pool holds up."""

from __future__ import annotations

import socket
import threading
from typing import Any

import gevent
import pytest
from gevent import socket as gevent_socket

import geventbt
from geventbt import FetchError
from geventbt.net.resolve import resolve

NOT_NAMES = [
    "",
    ".",
    "*",
    "a..b",
    "a b",
    "x" * 64,
    "x" * 300,
    "a." * 127 + "a",
    "localhost\0.example.org",
    "127.0.0.1\0.example.org",
    "localhost\n",
    "\u202elocalhost",
    "\ud800",
    "[::1]",
    "::1%lo",
    "fe80::1%no-such-interface",
    "localhost:80",
    "http://localhost",
    "1.2.3.4.5",
]


@pytest.mark.parametrize("host", NOT_NAMES, ids=ascii)
def test_what_is_not_the_name_of_a_host_is_an_error_without_a_lookup(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(gevent_socket, "getaddrinfo", lambda *args: asked.append(args))
    with pytest.raises(FetchError, match="not the name of a host") as caught:
        resolve(host, 80)
    assert not asked
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("host", "family", "ip"),
    [
        ("127.0.0.1", socket.AF_INET, "127.0.0.1"),
        ("::1", socket.AF_INET6, "::1"),
        # Other spellings of an address: what it leads to is judged by the address.
        ("127.1", socket.AF_INET, "127.0.0.1"),
        ("0x7f000001", socket.AF_INET, "127.0.0.1"),
        ("\N{FULLWIDTH DIGIT ONE}27.0.0.1", socket.AF_INET, "127.0.0.1"),
    ],
)
def test_an_ip_address_is_taken_as_it_is(host: str, family: int, ip: str) -> None:
    (endpoint,) = resolve(host, 80)
    assert (endpoint.family, endpoint.address) == (family, (ip, 80))


def test_a_function_that_the_program_puts_in_gevents_place_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_the_program(host: Any, port: int, *args: Any) -> Any:
        assert host == "peer.example"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", port))]

    monkeypatch.setattr(gevent_socket, "getaddrinfo", of_the_program)
    assert [endpoint.address for endpoint in resolve("peer.example", 80)] == [("192.0.2.7", 80)]


def test_neither_addresses_nor_names_wait_for_gevents_threads() -> None:
    pool = gevent.get_hub().threadpool
    over = threading.Event()
    busy = [pool.spawn(over.wait, 10) for _ in range(pool.maxsize)]
    try:
        with gevent.Timeout(5):
            assert resolve("127.0.0.1", 80)
            assert resolve("localhost", 80)
    finally:
        over.set()
        gevent.wait(busy)
        pool.kill()


@pytest.mark.parametrize("address", [(None, 80), (b"127.0.0.1", 80), ("127.0.0.1",), (5, 5)], ids=repr)
def test_what_is_not_an_address_is_the_callers_error(address: Any) -> None:
    with pytest.raises(TypeError, match=r"neither \(host, port\) nor host:port"):
        geventbt.connect(address)


def test_every_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_three(host: Any, port: int, *args: Any) -> Any:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", port)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]

    with geventbt.listen(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(gevent_socket, "getaddrinfo", all_three)
        with geventbt.connect(("dual.example", server.server_port)) as wire:
            assert wire.remote_address == ("127.0.0.1", server.server_port)
