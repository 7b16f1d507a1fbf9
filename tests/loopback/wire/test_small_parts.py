"""Messages that come in small parts over TCP, as over a network that is slower than we are."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import gevent
import pytest

from geventbt.wire.transports.base import SMALL_READ, TransportDelegate
from geventbt.wire.transports.tcp import TcpTransport
from tests.loopback.harness import eventually, remains

SIZE, PART = 16 * 1024, 1024


class Parts(TransportDelegate):
    """Takes messages of 16 KiB, and counts the reads."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.has_ended = False

    @property
    def missing(self) -> int:
        return -sum(self.sizes) % SIZE

    def on_data(self, data: memoryview) -> int:
        self.sizes.append(len(data))
        return self.missing + SMALL_READ

    def on_end(self, error: Exception | None) -> None:
        self.has_ended = True


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with peer:
            yield peer, listener.accept()[0]


@pytest.fixture
def peer(sockets: tuple[socket.socket, socket.socket]) -> socket.socket:
    return sockets[0]


@pytest.fixture
def transport(sockets: tuple[socket.socket, socket.socket]) -> Iterator[TcpTransport]:
    transport = TcpTransport(sockets[1])
    yield transport
    transport.close()


@pytest.fixture
def parts(transport: TcpTransport) -> Parts:
    parts = Parts()
    transport.attach(parts)
    return parts


def send(peer: socket.socket, size: int) -> None:
    """Send bytes in parts, with a turn of the hub after each."""
    for _ in range(size // PART):
        peer.sendall(bytes(PART))
        gevent.sleep(0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux is asked to wait")
def test_a_message_is_read_when_the_rest_of_it_is_there(peer, parts):
    messages = 20
    send(peer, messages * SIZE)
    eventually(lambda: sum(parts.sizes) == messages * SIZE)
    # Two a message; one more where the machine takes a tenth of a second for it.
    assert len(parts.sizes) < messages * SIZE // PART // 3


def test_what_has_come_is_read_although_the_rest_does_not_come(peer, parts):
    for size in (PART, 4 * PART, 2 * PART):
        before = sum(parts.sizes)
        send(peer, size)
        eventually(lambda expected=before + size: sum(parts.sizes) == expected)


def test_the_end_of_the_stream_is_seen_in_the_midst_of_a_message(peer, parts):
    send(peer, PART)
    eventually(lambda: parts.sizes)
    peer.close()
    eventually(lambda: parts.has_ended)


def test_what_comes_while_reading_is_paused_is_read_afterwards(peer, transport, parts):
    send(peer, PART)
    eventually(lambda: parts.sizes)
    transport.pause()
    send(peer, PART)
    remains(lambda: sum(parts.sizes) == PART, seconds=0.5)
    transport.resume()
    eventually(lambda: sum(parts.sizes) == 2 * PART)
