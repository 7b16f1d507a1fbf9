"""`Routine`: work that is done now and then, on a greenlet that exists only meanwhile.

A greenlet that waits holds 8 to 15 KiB (*measured*), a timer a fiftieth of that: a thousand torrents with nothing to do
must not hold thousands of greenlets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import gevent

from geventbt.concurrency.greenlets import spawn

_started: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""By hub, how many routines are started."""


class Routine:
    """Calls a function at the times that it names itself, and whenever it is woken; never twice at one time.

    Args:
        name: of its greenlets; see `spawn`.
        work: does what is due, and may block. Returns the seconds until it is to be called again; None if not before it
            is woken. An exception ends the routine's waiting until it is woken.
    """

    __slots__ = ("_greenlet", "_hub", "_is_woken", "_name", "_timer", "_work")

    def __init__(self, name: str, work: Callable[[], float | None]) -> None:
        self._name = name
        self._work = work
        self._hub: Any = None
        self._greenlet: gevent.Greenlet | None = None
        self._timer: Any = None
        self._is_woken = False

    @property
    def is_started(self) -> bool:
        """Whether it is between `start` and `stop`."""
        return self._hub is not None

    @property
    def greenlet(self) -> gevent.Greenlet | None:
        """The greenlet that works at the moment, or None."""
        return self._greenlet

    def start(self, after: float = 0.0) -> None:
        """Begin to work, unless it has begun already.

        Args:
            after: seconds before the first call.
        """
        if self._hub is None:
            self._hub = gevent.get_hub()
            _started[self._hub] = _started.get(self._hub, 0) + 1
            self._wait(after)

    def wake(self) -> None:
        """Call the function soon; once more if it is being called. Nothing happens before `start` and after `stop`."""
        if self._hub is None:
            return
        self._is_woken = True
        if self._greenlet is None:
            self._cancel()
            self._greenlet = spawn(self._name, self._run)

    def stop(self, timeout: float | None = None) -> None:
        """Work no more; a call that is under way is killed, unless it is that one that stops the routine.

        Args:
            timeout: seconds to wait for the end of that call; None for no limit.
        """
        if self._hub is None:
            return
        _started[self._hub] -= 1
        self._hub = None
        self._cancel()
        greenlet, self._greenlet = self._greenlet, None
        if greenlet is not None and greenlet is not gevent.getcurrent():
            greenlet.kill(timeout=timeout)

    def _run(self) -> None:
        seconds = None
        try:
            while self._is_woken and self._greenlet is gevent.getcurrent():
                self._is_woken = False
                seconds = self._work()
        finally:
            if self._greenlet is gevent.getcurrent():
                self._greenlet = None
                self._wait(seconds)

    def _wait(self, seconds: float | None) -> None:
        if seconds is None:
            return
        if seconds <= 0:
            self.wake()
            return
        self._timer = self._hub.loop.timer(seconds)
        self._timer.start(self._on_time)

    def _on_time(self) -> None:
        self._cancel()
        self.wake()

    def _cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.stop()
            timer.close()


def has_routines(hub: Any) -> bool:
    """Whether routines are started in a hub."""
    return _started.get(hub, 0) > 0
