"""What the system knows of the path of a connection."""

from __future__ import annotations

import socket
import struct
import sys

import pytest

from geventbt.net.tcp_path import queue_time

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells of the path")


class Told:
    """A socket of which the system tells something."""

    def __init__(self, info: bytes) -> None:
        self._info = info

    def getsockopt(self, level: int, option: int, buflen: int) -> bytes:
        return self._info[:buflen]


def info(round_trip: int, least: int) -> bytes:
    """`struct tcp_info`, with round trips in microseconds."""
    return struct.pack("=68xI76xI", round_trip, least) + bytes(80)


def test_what_a_round_trip_takes_more_than_at_best_is_spent_in_queues() -> None:
    assert queue_time(Told(info(250_000, 100_000))) == pytest.approx(0.15)
    assert queue_time(Told(info(100_000, 100_000))) == 0


def test_nothing_is_known_before_a_round_trip_or_from_an_old_kernel() -> None:
    assert queue_time(Told(info(0, 0xFFFFFFFF))) is None
    assert queue_time(Told(info(250_000, 100_000)[:104])) is None


def test_it_is_known_of_a_connection_over_loopback_and_of_nothing_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
        theirs, _ = server.accept()
        with theirs:
            ours.sendall(b"x")
            theirs.recv(1)
            known = queue_time(ours)
            assert known is not None
            assert known < 60
    assert queue_time(ours) is None
    one, other = socket.socketpair()
    with one, other:
        assert queue_time(one) is None
