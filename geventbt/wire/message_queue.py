"""The messages of a wire as an iterator that blocks; see `Wire.messages`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gevent import getcurrent

from geventbt.concurrency.flow import Backlog
from geventbt.errors import WireClosed
from geventbt.protocol.connection import Event
from geventbt.wire.conditions import Conditions
from geventbt.wire.link import Link

if TYPE_CHECKING:
    from geventbt.protocol.message_objects import Message


class MessageQueue:
    """The messages that have arrived and wait for the iterating greenlet.

    Args:
        link, conditions: of the wire.

    Attributes:
        stopped: whether no more messages are to be kept.
    """

    def __init__(self, link: Link, conditions: Conditions) -> None:
        # Imported where it is needed: few programs need the classes of messages.
        from geventbt.protocol.message_objects import as_object

        self.stopped = False
        self._as_object = as_object
        self._conditions = conditions
        self._backlog = Backlog(link.flow, self._on_abandoned)

    @property
    def is_abandoned(self) -> bool:
        """Whether the greenlet that iterated is dead."""
        return self._backlog.is_abandoned

    def put(self, event: Event) -> None:
        """Keep a message, unless stopped."""
        if not self.stopped:
            size = sum(len(part) for part in event[1:] if isinstance(part, (bytes, memoryview)))
            self._backlog.put(self._as_object(event), size)

    def take(self) -> Message:
        """The oldest message; blocks until there is one.

        Raises:
            WireClosed: there will be none.
            StopIteration: stopped.
        """
        while not self.stopped:
            self._backlog.set_consumer(getcurrent())
            if self._backlog:
                message: Message = self._backlog.take()
                return message
            # Look again when woken: another greenlet may have been quicker.
            self._conditions.wait_until(lambda: len(self._backlog) > 0 or self.stopped, None, "no message")
        raise StopIteration

    def _on_abandoned(self, backlog: Backlog) -> None:
        self.stop()

    def stop(self) -> None:
        """Keep no more messages: they must not make the peer wait."""
        if not self.stopped:
            self.stopped = True
            self._backlog.clear()
            self._conditions.check_soon()


class Messages(Iterator["Message"]):
    """The messages of a wire, one after another; see `Wire.messages`.

    Args:
        queue: of the messages.
        wire: kept as long as the iterator is.
    """

    def __init__(self, queue: MessageQueue, wire: object) -> None:
        self._queue = queue
        self._wire = wire

    def __iter__(self) -> Messages:
        return self

    def __next__(self) -> Message:
        try:
            return self._queue.take()
        except WireClosed:
            raise StopIteration from None

    def close(self) -> None:
        """Stop the iteration, also for a greenlet that waits in it."""
        self._queue.stop()

    def __del__(self) -> None:
        self.close()
