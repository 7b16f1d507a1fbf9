"""What the system knows of the path of a connection."""

from __future__ import annotations

import socket
import struct
import sys

import gevent
import pytest

from geventbt.net.tcp_path import TcpPath, tcp_path

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells of the path")


class Told:
    """A socket of which the system tells something."""

    def __init__(self, info: bytes) -> None:
        self._info = info

    def getsockopt(self, level: int, option: int, buflen: int) -> bytes:
        return self._info[:buflen]


def info(round_trip: int, least: int) -> bytes:
    """`struct tcp_info`: ten segments of 1448 bytes are under way, and the last acknowledgement came 20 ms ago."""
    return struct.pack("=16xI4xI28xI8xI48xQ16xII", 1448, 10, 20, round_trip, 777, 5000, least) + bytes(80)


def test_what_a_round_trip_takes_more_than_at_best_is_spent_in_queues() -> None:
    assert tcp_path(Told(info(250_000, 100_000))) == TcpPath(pytest.approx(0.15), 19_480, 777, 0.02)
    path = tcp_path(Told(info(100_000, 100_000)))
    assert path is not None
    assert path.queue_time == 0


def test_nothing_is_known_before_a_round_trip_or_from_an_old_kernel() -> None:
    assert tcp_path(Told(info(0, 0xFFFFFFFF))) is None
    assert tcp_path(Told(info(250_000, 100_000)[:104])) is None


def test_it_is_known_of_a_connection_over_loopback_and_of_nothing_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
        theirs, _ = server.accept()
        with theirs:
            ours.sendall(bytes(1000))
            while (path := tcp_path(ours)) is None or path.acknowledged < 1000:
                gevent.sleep(0.001)
            assert path.under_way == 0
            assert path.queue_time < 60
            assert path.silence < 60
    assert tcp_path(ours) is None
    one, other = socket.socketpair()
    with one, other:
        assert tcp_path(one) is None
