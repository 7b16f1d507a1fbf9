"""Running other people's code: handlers and extensions, in order, on a greenlet of their own that exists only while
there is work."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import gevent
from blinker import Signal

from geventbt import limits
from geventbt.errors import WireClosed
from geventbt.signals import WIRE_SIGNALS

_log = logging.getLogger("geventbt")


# A handler may well be cut short by a timeout of its own.
_FAILURES = (Exception, gevent.Timeout, gevent.GreenletExit)


def log_failure(function: Callable[..., Any], error: BaseException) -> None:
    """Log what a handler raised: with its traceback, unless it only says that the peer has left."""
    if isinstance(error, WireClosed):
        _log.debug("a handler ended with its wire: %r", function)
    else:
        _log.error("a handler failed: %r", function, exc_info=error)


def _size_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """The bytes that a call holds, in its arguments or in the fields of a signal."""
    fields = [value for arg in args if isinstance(arg, dict) for value in arg.values()]
    return sum(len(value) for value in (*args, *kwargs.values(), *fields) if isinstance(value, bytes))


class Dispatcher:
    """A queue of calls, run one after the other on a greenlet, so that they may block.

    Args:
        on_full: called with True when more than `limits.EVENT_QUEUE` calls wait, and with False when half of them
            are done.
    """

    __slots__ = ("_calls", "_full", "_greenlet", "_on_full", "_size")

    def __init__(self, on_full: Callable[[bool], None]) -> None:
        self._on_full = on_full
        self._full = False
        self._size = 0
        self._calls: deque[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] | None = None
        self._greenlet: gevent.Greenlet | None = None

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Run a function soon; an exception of it is logged."""
        if self._calls is None:
            self._calls = deque()
        self._calls.append((function, args, kwargs))
        self._size += _size_of(args, kwargs)
        if not self._full and (len(self._calls) > limits.EVENT_QUEUE or self._size > limits.EVENT_BYTES):
            self._full = True
            self._on_full(True)
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)

    def _run(self) -> None:
        calls = self._calls
        assert calls is not None
        try:
            while calls:
                function, args, kwargs = calls.popleft()
                try:
                    function(*args, **kwargs)
                except _FAILURES as error:
                    log_failure(function, error)
                self._size -= _size_of(args, kwargs)
                if self._full and len(calls) < limits.EVENT_QUEUE // 2 and self._size < limits.EVENT_BYTES // 2:
                    self._full = False
                    self._on_full(False)
        finally:
            # Killed in a handler or done: the next call starts a new greenlet.
            self._greenlet = None


_F = TypeVar("_F", bound=Callable[..., Any])


class OwnSignal(Signal):
    """A signal of one wire. It holds its receivers, and dies with the wire."""

    def connect(self, receiver: _F, sender: Any = Signal.ANY, weak: bool = False) -> _F:
        """As blinker's, but the receiver is held strongly unless told otherwise."""
        return super().connect(receiver, sender, weak)


def deliver(signal: Signal, sender: Any, fields: dict[str, Any]) -> None:
    """Call a signal's handlers, each of which may fail without keeping the event from the others, as it would in
    `Signal.send`."""
    for receiver in list(signal.receivers_for(sender)):
        try:
            receiver(sender, **fields)
        except _FAILURES as error:
            log_failure(receiver, error)


class Events:
    """The signals of one wire: its own, made on first touch, and the shared ones of `geventbt.signals`."""

    __slots__ = ("_dispatcher", "_own", "_sender")

    def __init__(self, sender: Any, dispatcher: Dispatcher) -> None:
        self._sender = sender
        self._dispatcher = dispatcher
        self._own: dict[str, OwnSignal] | None = None

    def own(self, name: str) -> OwnSignal:
        """This wire's own signal of that name.

        Raises:
            LookupError: if wires have no such signal.
        """
        if name not in WIRE_SIGNALS:
            raise LookupError(f"a wire has no signal {name!r}")
        if self._own is None:
            self._own = {}
        if name not in self._own:
            self._own[name] = OwnSignal(WIRE_SIGNALS[name].__doc__)
        return self._own[name]

    def wants(self, name: str) -> bool:
        """Whether anybody listens to this signal."""
        own = self._own
        return bool(WIRE_SIGNALS[name].receivers or (own and name in own and own[name].receivers))

    def send(self, name: str, fields: dict[str, Any]) -> None:
        """Have the handlers called, in order, with copies of nothing: the fields must outlive this call."""
        if self.wants(name):
            self._dispatcher.call(self._deliver, name, fields)

    def _deliver(self, name: str, fields: dict[str, Any]) -> None:
        deliver(WIRE_SIGNALS[name], self._sender, fields)
        if self._own and name in self._own:
            deliver(self._own[name], self._sender, fields)
