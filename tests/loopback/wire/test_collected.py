"""A wire without a reference is closed; one that is in use is not. `gevent.wait` waits for the end of a wire."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from geventbt import Extension, Wire, WireTimeout
from tests.loopback.harness import INFO_HASH, OUR_ID, PEER_ID, eventually


class Plugin(Extension):
    """Refers to its wire, as every extension does."""

    name = "xx_plugin"


@pytest.fixture
def dropped(socket_pair: Any) -> Callable[..., Wire]:
    """Connects two wires, uses and drops the first, and returns the second."""

    def drop(use: Callable[[Wire], object] = lambda wire: None) -> Wire:
        left, right = socket_pair()
        wire, peer = Wire(left, incoming=False), Wire(right, incoming=True)
        other = gevent.spawn(peer.handshake, INFO_HASH, PEER_ID)
        use(wire)
        wire.handshake(INFO_HASH, OUR_ID)
        other.get(timeout=5)
        return peer

    return drop


def is_closed_once_collected(peer: Wire) -> bool:
    gc.collect()
    return peer.closed


def refer_to_itself(wire: Wire) -> None:
    wire.itself = wire  # type: ignore[attr-defined]


def give_up_a_wait(wire: Wire) -> None:
    with pytest.raises(WireTimeout):
        wire.wait_for("have", 0.01)


USES: dict[str, Callable[[Wire], object]] = {
    "not at all": lambda wire: None,
    "an extension": lambda wire: wire.use(Plugin),
    "messages": lambda wire: wire.messages().close(),
    "a cycle": refer_to_itself,
    "a wait that timed out": give_up_a_wait,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_wire_that_is_dropped_is_closed_whatever_it_was_used_for(dropped: Any, use: Any) -> None:
    peer = dropped(use)
    eventually(lambda: is_closed_once_collected(peer))
    assert peer.close_reason is None


def test_a_wire_that_another_thread_collects_is_closed_by_its_own(dropped: Any) -> None:
    gc.disable()
    try:
        peer = dropped(refer_to_itself)
        thread = threading.Thread(target=gc.collect)
        thread.start()
        thread.join(10)
    finally:
        gc.enable()
    eventually(lambda: peer.closed)


def test_a_handler_of_a_dropped_wires_extension_hears_of_the_close(dropped: Any) -> None:
    heard: list[Any] = []

    class Listening(Plugin):
        def on_close(self, error: Exception | None) -> None:
            heard.append(error)

    peer = dropped(lambda wire: wire.use(Listening))
    eventually(lambda: is_closed_once_collected(peer) and heard == [None])


def test_handlers_keep_a_wire_until_it_is_closed(dropped: Any) -> None:
    heard: list[Any] = []

    def listen(wire: Wire) -> None:
        wire.on("have", lambda wire, index: heard.append(index))
        wire.on("close", lambda wire, error: heard.append(error))

    peer = dropped(listen)
    gc.collect()
    peer.have(5)
    eventually(lambda: heard == [5])
    peer.close(0)
    eventually(lambda: len(heard) == 2)
    gc.collect()


def test_greenlets_and_iterators_keep_a_wire(socket_pair: Any) -> None:
    def start(run: Callable[[Wire], object]) -> tuple[gevent.Greenlet, Wire]:
        left, right = socket_pair()
        peer = Wire(right, incoming=True)
        greenlet = gevent.spawn(run, Wire(left, incoming=False))
        other = gevent.spawn(peer.handshake, INFO_HASH, PEER_ID)
        other.get(timeout=5)
        return greenlet, peer

    def iterate(wire: Wire) -> int:
        wire.handshake(INFO_HASH, OUR_ID)
        requests = wire.incoming_requests()
        del wire
        return sum(1 for _ in requests)

    def read_messages(wire: Wire) -> int:
        wire.handshake(INFO_HASH, OUR_ID)
        messages = wire.messages()
        del wire
        return sum(1 for _ in messages)

    for run in (iterate, read_messages):
        greenlet, peer = start(run)
        gevent.sleep(0.05)
        gc.collect()
        gevent.sleep(0.05)
        assert not peer.closed
        assert not greenlet.ready()
        peer.close(0)
        greenlet.get(timeout=5)


def test_gevent_waits_for_the_end_of_wires(wires: Any) -> None:
    (a, b), (c, _) = wires(), wires()
    assert gevent.wait([a, c], timeout=0.05) == []
    gevent.spawn_later(0.05, b.close, 0)
    assert gevent.wait([a, c], count=1, timeout=5) == [a]
    assert gevent.wait([a], timeout=5) == [a]
    assert list(gevent.iwait([a], timeout=5)) == [a]
    c.close(0)
