"""Connecting to the first of several addresses that answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent import socket as gevent_socket

from geventbt.errors import FetchError
from geventbt.net.http import connector
from geventbt.net.http.connection import HTTPConnection
from geventbt.net.network import DIRECT, Network
from geventbt.net.resolve import Endpoint
from geventbt.net.tcp import connect_first, interleaved
from tests.free_port import free_port
from tests.loopback.harness import gevent_listener
from tests.loopback.http_server import HTTPServer


def at(port: int, host: str = "127.0.0.1") -> Endpoint:
    return Endpoint(socket.AF_INET, (host, port))


@pytest.fixture
def listener() -> Iterator[Any]:
    """Accepts connections."""
    with gevent_listener() as sock:
        yield sock


@pytest.fixture
def silent() -> Iterator[Endpoint]:
    """An address that neither accepts nor refuses: its queue of connections is full."""
    with gevent_socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        fillers = []
        for _ in range(3):
            fillers.append(gevent_socket.socket())
            fillers[-1].setblocking(False)
            fillers[-1].connect_ex(sock.getsockname())
        yield at(sock.getsockname()[1])
        for filler in fillers:
            filler.close()


@pytest.fixture
def closed() -> Endpoint:
    """An address that refuses."""
    return at(free_port())


def test_the_first_address_that_answers_is_taken(listener, silent, closed):
    good = at(listener.getsockname()[1])
    for endpoints in ([good], [good, closed], [closed, good], [silent, good], [closed, silent, good, closed]):
        sock, endpoint = connect_first(endpoints, 0.02, DIRECT)
        assert endpoint == good
        sock.close()


def test_the_next_address_is_tried_while_the_first_is_silent(listener, silent):
    with gevent.Timeout(5):
        connect_first([silent, at(listener.getsockname()[1])], 0.02, DIRECT)[0].close()


def test_the_error_is_that_of_the_first_address(closed):
    other = at(closed.address[1], "127.0.0.2")
    with pytest.raises(ConnectionRefusedError):
        connect_first([closed, other], 0.02, DIRECT)


def test_a_deadline_leaves_nothing_behind(silent):
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
        connect_first([silent, silent], 0.02, DIRECT)


def test_the_families_take_turns():
    four = [at(n) for n in range(3)]
    six = [Endpoint(socket.AF_INET6, ("::1", n)) for n in range(1)]
    assert interleaved([*six, *four]) == [six[0], *four]
    assert interleaved([*four, *six]) == [four[0], six[0], four[1], four[2]]


def test_an_address_that_failed_is_tried_last_the_next_time(monkeypatch):
    tried: list[str] = []

    def connect(endpoints: list[Endpoint], delay: float, network: Network, source: None) -> Any:
        tried.append(endpoints[0].host)
        good = next(endpoint for endpoint in endpoints if endpoint.host == "127.0.0.1")
        return connect_first([good], delay, network)

    server = HTTPServer(b"hello")
    names = [at(server.port, "127.0.0.9"), at(server.port)]
    network = Network()
    monkeypatch.setattr(network, "resolve", lambda *args, **options: names)
    monkeypatch.setattr(connector, "connect_first", connect)
    for _ in range(2):
        with HTTPConnection(server.url("/"), network=network) as connection:
            assert connection.get("/").read(5) == b"hello"
    server.close()
    assert tried == ["127.0.0.9", "127.0.0.1"]


def test_a_server_that_does_not_accept_is_left_at_the_deadline(silent):
    with pytest.raises(FetchError, match=r"no connection within 0\.1 seconds"):
        HTTPConnection(f"http://127.0.0.1:{silent.address[1]}", connect_timeout=0.1).get("/")
