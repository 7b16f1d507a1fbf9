"""Plug-ins at the edges: names that are taken, hooks that wait or fail, and mappings that untrusted peers make up.

The ordinary cases are in `test_extension_plugins.py`.
"""

from __future__ import annotations

import logging
from typing import Any

import gevent
import pytest
from gevent.event import Event

import geventbt
from geventbt import Extension, Extensions, LocalProtocolError
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from tests.loopback.harness import INFO_HASH, OUR_ID, PEER_ID, eventually, shake_hands


def plugin(name: str, **hooks: Any) -> type[Extension]:
    """A plug-in class with that name and those methods."""
    return type("Plugin", (Extension,), {"name": name, **hooks})


def test_a_plugin_that_waits_stalls_neither_the_reader_nor_the_handlers(wires):
    stuck, seen = Event(), []
    a, b = wires(handshake=False)
    a.use(plugin("xx_a"))
    b.use(plugin("xx_a", on_message=lambda self, payload: stuck.wait()))
    shake_hands(a, b)
    b.on("have", lambda wire, index: seen.append(index))
    eventually(lambda: a.xx_a.supported)
    a.xx_a.send(b"wait")
    a.have(1)
    a.unchoke()
    b.wait_unchoked(timeout=5)
    eventually(lambda: seen == [1])
    stuck.set()


def test_a_plugin_may_wait_for_an_answer_of_the_same_wire(wires):
    got = []
    a, b = wires(handshake=False)
    a.use(plugin("xx_a"))
    b.use(plugin("xx_a", on_message=lambda self, payload: got.append(self.wire.request(0, 0, 4))))
    shake_hands(a, b)
    a.unchoke()
    server = gevent.spawn(a.serve, lambda piece, offset, length: b"good")
    eventually(lambda: a.xx_a.supported)
    a.xx_a.send(b"ask")
    eventually(lambda: got == [b"good"])
    server.kill()


@pytest.mark.parametrize("failure", [ZeroDivisionError, gevent.Timeout])
def test_a_hook_that_fails_keeps_nothing_from_the_other_plugins(wires, failure, caplog):
    def fail(self: Any, *args: Any) -> None:
        raise failure()

    seen = []
    a, b = wires(handshake=False)
    a.use(plugin("xx_a", on_handshake=fail, on_extended_handshake=fail, on_close=fail))
    a.use(
        plugin(
            "xx_b",
            on_handshake=lambda self, handshake: seen.append("handshake"),
            on_extended_handshake=lambda self, handshake: seen.append("extended_handshake"),
            on_close=lambda self, error: seen.append("close"),
        )
    )
    shake_hands(a, b)
    b.close()
    eventually(lambda: seen == ["handshake", "extended_handshake", "close"], 3)


@pytest.mark.parametrize("name", ["request", "close", "peer_id", "on_have", "_transport"])
def test_a_name_that_a_wire_has_for_something_else_is_refused(wires, name):
    """Or the plug-in could not be reached as ``wire.<name>``."""
    a, _ = wires(handshake=False)
    with pytest.raises(LocalProtocolError):
        a.use(plugin(name))
    assert a.ext == {}
    assert a.extended_mapping == {}


def test_a_plugin_whose_making_fails_leaves_the_wire_as_it_was(wires):
    a, _ = wires()

    def fail(wire: geventbt.Wire) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        a.use(fail)
    assert a.ext == {}
    assert a.extended_mapping == {}


def test_several_plugins_keep_their_ids_when_more_come_later(wires):
    a, b = wires(handshake=False)
    a.use(plugin("xx_a"))
    shake_hands(a, b)
    a.use(plugin("xx_b"))
    a.use(plugin("xx_c"))
    eventually(lambda: b.peer_extended_mapping == {"xx_a": 1, "xx_b": 2, "xx_c": 3})
    assert a.extended_mapping == {1: "xx_a", 2: "xx_b", 3: "xx_c"}


def test_messages_with_an_id_that_we_never_gave_reach_no_plugin(raw):
    seen, events = [], []
    wire, peer = raw(extensions=Extensions(extended=True))
    wire.use(plugin("xx_a", on_message=lambda self, payload: seen.append(payload)))
    wire.on("extended", lambda wire, name, extended_id, payload: events.append((name, extended_id, payload)))
    peer.send(m.pack_extended(77, b"?") + m.pack_extended(1, b"!"))
    eventually(lambda: seen == [b"!"])
    eventually(lambda: events == [(None, 77, b"?"), ("xx_a", 1, b"!")])


@pytest.mark.parametrize(
    "mapping",
    [
        b"d5:xx_ai1ee",
        b"d4:xx_a1:xe",
        b"d4:xx_ai256ee",
        b"d4:xx_ai-1ee",
        b"d4:xx_ali1eee",
        b"d4:xx_ai1e4:xx_ai2ee",
        b"d0:i1ee",
        b"d2:\xff\xfei1ee",
        b"d5:closei1e8:__init__i2ee",
        b"i1e",
        b"le",
    ],
)
def test_whatever_an_untrusted_peer_maps_the_wire_lives_on_or_closes_with_a_reason(raw, mapping, caplog):
    wire, peer = raw(extensions=Extensions(extended=True))
    wire.use(plugin("xx_a"))
    peer.send(m.pack_extended(0, b"d1:m" + mapping + b"e") + m.pack_bare(c.INTERESTED))
    eventually(lambda: wire.peer_interested or wire.closed)
    if wire.closed:
        assert isinstance(wire.close_reason, geventbt.RemoteProtocolError)
    else:
        assert all(
            isinstance(name, str) and isinstance(number, int) and 0 < number < 256
            for name, number in wire.peer_extended_mapping.items()
        )
        assert callable(wire.close)
        wire.port(1)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_plugin_hears_of_both_handshakes_and_of_every_later_one(raw):
    seen: list[Any] = []
    wire, peer = raw(extensions=Extensions(extended=True))
    wire.use(plugin("xx_a", on_extended_handshake=lambda self, handshake: seen.append(handshake["m"])))
    peer.send(m.pack_extended(0, b"d1:md4:xx_ai3eee"))
    eventually(lambda: seen == [{"xx_a": 3}])
    peer.send(m.pack_extended(0, b"d1:md4:xx_ai0e4:xx_bi4eee"))
    eventually(lambda: seen == [{"xx_a": 3}, {"xx_b": 4}])


def test_sending_after_the_peer_has_gone_is_a_closed_wire(wires):
    a, b = wires(handshake=False)
    for wire in (a, b):
        wire.use(plugin("xx_a"))
    other = gevent.spawn(b.handshake, INFO_HASH, PEER_ID)
    a.handshake(INFO_HASH, OUR_ID)
    other.get(timeout=5)
    eventually(lambda: a.xx_a.supported)
    b.close()
    eventually(lambda: a.closed)
    with pytest.raises(geventbt.WireClosed):
        a.xx_a.send(b"hello")
