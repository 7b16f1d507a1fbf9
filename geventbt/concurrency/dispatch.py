"""Running other people's code: handlers and extensions, in order, on a greenlet of their own that exists only while
there is work."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import ReferenceType, ref

import gevent
from blinker import Signal
from gevent import getcurrent
from gevent.hub import Waiter

from geventbt import limits
from geventbt.errors import GeventBTError, LocalProtocolError, StorageError
from geventbt.signals import WIRE_SIGNALS

_log = logging.getLogger("geventbt")


# A handler may well be cut short by a timeout of its own.
_FAILURES = (Exception, gevent.Timeout, gevent.GreenletExit)


def log_failure(function: Callable[..., Any], error: BaseException) -> None:
    """Log what a handler raised: with its traceback, unless it is what a peer or a network may cause at any time."""
    if isinstance(error, (GeventBTError, OSError)) and not isinstance(error, (LocalProtocolError, StorageError)):
        _log.info("a handler ended: %r: %s", function, error)
    else:
        _log.error("a handler failed: %r", function, exc_info=error)


def _size_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """The bytes that a call holds, in its arguments or in the fields of a signal."""
    fields = [value for arg in args if isinstance(arg, dict) for value in arg.values()]
    return sum(len(value) for value in (*args, *kwargs.values(), *fields) if isinstance(value, bytes))


class FlowControl:
    """What the backlogs of one wire have in common.

    Args:
        hold: called with True when the peer is to be read no further for the sake of a backlog, and with False when it
            is again.
        give_up: called when whoever takes from a backlog is hopelessly behind.

    Attributes:
        taken: the backlogs that a greenlet is taking from.
    """

    __slots__ = ("give_up", "hold", "taken")

    def __init__(self, hold: Callable[[bool], None], give_up: Callable[[], None]) -> None:
        self.hold = hold
        self.give_up = give_up
        self.taken: list[Backlog] = []

    def wait(self, waiter: Waiter) -> Any:
        """`waiter.get()`, in a greenlet that may itself be one that takes from a backlog."""
        current = getcurrent()
        mine = [backlog for backlog in self.taken if backlog.is_taken_by(current)]
        for backlog in mine:
            backlog.set_waiting(True)
        try:
            return waiter.get()
        finally:
            for backlog in mine:
                backlog.set_waiting(False)


def no_flow_control() -> FlowControl:
    """A flow for calls that no peer can make too many of."""
    return FlowControl(lambda held: None, lambda: None)


class Backlog:
    """What has come from a peer and waits for a greenlet that takes it piece by piece.

    When it is long the peer is read no further. But a taker that waits for something else of the same peer would then
    wait in vain: for so long the peer is read on, up to twenty times as far, where the wire closes.

    Args:
        flow: of the wire that it belongs to.
        abandon: called with the backlog where the peer would have to wait for a taker that is dead; None where takers
            see to their own end.
    """

    __slots__ = ("_abandon", "_flow", "_held", "_items", "_long", "_size", "_taker", "_waiting")

    def __init__(self, flow: FlowControl, abandon: Callable[[Backlog], None] | None = None) -> None:
        self._flow = flow
        self._abandon = abandon
        # Weak: a greenlet that has been killed keeps alive whatever it was at.
        self._taker: ReferenceType[Any] | None = None
        self._items: deque[tuple[Any, int]] | None = None
        self._size = 0
        self._long = False
        self._waiting = 0
        self._held = False

    def __len__(self) -> int:
        return len(self._items) if self._items else 0

    def put(self, item: Any, size: int) -> None:
        """Add an item that holds `size` bytes."""
        if self._items is None:
            self._items = deque()
        self._items.append((item, size))
        self._size += size
        if self._waiting and (
            len(self._items) > limits.EVENTS_WHILE_WAITING or self._size > limits.EVENT_BYTES_WHILE_WAITING
        ):
            self._flow.give_up()
        elif not self._long and (len(self._items) > limits.EVENT_QUEUE or self._size > limits.EVENT_BYTES):
            self._long = True
            self._hold_or_not()

    def take(self) -> Any:
        """Take the oldest item."""
        assert self._items is not None
        item, size = self._items.popleft()
        self._size -= size
        if self._long and len(self._items) < limits.EVENT_QUEUE // 2 and self._size < limits.EVENT_BYTES // 2:
            self._long = False
            self._hold_or_not()
        return item

    def set_taker(self, taker: Any) -> None:
        """Note which greenlet takes from now on; None for nobody."""
        if self._taker is not None:
            if self.is_taken_by(taker):
                return
            before = self._taker()
            if self._abandon is not None and isinstance(before, gevent.Greenlet):
                before.unlink(self._on_taker_end)
            self._flow.taken.remove(self)
        self._taker = None if taker is None else ref(taker)
        if self._taker is not None:
            if self._abandon is not None and isinstance(taker, gevent.Greenlet):
                taker.rawlink(self._on_taker_end)
            self._flow.taken.append(self)

    def _on_taker_end(self, taker: Any) -> None:
        self._hold_or_not()

    @property
    def is_abandoned(self) -> bool:
        """Whether the greenlet that was the last to take is dead."""
        if self._taker is None:
            return False
        taker = self._taker()
        return taker is None or taker.dead

    def is_taken_by(self, greenlet: Any) -> bool:
        """Whether it is this greenlet that takes from it."""
        return greenlet is not None and self._taker is not None and self._taker() is greenlet

    def set_waiting(self, waiting: bool) -> None:
        """Note that a taker begins or ends to wait for the peer: of several, each that took before it waits."""
        self._waiting += 1 if waiting else -1
        self._hold_or_not()

    def rest(self) -> None:
        """Nobody takes for the time being; hold no memory for what is empty."""
        self.set_taker(None)
        if not self._items:
            self._items = None

    def clear(self) -> None:
        """Drop everything, for nobody is going to take it."""
        self._items = None
        self._size = 0
        self._long = False
        self._hold_or_not()
        self.set_taker(None)

    def _hold_or_not(self) -> None:
        held = self._long and not self._waiting
        if held and self._abandon is not None and self.is_abandoned:
            self._abandon(self)
        elif held != self._held:
            self._held = held
            self._flow.hold(held)


class Dispatcher:
    """A queue of calls, run one after the other on a greenlet, so that they may block.

    Args:
        flow: of the wire that the calls come from.
    """

    __slots__ = ("_backlog", "_greenlet")

    def __init__(self, flow: FlowControl) -> None:
        self._backlog = Backlog(flow)
        self._greenlet: gevent.Greenlet | None = None

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Run a function soon; an exception of it is logged."""
        self._backlog.put((function, args, kwargs), _size_of(args, kwargs))
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)
            self._backlog.set_taker(self._greenlet)

    def join(self, timeout: float) -> None:
        """Wait until all has been run; but not within one of the calls, which would wait for itself."""
        if self._greenlet is not None and self._greenlet is not getcurrent():
            self._greenlet.join(timeout)

    def _run(self) -> None:
        try:
            while self._backlog:
                function, args, kwargs = self._backlog.take()
                try:
                    function(*args, **kwargs)
                except _FAILURES as error:
                    log_failure(function, error)
        finally:
            # Killed in a handler or done: the next call starts a new greenlet.
            self._greenlet = None
            self._backlog.rest()


_F = TypeVar("_F", bound=Callable[..., Any])


class OwnSignal(Signal):
    """A signal of one wire. It holds its receivers, and dies with the wire."""

    def connect(self, receiver: _F, sender: Any = Signal.ANY, weak: bool = False) -> _F:
        """As blinker's, but the receiver is held strongly unless told otherwise."""
        return super().connect(receiver, sender, weak)

    def connect_once(self, receiver: Callable[..., Any]) -> None:
        """Have a receiver called at the next signal only."""
        self.connect(_Once(self, receiver))

    def disconnect(self, receiver: Callable[..., Any], sender: Any = Signal.ANY) -> None:
        """As blinker's, and also for what `connect_once` was given."""
        super().disconnect(receiver, sender)
        for connected in list(self.receivers.values()):
            if isinstance(connected, _Once) and connected.receiver == receiver:
                super().disconnect(connected)


class _Once:
    """A receiver that is called at the next signal only."""

    def __init__(self, signal: OwnSignal, receiver: Callable[..., Any]) -> None:
        self.signal = signal
        self.receiver = receiver

    def __call__(self, sender: Any, **fields: Any) -> None:
        self.signal.disconnect(self)
        self.receiver(sender, **fields)

    def __repr__(self) -> str:
        return repr(self.receiver)


def _in_order(signal: Signal, sender: Any) -> list[Callable[..., Any]]:
    """The handlers for this sender in the order in which they were connected: blinker itself gives them in none."""
    receivers = list(signal.receivers_for(sender))
    if len(receivers) < 2:
        return receivers
    connected = [known() if isinstance(known, ReferenceType) else known for known in signal.receivers.values()]
    return [receiver for receiver in connected if receiver in receivers]


def deliver(signal: Signal, sender: Any, fields: dict[str, Any]) -> None:
    """Call a signal's handlers, each of which may fail without keeping the event from the others, as it would in
    `Signal.send`."""
    for receiver in _in_order(signal, sender):
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
