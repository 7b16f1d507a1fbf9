"""Flow control for what a peer sends faster than it is consumed.

A `Backlog` is a queue of items between the reader of a connection and a greenlet that consumes them. A long backlog
pauses the reader. But a consumer that waits for something else from the same peer would then wait for ever: while it
waits, reading goes on, up to twenty times as far, and then the connection ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol
from weakref import ReferenceType, ref

import gevent
from gevent import getcurrent
from gevent.hub import Waiter

from geventbt import limits


class Reader(Protocol):
    """The reader of a connection, which backlogs pause."""

    def pause_reading(self, paused: bool) -> None:
        """A backlog has become long (True), or short again (False); several may be long at a time."""

    def on_overflow(self) -> None:
        """A backlog is so long that the connection has to end."""


class FlowControl:
    """What the backlogs of one connection have in common.

    Args:
        reader: the reader of the connection; None for items that no peer can cause too many of.

    Attributes:
        reader: see above.
        consumed: the backlogs that a greenlet consumes now.
    """

    __slots__ = ("consumed", "reader")

    def __init__(self, reader: Reader | None) -> None:
        self.reader = reader
        self.consumed: list[Backlog] = []

    def wait(self, waiter: Waiter) -> Any:
        """`waiter.get()`, in a greenlet that may itself be the consumer of a backlog."""
        current = getcurrent()
        mine = [backlog for backlog in self.consumed if backlog.is_consumed_by(current)]
        for backlog in mine:
            backlog.set_waiting(True)
        try:
            return waiter.get()
        finally:
            for backlog in mine:
                backlog.set_waiting(False)


def no_flow_control() -> FlowControl:
    """Flow control that pauses nothing, for calls that no peer can cause too many of."""
    return FlowControl(None)


class Backlog:
    """A queue of items from a peer, for one consuming greenlet.

    Args:
        flow: of the connection.
        on_abandoned: called with the backlog when the peer would have to wait for a consumer that is dead; None where
            consumers announce their own end.
    """

    __slots__ = ("_consumer", "_flow", "_is_long", "_items", "_on_abandoned", "_paused", "_size", "_waiting")

    def __init__(self, flow: FlowControl, on_abandoned: Callable[[Backlog], None] | None = None) -> None:
        self._flow = flow
        self._on_abandoned = on_abandoned
        # Weak: a greenlet that was killed keeps alive what its frames refer to.
        self._consumer: ReferenceType[Any] | None = None
        self._items: deque[tuple[Any, int]] | None = None
        self._size = 0
        self._is_long = False
        self._waiting = 0
        self._paused = False

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
            if self._flow.reader is not None:
                self._flow.reader.on_overflow()
        elif not self._is_long and (len(self._items) > limits.EVENT_QUEUE or self._size > limits.EVENT_BYTES):
            self._is_long = True
            self._update_pause()

    def take(self) -> Any:
        """Remove the oldest item and return it."""
        assert self._items is not None
        item, size = self._items.popleft()
        self._size -= size
        if self._is_long and len(self._items) < limits.EVENT_QUEUE // 2 and self._size < limits.EVENT_BYTES // 2:
            self._is_long = False
            self._update_pause()
        return item

    def set_consumer(self, consumer: Any) -> None:
        """Set the greenlet that consumes from now on; None for none."""
        if self._consumer is not None:
            if self.is_consumed_by(consumer):
                return
            before = self._consumer()
            if self._on_abandoned is not None and isinstance(before, gevent.Greenlet):
                before.unlink(self._on_consumer_end)
            self._flow.consumed.remove(self)
        self._consumer = None if consumer is None else ref(consumer)
        if self._consumer is not None:
            if self._on_abandoned is not None and isinstance(consumer, gevent.Greenlet):
                consumer.rawlink(self._on_consumer_end)
            self._flow.consumed.append(self)

    def _on_consumer_end(self, consumer: Any) -> None:
        self._update_pause()

    @property
    def is_abandoned(self) -> bool:
        """Whether the last consumer is dead."""
        if self._consumer is None:
            return False
        consumer = self._consumer()
        return consumer is None or consumer.dead

    def is_consumed_by(self, greenlet: Any) -> bool:
        """Whether this greenlet is the consumer."""
        return greenlet is not None and self._consumer is not None and self._consumer() is greenlet

    def set_waiting(self, waiting: bool) -> None:
        """Note that a consumer begins or ends to wait for the peer; of several consumers in turn, each counts."""
        self._waiting += 1 if waiting else -1
        self._update_pause()

    def rest(self) -> None:
        """Unset the consumer, and free the memory of an empty queue."""
        self.set_consumer(None)
        if not self._items:
            self._items = None

    def clear(self) -> None:
        """Drop all items, and unset the consumer."""
        self._items = None
        self._size = 0
        self._is_long = False
        self._update_pause()
        self.set_consumer(None)

    def _update_pause(self) -> None:
        paused = self._is_long and not self._waiting
        if paused and self._on_abandoned is not None and self.is_abandoned:
            self._on_abandoned(self)
        elif paused != self._paused:
            self._paused = paused
            if self._flow.reader is not None:
                self._flow.reader.pause_reading(paused)
