"""The signals of one wire: to handlers, and to greenlets in `Wire.wait_for`."""

from __future__ import annotations

from typing import Any
from weakref import ref

from gevent.hub import Waiter

from geventbt.concurrency.dispatch import Dispatcher, OwnSignal, deliver, has_receivers, with_receivers
from geventbt.protocol import constants as c
from geventbt.protocol.connection import Event
from geventbt.signals import WIRE_SIGNALS
from geventbt.wire.link import Link

_SIGNALS: dict[int, tuple[str, tuple[str, ...]]] = {
    c.HANDSHAKE: ("handshake", ("info_hash", "peer_id", "extensions")),
    c.KEEP_ALIVE: ("keep_alive", ()),
    c.CHOKE: ("choke", ()),
    c.UNCHOKE: ("unchoke", ()),
    c.INTERESTED: ("interested", ()),
    c.UNINTERESTED: ("uninterested", ()),
    c.HAVE: ("have", ("index",)),
    c.BITFIELD: ("bitfield", ("bitfield",)),
    c.CANCEL: ("cancel", ("index", "begin", "length")),
    c.PORT: ("port", ("listen_port",)),
    c.SUGGEST: ("suggest", ("index",)),
    c.HAVE_ALL: ("have_all", ()),
    c.HAVE_NONE: ("have_none", ()),
    c.REJECT: ("reject", ("index", "begin", "length")),
    c.ALLOWED_FAST: ("allowed_fast", ("index",)),
    c.HASH_REQUEST: ("hash_request", ("pieces_root", "base_layer", "index", "length", "proof_layers")),
    c.HASHES: ("hashes", ("pieces_root", "base_layer", "index", "length", "proof_layers", "hashes")),
    c.HASH_REJECT: ("hash_reject", ("pieces_root", "base_layer", "index", "length", "proof_layers")),
    c.UNKNOWN: ("unknown_message", ("id", "payload")),
}
"""The signals of messages, and the names of their fields in the order of the message."""


class Publisher:
    """Sends the signals of one wire: its own, made on first use, and those that all wires share.

    Args:
        link: of the wire.
        sender: the wire, which handlers are given; referred to weakly, unless it has signals of its own.
    """

    __slots__ = ("_dispatcher", "_kept", "_link", "_own", "_sender", "_waiting")

    def __init__(self, link: Link, sender: Any) -> None:
        self._link = link
        self._sender = ref(sender)
        self._kept: Any = None
        self._dispatcher = Dispatcher(link.flow, link)
        self._own: dict[str, OwnSignal] | None = None
        self._waiting: list[tuple[str, Waiter[dict[str, Any] | None]]] = []

    def own(self, name: str) -> OwnSignal:
        """This wire's own signal of that name. From now on the wire is kept until it is closed: handlers are in use.

        Raises:
            LookupError: wires have no such signal.
        """
        _check_name(name)
        if self._own is None:
            self._own = {}
            self._kept = None if self._link.closed else self._sender()
        if name not in self._own:
            self._own[name] = OwnSignal(WIRE_SIGNALS[name].__doc__)
        return self._own[name]

    def set_sender(self, sender: Any) -> None:
        """Give handlers this wire from now on."""
        self._sender = ref(sender)

    def has_listeners(self, name: str) -> bool:
        """Whether a handler may hear this signal, or a greenlet may be waiting for it."""
        return bool(self._waiting) or self._has_handlers(name)

    def _has_handlers(self, name: str) -> bool:
        own = self._own
        return has_receivers(WIRE_SIGNALS[name]) or bool(own and name in own and has_receivers(own[name]))

    def send(self, signal: str, /, **fields: Any) -> None:
        """Wake the greenlets that wait for this signal, and have its handlers called in order.

        The fields are not copied: they must outlive this call.
        """
        if self._waiting:
            for entry in [entry for entry in self._waiting if entry[0] == signal]:
                self._waiting.remove(entry)
                self._link.soon(entry[1].switch, fields)
        if self._has_handlers(signal):
            own = self._own.get(signal) if self._own else None
            self._dispatcher.call(deliver, with_receivers(WIRE_SIGNALS[signal], own), self._sender(), fields)

    def send_message(self, message: Event) -> None:
        """Send the signal of a message that is not one of blocks, requests or extensions: these have more to say."""
        name, fields = _SIGNALS[message[0]]
        if self.has_listeners(name):
            values = (bytes(value) if isinstance(value, memoryview) else value for value in message[1:])
            self.send(name, **dict(zip(fields, values, strict=True)))

    def wait_for(self, name: str, timeout: float | None) -> dict[str, Any]:
        """Block until the next signal of that name. Returns its fields; raises: see `Wire.wait_for`."""
        link = self._link
        link.check_usable()
        _check_name(name)
        waiter: Waiter[dict[str, Any] | None] = Waiter()
        entry = (name, waiter)
        self._waiting.append(entry)
        try:
            fields: dict[str, Any] | None = link.wait(waiter, timeout, f"no {name!r} signal")
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
        if fields is None:
            raise link.closed_error()
        return fields

    def close(self) -> None:
        """Wake the greenlets that wait for a signal: there will be no more."""
        self._kept = None
        for _, waiter in self._waiting:
            self._link.soon(waiter.switch, None)
        self._waiting.clear()


def _check_name(name: str) -> None:
    if name not in WIRE_SIGNALS:
        raise LookupError(f"a wire has no signal {name!r}; see geventbt.signals")
