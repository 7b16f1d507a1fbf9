"""Helpers for tests over loopback sockets: waiting for a condition, and a peer that is nothing but bytes."""

from __future__ import annotations

import gc
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
from gevent import socket as gevent_socket

from geventbt import Extensions, Geometry, Handshake, Wire

INFO_HASH = b"the info hash of it."
PEER_ID = b"-XX0000-the other is"
OUR_ID = b"-XX0000-this is us.."
BLOCK = 16384
GEOMETRY = Geometry(10 * 65536 - 100, 65536)


def gevent_listener() -> Any:
    """A listening socket on loopback; `create_server` of gevent.socket is the standard library's, whose sockets block
    the hub."""
    listener = gevent_socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def eventually(condition: Callable[[], Any], seconds: float = 10) -> None:
    """Wait until a condition is true; fail when it is not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        gevent.sleep(0.005)


def release_children() -> None:
    """Undo what `gevent.subprocess` leaves behind: once it has been used, here or by a command that runs here, libev
    collects every child while the hub runs, and the standard library takes those that are gone for ended with 0."""
    if "gevent.subprocess" in sys.modules:
        # The second has gevent's next process install its handler again.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        gevent.get_hub().loop.reset_sigchld()


def remains(condition: Callable[[], Any], seconds: float = 0.1) -> None:
    """Fail if a condition ceases to be true within a time: for what must not happen, so that there is no event to
    wait for. What could cause it must come within a small part of that time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), "it did not remain so"
        gevent.sleep(0.005)


@contextmanager
def turns_of_others() -> Iterator[list[float]]:
    """The times at which another greenlet, which wants to run each millisecond, has had a turn meanwhile."""
    turns: list[float] = []

    def count() -> None:
        while True:
            gevent.sleep(0.001)
            turns.append(time.monotonic())

    counter = gevent.spawn(count)
    try:
        yield turns
    finally:
        counter.kill()


class HubWatch:
    """The longest turn of the event loop, in CPU time of its thread: nothing else happens in it, and no other thread or
    program counts. It is a greenlet of its own until `stop`.

    Until then the garbage collector leaves out what is there already: to look through all that other tests have left in
    this process takes 0.1 s.

    Attributes:
        longest: seconds.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        gc.freeze()
        self._greenlet = gevent.spawn(self._run)

    def _run(self) -> None:
        last = time.thread_time()
        while True:
            gevent.sleep(0.002)
            now = time.thread_time()
            self.longest = max(self.longest, now - last)
            last = now

    def stop(self) -> None:
        """Measure no more."""
        self._greenlet.kill()
        gc.unfreeze()


def shake_hands(outgoing: Wire, incoming: Wire, **options: Any) -> None:
    """Let two wires exchange their handshakes."""
    other = gevent.spawn(incoming.handshake, INFO_HASH, PEER_ID, **options)
    outgoing.handshake(INFO_HASH, OUR_ID, **options)
    other.get(timeout=10)


class RawPeer:
    """The other end of a wire, in bytes."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        sock.settimeout(10)

    def shake_hands(self, wire: Wire, extensions: Extensions | None = None, **options: Any) -> None:
        """Exchange handshakes with a wire; ours promises `extensions`, the fast extension if None."""
        theirs = Handshake(INFO_HASH, PEER_ID, extensions or Extensions(fast=True))
        self.send(theirs.to_bytes())
        options.setdefault("geometry", GEOMETRY)
        wire.handshake(INFO_HASH, OUR_ID, **options)
        self.receive(68)

    def send(self, data: bytes) -> None:
        """Send bytes at once."""
        self.sock.sendall(data)

    def drip(self, data: bytes) -> None:
        """Send bytes one by one, each in a packet of its own."""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in data:
            self.sock.sendall(bytes([byte]))
            gevent.sleep(0)

    def receive(self, count: int) -> bytes:
        """Receive `count` bytes."""
        data = b""
        while len(data) < count:
            more = self.sock.recv(count - len(data))
            assert more, f"the connection ended after {data!r}"
            data += more
        return data

    def message(self) -> bytes:
        """Receive one message, without its length."""
        return self.receive(int.from_bytes(self.receive(4), "big"))

    def reset(self) -> None:
        """Break the connection off with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def is_closed(self) -> bool:
        """Whether the other side has closed; what it sent before is thrown away."""
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionError:
            pass
        return True
