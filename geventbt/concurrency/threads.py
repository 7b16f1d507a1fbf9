"""Native threads for what blocks, such as the disk and the look-up of names, so that the event loop never waits for it.

They are not gevent's own pool, which belongs to the program: ten slow tasks of its own there must not hold up a peer.
Unlike the threads of a gevent pool they end when there is nothing to do, and hold no reference to the hub.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from queue import Empty
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import gevent
from gevent.hub import Waiter

from geventbt.concurrency.forks import call_in_child
from geventbt.concurrency.native import NativeQueue, new_lock, start_thread

_log = logging.getLogger("geventbt")

_T = TypeVar("_T")

THREADS = 2
"""*Measured*: hashing and writing in two threads gives 1270 MB/s, inline 870; more threads only wait for each other."""
_IDLE = 0.1
"""Seconds without work after which a thread ends."""


class _Task:
    """A call, and its outcome."""

    __slots__ = ("args", "done", "error", "function", "result")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], done: Any) -> None:
        self.function = function
        self.args = args
        self.done = done
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self.function(*self.args)
        except BaseException as error:
            self.error = error
        # The hub may have been destroyed meanwhile: then no greenlet waits.
        with suppress(Exception):
            self.done.send()


class _Crew:
    """The threads of one hub."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._tasks = NativeQueue()
        self._lock = new_lock()
        self._threads = 0
        self._idle = 0
        self._waiting = 0

    def add(self, task: _Task) -> None:
        """Have a task run, by another thread if those there are busy."""
        with self._lock:
            self._waiting += 1
            needs_thread = self._waiting > self._idle and self._threads < self._size
            self._threads += needs_thread
        self._tasks.put(task)
        if needs_thread:
            try:
                start_thread(self._work)
            except (RuntimeError, MemoryError) as error:
                self._on_no_thread(error)

    def _on_no_thread(self, error: Exception) -> None:
        """The system allows no more threads: go on with fewer, or with this one, which holds up all its greenlets."""
        with self._lock:
            self._threads -= 1
            is_alone = not self._threads
        if is_alone:
            _log.warning("no native thread can be started (%s): the event loop waits for the disk", error)
            with suppress(Empty):
                while True:
                    task = self._tasks.get(False)
                    with self._lock:
                        self._waiting -= 1
                    task.run()

    def dismiss(self) -> None:
        """End the threads when they have done what there is to do."""
        for _ in range(self._threads):
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._next()) is not None:
            task.run()
            # Not to keep its result and arguments while there is nothing to do.
            del task

    def _next(self) -> Any:
        """The next task; None when the thread is to end."""
        with self._lock:
            self._idle += 1
        while True:
            task = None
            with suppress(Empty):
                task = self._tasks.get(timeout=_IDLE)
            with self._lock:
                # One may have been added in this very moment, for which no other thread was started.
                if task is None and self._waiting:
                    continue
                self._idle -= 1
                if task is None:
                    self._threads -= 1
                else:
                    self._waiting -= 1
                return task


class NativeThreads:
    """A pool of native threads for each hub.

    Args:
        size: the maximum number of threads of a hub.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._crews: WeakKeyDictionary[Any, _Crew] = WeakKeyDictionary()
        _all.append(self)

    def call(self, function: Callable[..., _T], *args: Any) -> _T:
        """Call a function in a native thread, and block only this greenlet until it returns or raises.

        Killing the greenlet ends the wait, not the call.
        """
        hub = gevent.get_hub()
        crew = self._crews.get(hub)
        if crew is None:
            crew = self._crews[hub] = _Crew(self._size)
        waiter: Waiter[None] = Waiter(hub)
        done = hub.loop.async_()
        done.start(_wake, hub.loop, done, waiter)
        task = _Task(function, args, done)
        crew.add(task)
        waiter.get()
        result, error = task.result, task.error
        del task
        try:
            if error is not None:
                raise error
            return cast(_T, result)
        finally:
            # Its traceback refers to this frame.
            del error

    def dismiss(self, hub: Any) -> None:
        """End the threads of a hub that is not used any more."""
        crew = self._crews.pop(hub, None)
        if crew is not None:
            crew.dismiss()

    def forget(self) -> None:
        """Begin anew in a forked child, which has no thread of these, and perhaps locks that no thread will release."""
        self._crews = WeakKeyDictionary()


def _wake(loop: Any, done: Any, waiter: Waiter[None]) -> None:
    done.stop()
    done.close()
    # Among the callbacks, as all other greenlets are woken: what they leave to do is done before sockets are read.
    loop.run_callback(waiter.switch, None)


_all: list[NativeThreads] = []

_disk = NativeThreads(THREADS)
in_thread = _disk.call
"""Hash, read or write in a native thread; see `NativeThreads.call`."""


def dismiss(hub: Any) -> None:
    """End all threads of a hub that is not used any more."""
    for threads in _all:
        threads.dismiss(hub)


def _forget_all() -> None:
    for threads in _all:
        threads.forget()


call_in_child(_forget_all)
