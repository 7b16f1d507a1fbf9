"""Running handlers and extensions in order, on a greenlet that exists only while there is work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar
from weakref import ReferenceType

import gevent
from blinker import Signal
from gevent import getcurrent

from geventbt.concurrency.flow import Backlog, FlowControl
from geventbt.concurrency.flow import no_flow_control as no_flow_control
from geventbt.concurrency.greenlets import spawn
from geventbt.concurrency.turns import in_turns
from geventbt.errors import GeventBTError, LocalProtocolError, StorageError
from geventbt.handlers import HandlerSignal, check_handler

_log = logging.getLogger("geventbt")

_ENTRY = 100
"""Bytes of an entry of a dictionary, beside what is in it."""

# A handler may be cut short by a timeout of its own.
_FAILURES = (Exception, gevent.Timeout, gevent.GreenletExit)


def log_failure(function: Callable[..., Any], error: BaseException) -> None:
    """Log an exception of a handler: with its traceback, unless a peer or the network can cause it at any time."""
    if isinstance(error, (GeventBTError, OSError)) and not isinstance(error, (LocalProtocolError, StorageError)):
        _log.info("a handler ended: %r: %s", function, error)
    else:
        _log.error("a handler failed: %r", function, exc_info=error)


def _size_of(value: Any) -> int:
    """The bytes that an argument of a call, or a field of a signal, holds: such as all that is in a handshake."""
    if isinstance(value, (bytes, str)):
        return len(value)
    return sum(_ENTRY + _size_of(inner) for inner in value.values()) if isinstance(value, dict) else 0


class Dispatcher:
    """A queue of calls, run one after another on a greenlet, so that they may block.

    Args:
        flow: of the connection that causes the calls; None where no peer can cause too many.
        owner: whose calls they are, for the name of the greenlet.
    """

    __slots__ = ("_backlog", "_greenlet", "_owner")

    def __init__(self, flow: FlowControl | None = None, owner: object = "") -> None:
        self._backlog = Backlog(no_flow_control() if flow is None else flow)
        self._owner = owner
        self._greenlet: gevent.Greenlet | None = None

    @property
    def idle(self) -> bool:
        """Whether there is nothing to run, and no greenlet."""
        return self._greenlet is None

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Run a function soon; its exception is logged."""
        self._backlog.put((function, args, kwargs), sum(map(_size_of, (*args, *kwargs.values()))))
        if self._greenlet is None:
            self._greenlet = spawn(f"handlers: {self._owner}", self._run)
            self._backlog.set_consumer(self._greenlet)

    def join(self, timeout: float) -> None:
        """Wait until all calls have been run. Returns at once within one of them, which would wait for itself."""
        if self._greenlet is not None and self._greenlet is not getcurrent():
            self._greenlet.join(timeout)

    def _calls(self) -> Iterator[Any]:
        """The calls that wait, and those that come meanwhile."""
        while self._backlog:
            yield self._backlog.take()

    def _run(self) -> None:
        try:
            # Peers may cause very many.
            for function, args, kwargs in in_turns(self._calls()):
                try:
                    function(*args, **kwargs)
                except _FAILURES as error:
                    log_failure(function, error)
        finally:
            # Killed in a handler, or done: the next call starts a new greenlet.
            self._greenlet = None
            self._backlog.rest()


_F = TypeVar("_F", bound=Callable[..., Any])


class OwnSignal(HandlerSignal):
    """A signal of one object. It holds its receivers strongly, and dies with the object.

    Args:
        doc: its fields.
    """

    def __init__(self, doc: str | None = None) -> None:
        super().__init__("own", doc)

    def connect(self, receiver: _F, sender: Any = Signal.ANY, weak: bool = False) -> _F:
        """Connect a receiver; held strongly unless `weak`. See `HandlerSignal.connect`."""
        return super().connect(receiver, sender, weak)

    def connect_once(self, receiver: Callable[..., Any]) -> None:
        """Connect a receiver for the next signal only. Raises TypeError for a coroutine function."""
        check_handler(receiver)
        self.connect(_Once(self, receiver))

    def disconnect(self, receiver: Callable[..., Any], sender: Any = Signal.ANY) -> None:
        """Disconnect a receiver, also one of `connect_once`. See `blinker.Signal.disconnect`."""
        super().disconnect(receiver, sender)
        for connected in list(self.receivers.values()):
            if isinstance(connected, _Once) and connected.receiver == receiver:
                super().disconnect(connected)


class _Once:
    """A receiver that disconnects itself when it is called."""

    def __init__(self, signal: OwnSignal, receiver: Callable[..., Any]) -> None:
        self.signal = signal
        self.receiver = receiver

    def __call__(self, sender: Any, **fields: Any) -> None:
        self.signal.disconnect(self)
        self.receiver(sender, **fields)

    def __repr__(self) -> str:
        return repr(self.receiver)


def _in_order(signal: Signal, sender: Any) -> list[Callable[..., Any]]:
    """The receivers for this sender in the order in which they were connected; blinker's order is arbitrary."""
    receivers = list(signal.receivers_for(sender))
    if len(receivers) < 2:
        return receivers
    connected = [known() if isinstance(known, ReferenceType) else known for known in signal.receivers.values()]
    return [receiver for receiver in connected if receiver in receivers]


def has_receivers(signal: Signal) -> bool:
    """Whether the signal has receivers, and is not muted."""
    return bool(signal.receivers) and not signal.is_muted


def with_receivers(*signals: Signal | None) -> list[Signal]:
    """those of the signals that have receivers now. An event of a muted signal is not delivered later either."""
    return [signal for signal in signals if signal is not None and has_receivers(signal)]


def deliver(signals: Iterable[Signal], sender: Any, fields: dict[str, Any]) -> None:
    """Call the receivers of signals, unless those are muted by now.

    Unlike in `Signal.send`, a receiver that fails does not keep the event from the others.
    """
    for signal in signals:
        for receiver in () if signal.is_muted else _in_order(signal, sender):
            try:
                if isinstance(signal, HandlerSignal):
                    signal.call(receiver, sender, fields)
                else:
                    receiver(sender, **fields)
            except _FAILURES as error:
                log_failure(receiver, error)
