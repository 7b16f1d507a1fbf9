"""What every test over loopback sockets gets: pairs of wires, raw peers, and a check that nothing is left behind."""

from __future__ import annotations

import gc
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

import gevent
import pytest
from gevent import socket as gevent_socket

from geventbt import PeerServer, Wire, limits, listen
from tests.loopback.harness import RawPeer, eventually, gevent_listener, shake_hands
from tests.loopback.world import World


def _descriptors() -> dict[str, str]:
    """The open descriptors, and what each is of."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        # That of the list itself is gone.
        with suppress(OSError):
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return found


def _threads() -> int:
    """The number of native threads."""
    # One that logs leaves its record as a dummy behind, in older Pythons, although it has ended.
    return sum(not thread.name.startswith("Dummy-") for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def leaks_nothing() -> Iterator[None]:
    """Fail a test that leaves a greenlet running, or more descriptors or threads than there were before it."""
    spawned: WeakSet[gevent.Greenlet] = WeakSet()
    gevent.sleep(0)
    descriptors, threads = _descriptors(), _threads()
    gevent.Greenlet.add_spawn_callback(spawned.add)

    def is_clean() -> bool:
        return not any(spawned) and len(_descriptors()) <= len(descriptors) and _threads() <= threads

    yield
    try:
        _expect_clean(is_clean)
    except AssertionError:
        opened = {number: of for number, of in _descriptors().items() if of != descriptors.get(number)}
        greenlets = [*filter(None, spawned)]
        pytest.fail(f"left behind: {greenlets}, descriptors {opened}, {_threads() - threads} threads")
    finally:
        gevent.Greenlet.remove_spawn_callback(spawned.add)


def _expect_clean(is_clean: Callable[[], bool]) -> None:
    try:
        eventually(is_clean, 0.1)
    except AssertionError:
        # Garbage may hold something; collecting it takes longer than many a test, so it is the second try.
        gc.collect()
        eventually(is_clean)


@pytest.fixture
def socket_pair() -> Iterator[Callable[[], tuple[Any, Any]]]:
    """Makes two connected TCP sockets, (connecting, accepting)."""
    listener = gevent_listener()
    made: list[Any] = []

    def make() -> tuple[Any, Any]:
        left = gevent_socket.create_connection(listener.getsockname())
        right, _ = listener.accept()
        made.extend((left, right))
        return left, right

    yield make
    listener.close()
    for sock in made:
        sock.close()


@pytest.fixture
def wires(socket_pair: Any) -> Iterator[Callable[..., tuple[Wire, Wire]]]:
    """Makes two wires that talk to each other, (outgoing, incoming), after their handshake."""
    made: list[Wire] = []

    def make(handshake: bool = True, **options: Any) -> tuple[Wire, Wire]:
        left, right = socket_pair()
        pair = Wire(left, incoming=False), Wire(right, incoming=True)
        made.extend(pair)
        if handshake:
            shake_hands(*pair, **options)
            if all(wire.peer_extensions.extended for wire in pair):
                # It comes behind the handshake: with it, or in a later turn of the loop, as with libuv.
                eventually(lambda: all(wire.peer_extended_handshake for wire in pair))
        return pair

    yield make
    for wire in made:
        wire.close(0)


@pytest.fixture
def raw(socket_pair: Any) -> Iterator[Callable[..., tuple[Wire, RawPeer]]]:
    """Makes a wire whose peer is bytes."""
    made: list[Wire] = []

    def make(**options: Any) -> tuple[Wire, RawPeer]:
        left, right = socket_pair()
        wire, peer = Wire(left, incoming=False), RawPeer(right)
        made.append(wire)
        peer.shake_hands(wire, **options)
        return wire, peer

    yield make
    for wire in made:
        wire.close(0)


@pytest.fixture
def serving() -> Iterator[Callable[..., PeerServer]]:
    """Makes servers on loopback, and stops them."""
    servers: list[PeerServer] = []

    def make(handler: Any = None, host: str = "127.0.0.1", **options: Any) -> PeerServer:
        servers.append(listen((host, 0), handler, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.stop(timeout=1)


@pytest.fixture
def nothing_logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Fail a test that leaves a warning in the log or anything on standard error."""
    caplog.set_level(logging.INFO)
    yield
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert capfd.readouterr().err == ""


@pytest.fixture
def no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that has failed, or is of no use, is not connected to again before the test is over."""
    monkeypatch.setattr(limits, "FIRST_RETRY", 100.0)
    monkeypatch.setattr(limits, "MAX_RETRY", 1000.0)


@pytest.fixture
def world(tmp_path: Path, leaks_nothing: None) -> Iterator[World]:
    """Torrents, clients and peers of the test's own making."""
    made = World(tmp_path)
    yield made
    made.end()
