"""A client with its web interface, and a visitor who asks over HTTP."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from gevent import socket

from geventbt.web import WebServer, serve
from tests.loopback.harness import eventually

MakeServer = Callable[..., WebServer]


@dataclass
class Reply:
    """An answer to a request."""

    code: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Connection(http.client.HTTPConnection):
    """A connection of HTTP that blocks only its greenlet."""

    def connect(self) -> None:
        self.sock = socket.create_connection((self.host, self.port), timeout=10)


class Visitor:
    """Asks one server.

    Args:
        server: the server.
    """

    def __init__(self, server: WebServer) -> None:
        self.server = server

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Reply:
        """Send a request on a connection of its own; underscores in names of headers are hyphens."""
        connection = Connection("127.0.0.1", self.server.server_port)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def connect(self, data: bytes = b"") -> Any:
        """A connection on which some bytes were sent."""
        sock = socket.create_connection(("127.0.0.1", self.server.server_port), timeout=10)
        sock.sendall(data)
        return sock


@pytest.fixture
def serving_http() -> Iterator[MakeServer]:
    """Serves apps on loopback, and stops at the end."""
    servers: list[WebServer] = []

    def make(app: Any, address: Any = ("127.0.0.1", 0), **options: Any) -> WebServer:
        servers.append(serve(app, address, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.stop(0.2)
    eventually(lambda: not any(server.connections for server in servers))


def read_all(sock: Any) -> bytes:
    """All that comes until the end of a connection, or until it is broken off."""
    data = b""
    with closing(sock), suppress(ConnectionError):
        while chunk := sock.recv(65536):
            data += chunk
    return data
