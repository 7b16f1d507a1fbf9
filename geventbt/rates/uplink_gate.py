"""`UplinkGate`: has greenlets that send blocks wait while there is a queue in front of the uplink."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import gevent
from gevent.event import Event

from geventbt import limits
from geventbt.net.tcp_path import TcpPath
from geventbt.rates.uplink_queue import UplinkQueue

_INTERVAL = 0.05
"""Seconds from one look at the connections to the next, while there is something to send."""
_COST = 2e-4
"""Seconds more for each sender and connection, so that looking takes a fiftieth of the time at the most."""


class Sender(Protocol):
    """Sends blocks over some connections: the uploads of a torrent."""

    @property
    def paths(self) -> dict[object, TcpPath]:
        """Those of its connections, by any keys; none while it sends nothing."""


class UplinkGate:
    """The gate of one client: its torrents share the uplink.

    Args:
        now: the clock, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._queue = UplinkQueue()
        self._senders: dict[Sender, None] = {}
        self._waiting: deque[Event] = deque()
        self._next_look = 0.0
        self._pause = _INTERVAL
        self._look_due = False

    def add(self, sender: Sender) -> None:
        """Look at the connections of a sender, too."""
        self._senders[sender] = None

    def remove(self, sender: Sender) -> None:
        """Look at them no more."""
        self._senders.pop(sender, None)

    def enter(self) -> bool:
        """Block this greenlet until it may send a block. Returns whether that is one block, or else any number."""
        now = self._now()
        if now >= self._next_look:
            self._look(now)
        if self._queue.room is None:
            return False
        if self._waiting or self._queue.room <= 0:
            self._wait()
        else:
            self._queue.give(limits.BLOCK)
        return True

    def _wait(self) -> None:
        turn = Event()
        self._waiting.append(turn)
        self._look_soon()
        try:
            turn.wait()
        except BaseException:
            if turn in self._waiting:
                self._waiting.remove(turn)
            raise

    def _look(self, now: float) -> None:
        paths: dict[object, TcpPath] = {}
        for sender in self._senders:
            paths.update(sender.paths)
        self._pause = _INTERVAL + _COST * (len(paths) + len(self._senders))
        self._next_look = now + self._pause
        self._queue.look(paths, now)

    def _look_soon(self) -> None:
        if not self._look_due:
            self._look_due = True
            gevent.spawn_later(self._pause, self._look_again)

    def _look_again(self) -> None:
        """Let in those that wait, in turn, as far as there is room."""
        self._look_due = False
        self._look(self._now())
        while self._waiting and (self._queue.room is None or self._queue.room > 0):
            self._queue.give(limits.BLOCK)
            self._waiting.popleft().set()
        if self._waiting:
            self._look_soon()
