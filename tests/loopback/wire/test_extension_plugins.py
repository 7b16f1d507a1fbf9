"""A plug-in that is not part of the package: registered, offered, called, switched off."""

from __future__ import annotations

from typing import Any

import gevent
import pytest

import geventbt
from geventbt import Extension, Extensions, LocalProtocolError
from geventbt.protocol import messages as m
from tests.loopback.harness import INFO_HASH, OUR_ID, PEER_ID, eventually


class Echo(Extension):
    """Answers a message that begins with "?" with the rest of it, and notes all that happens to it."""

    name = "xx_echo"

    def __init__(self, wire: geventbt.Wire) -> None:
        super().__init__(wire)
        self.seen: list[Any] = []

    def on_handshake(self, handshake: Any) -> None:
        self.seen.append(("handshake", handshake.peer_id))

    def on_extended_handshake(self, handshake: Any) -> None:
        self.seen.append(("extended_handshake", handshake["m"]))

    def on_message(self, payload: bytes) -> None:
        self.seen.append(("message", payload))
        if payload.startswith(b"?"):
            self.send(payload[1:])

    def on_close(self, error: Exception | None) -> None:
        self.seen.append(("close", error))


class Other(Extension):
    name = "xx_other"


def shaken(wires: Any, left: list[Any], right: list[Any]) -> tuple[geventbt.Wire, geventbt.Wire]:
    """Two wires that use those plug-ins, after both extended handshakes."""
    a, b = wires(handshake=False)
    for wire, plugins in ((a, left), (b, right)):
        for plugin in plugins:
            wire.use(plugin)
    other = gevent.spawn(b.handshake, INFO_HASH, PEER_ID)
    a.handshake(INFO_HASH, OUR_ID)
    other.get(timeout=5)
    eventually(lambda: a.peer_extended_handshake and b.peer_extended_handshake)
    return a, b


def test_a_plugin_is_found_by_its_name_and_its_hooks_are_called_in_order(wires):
    a, b = shaken(wires, [Echo], [Other, Echo])
    assert a.xx_echo is a.ext["xx_echo"]
    assert a.extended_mapping == {1: "xx_echo"}
    assert a.peer_extended_mapping == {"xx_other": 1, "xx_echo": 2}
    a.xx_echo.send(b"?hello")
    eventually(lambda: ("message", b"hello") in a.xx_echo.seen)
    assert ("message", b"?hello") in b.xx_echo.seen
    b.close()
    eventually(lambda: a.xx_echo.seen[-1] == ("close", None))
    assert [what for what, _ in a.xx_echo.seen] == ["handshake", "extended_handshake", "message", "close"]


def test_a_dictionary_is_sent_bencoded_and_data_may_follow(wires):
    a, b = shaken(wires, [Echo], [Echo])
    a.xx_echo.send({"a": 1}, b"data")
    eventually(lambda: ("message", b"d1:ai1eedata") in b.xx_echo.seen)


def test_a_plugin_that_the_peer_lacks_cannot_send(wires):
    a, _ = shaken(wires, [Echo], [Other])
    assert not a.xx_echo.supported
    with pytest.raises(LocalProtocolError):
        a.xx_echo.send(b"hello")


def test_a_plugin_may_come_after_the_handshake(wires):
    a, b = shaken(wires, [Echo], [])
    b.use(Echo)
    eventually(lambda: a.xx_echo.supported)
    a.xx_echo.send(b"late")
    eventually(lambda: ("message", b"late") in b.xx_echo.seen)


def test_a_plugin_that_comes_late_hears_of_the_handshakes_once(wires):
    a, b = shaken(wires, [Echo], [])
    b.wait_extended_handshake(10)
    late = b.use(Echo)
    a.close()
    eventually(lambda: late.seen[-1:] == [("close", None)])
    assert late.seen == [("handshake", OUR_ID), ("extended_handshake", {"xx_echo": 1}), ("close", None)]


def test_a_plugin_that_comes_between_the_handshakes_hears_of_each_once(wires):
    a, b = wires(handshake=False)
    a.use(Echo)
    shaking = gevent.spawn(a.handshake, INFO_HASH, OUR_ID)
    b.wait_handshake()
    between = b.use(Echo)
    b.handshake(INFO_HASH, PEER_ID)
    shaking.get(timeout=10)
    eventually(lambda: len(between.seen) > 1)
    a.close()
    eventually(lambda: between.seen[-1] == ("close", None))
    assert between.seen == [("handshake", OUR_ID), ("extended_handshake", {"xx_echo": 1}), ("close", None)]


def test_a_peer_may_switch_an_extension_off(raw):
    wire, peer = raw(extensions=Extensions(extended=True))
    wire.use(Echo)
    peer.send(m.pack_extended(0, b"d1:md7:xx_echoi3eee"))
    eventually(lambda: wire.xx_echo.supported)
    peer.send(m.pack_extended(0, b"d1:md7:xx_echoi0eee"))
    eventually(lambda: not wire.xx_echo.supported)


def test_two_plugins_cannot_have_one_name(wires):
    a, _ = wires(handshake=False)
    a.use(Echo)
    with pytest.raises(LocalProtocolError):
        a.use(Echo)
    with pytest.raises(LocalProtocolError):
        a.use(Extension)


def test_a_failing_plugin_is_logged_and_the_wire_goes_on(wires, caplog):
    class Broken(Echo):
        def on_message(self, payload: bytes) -> None:
            raise ZeroDivisionError("a bug of the plug-in's")

    a, b = shaken(wires, [Echo], [Broken])
    a.xx_echo.send(b"hello")
    eventually(lambda: "a bug of the plug-in's" in caplog.text)
    a.interested()
    eventually(lambda: b.peer_interested)


def test_messages_of_extensions_are_events_too(wires):
    a, b = shaken(wires, [Echo], [Echo])
    got = gevent.spawn(b.wait_for, "extended", 5)
    gevent.sleep(0)
    a.xx_echo.send(b"hello")
    assert got.get() == {"name": "xx_echo", "extended_id": 1, "payload": b"hello"}


def test_the_extended_handshake_says_what_it_should(wires):
    a, b = wires(handshake=False)
    a.extended_handshake["p"] = 6881
    other = gevent.spawn(b.handshake, INFO_HASH, PEER_ID)
    a.handshake(INFO_HASH, OUR_ID)
    other.get(timeout=5)
    eventually(lambda: b.peer_extended_handshake)
    assert b.peer_extended_handshake == {
        "m": {},
        "p": 6881,
        "reqq": 2000,
        "v": f"geventbt {geventbt.__version__}",
        "yourip": bytes([127, 0, 0, 1]),
    }


def test_without_the_reserved_bit_there_is_no_extended_handshake(wires):
    a, b = wires(handshake=False)
    other = gevent.spawn(b.handshake, INFO_HASH, PEER_ID, extended=False)
    a.handshake(INFO_HASH, OUR_ID)
    other.get(timeout=5)
    b.interested()
    eventually(lambda: a.peer_interested)
    assert a.peer_extended_handshake == {}
    with pytest.raises(LocalProtocolError):
        a.extended("handshake", b"")
