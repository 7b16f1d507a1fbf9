"""`Ending`: the end of a client, which may be asked for again and again, and waited for."""

from __future__ import annotations

from collections.abc import Callable

import gevent
from gevent.event import Event
from gevent.lock import RLock

from geventbt.concurrency.shield import shielded


class Ending:
    """Runs what ends something, one call at a time, and wakes those that wait until all of it is over.

    Attributes:
        is_begun: whether it has been asked for.
    """

    def __init__(self) -> None:
        self.is_begun = False
        self._is_done = False
        self._callers = 0
        self._running = RLock()
        self._is_over = Event()

    def run(self, end: Callable[[], None]) -> None:
        """Call a function that ends it, to its end although the greenlet that waits is killed. A second call, such as
        that at the end of a `with`, first waits for the one before."""
        self.is_begun = True
        self._callers += 1
        try:
            shielded(self._run, end)
        finally:
            self._callers -= 1
            self._note_end()

    def _run(self, end: Callable[[], None]) -> None:
        with self._running:
            try:
                end()
            finally:
                self._is_done = True
                self._note_end()

    def _note_end(self) -> None:
        """Let `wait` return: not before the calls of `run` have, for its thread may end with it."""
        if self._is_done and not self._callers:
            self._is_over.set()

    def wait(self) -> None:
        """Block until it is over."""
        # The loop goes on although there may be nothing else that it waits for yet.
        with gevent.get_hub().loop.async_() as idle:
            idle.start(lambda: None)
            self._is_over.wait()
