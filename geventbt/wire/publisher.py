"""The signals of one wire: to handlers, and to greenlets in `Wire.wait_for`."""

from __future__ import annotations

from typing import Any

from gevent.hub import Waiter

from geventbt.concurrency.dispatch import Dispatcher, OwnSignal, deliver
from geventbt.signals import WIRE_SIGNALS
from geventbt.wire.link import Link


class Publisher:
    """Sends the signals of one wire: its own, made on first use, and those that all wires share.

    Args:
        link: of the wire.
        sender: the wire, which handlers are given.
    """

    __slots__ = ("_dispatcher", "_link", "_own", "_sender", "_waiting")

    def __init__(self, link: Link, sender: Any) -> None:
        self._link = link
        self._sender = sender
        self._dispatcher = Dispatcher(link.flow)
        self._own: dict[str, OwnSignal] | None = None
        self._waiting: list[tuple[str, Waiter[dict[str, Any] | None]]] = []

    def own(self, name: str) -> OwnSignal:
        """This wire's own signal of that name.

        Raises:
            LookupError: wires have no such signal.
        """
        if name not in WIRE_SIGNALS:
            raise LookupError(f"a wire has no signal {name!r}; see geventbt.signals")
        if self._own is None:
            self._own = {}
        if name not in self._own:
            self._own[name] = OwnSignal(WIRE_SIGNALS[name].__doc__)
        return self._own[name]

    def has_listeners(self, name: str) -> bool:
        """Whether a handler is connected to this signal, or a greenlet may be waiting for it."""
        return bool(self._waiting) or self._has_handlers(name)

    def _has_handlers(self, name: str) -> bool:
        own = self._own
        return bool(WIRE_SIGNALS[name].receivers or (own and name in own and own[name].receivers))

    def send(self, signal: str, /, **fields: Any) -> None:
        """Wake the greenlets that wait for this signal, and have its handlers called in order.

        The fields are not copied: they must outlive this call.
        """
        if self._waiting:
            for entry in [entry for entry in self._waiting if entry[0] == signal]:
                self._waiting.remove(entry)
                self._link.soon(entry[1].switch, fields)
        if self._has_handlers(signal):
            self._dispatcher.call(self._deliver, signal, fields)

    def _deliver(self, name: str, fields: dict[str, Any]) -> None:
        deliver(WIRE_SIGNALS[name], self._sender, fields)
        if self._own and name in self._own:
            deliver(self._own[name], self._sender, fields)

    def wait_for(self, name: str, timeout: float | None) -> dict[str, Any]:
        """Block until the next signal of that name. Returns its fields; raises: see `Wire.wait_for`."""
        link = self._link
        link.check_usable()
        self.own(name)
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
        for _, waiter in self._waiting:
            self._link.soon(waiter.switch, None)
        self._waiting.clear()
