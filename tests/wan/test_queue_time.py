"""What is sent over a full uplink is known to wait in a queue."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from subprocess import PIPE

import pytest
from wan.wan import Host, Wan

from tests.wan.networks import network

pytestmark = pytest.mark.interop
SENDER = """
import sys, time
from geventbt.net.tcp_path import tcp_path
import socket
sock = socket.create_connection((sys.argv[1], 7000))
sock.sendall(b"x")
sock.recv(1)
print(tcp_path(sock).queue_time < 0.02, flush=True)
sock.sendall(bytes(150_000))
until = time.monotonic() + 10
while tcp_path(sock).queue_time < 0.05 and time.monotonic() < until:
    time.sleep(0.01)
print(time.monotonic() < until, flush=True)
"""
RECEIVER = """
import socket
server = socket.create_server(("", 7000))
print(True, flush=True)
sock, _ = server.accept()
sock.sendall(sock.recv(1))
while sock.recv(1 << 16):
    pass
"""


@pytest.fixture(scope="module")
def wan() -> Iterator[Wan]:
    with network(Host("slow", up=1.0, delay=10.0), Host("fast")) as made:
        yield made


def test_a_queue_in_front_of_the_uplink_is_seen(wan: Wan) -> None:
    receiver = wan.popen("fast", [sys.executable, "-c", RECEIVER], stdout=PIPE, text=True)
    assert receiver.stdout.readline() == "True\n"
    sender = wan.popen("slow", [sys.executable, "-c", SENDER, wan.address("fast")], stdout=PIPE, text=True)
    assert sender.stdout.readlines() == ["True\n", "True\n"]
    assert sender.wait(10) == receiver.wait(10) == 0
