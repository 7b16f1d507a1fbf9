"""An asyncio loop in a native thread, shared by all libraries of the process that have coroutines only.

It works in a monkey-patched program, too. There asyncio, and what it uses of threads, sockets and look-ups, is made of
greenlets; all of them run in the thread of the loop, on a hub that ends with it. Other threads wait on a native lock,
and so neither need a hub nor hold one up.

The thread begins with the first `AsyncCaller`, and ends with the last one, or with the process. A forked child has
none: there the callers of its parent raise an error, and new ones share a new thread.
"""

from __future__ import annotations

import asyncio
import atexit
import selectors
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from geventbt.concurrency.forks import call_in_child, drop_in_child
from geventbt.concurrency.native import new_lock, start_thread

_T = TypeVar("_T")

_CLOSE_TIMEOUT = 10.0
"""Seconds for calls that are cancelled to end, and for the thread to end at the exit of the process."""


class AsyncCaller:
    """Calls coroutines in the shared loop, until `close`."""

    def __init__(self) -> None:
        self._thread = _shared.take()
        self._calling = new_lock()
        self._is_closed = False
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the coroutines run in."""
        return self._thread.loop

    def call(self, function: Callable[[], Awaitable[_T]], timeout: float) -> _T:
        """Run a coroutine in the loop, and block this native thread until it ends.

        Args:
            function: called in the loop, returns the coroutine.
            timeout: seconds for it.

        Raises:
            TimeoutError: it took longer, and was cancelled.
            RuntimeError: the caller is closed, or the process has been forked.
        """
        call = _Call(function, timeout, self._tasks)
        with self._calling:
            if self._is_closed:
                raise RuntimeError("it is closed")
            self._thread.start(call)
        return call.wait()

    def close(self) -> None:
        """Cancel the calls under way. Returns once they have ended. Calling it again does no harm."""
        with self._calling:
            if self._is_closed:
                return
            self._is_closed = True
        with suppress(Exception):
            call = _Call(partial(_cancel, self._tasks), _CLOSE_TIMEOUT, set())
            self._thread.start(call)
            call.wait()
        _shared.give_back(self._thread)


class _SharedThread:
    """The thread that there is while anything needs it."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._thread: _AsyncThread | None = None
        self._users = 0
        self._of_parent: list[_AsyncThread] = []

    def take(self) -> _AsyncThread:
        """The thread, to be given back in the end."""
        with self._lock:
            self._thread = self._thread or _AsyncThread()
            self._users += 1
            return self._thread

    def give_back(self, thread: _AsyncThread) -> None:
        """One less uses the thread; after the last one it ends."""
        with self._lock:
            if thread is not self._thread:
                return
            self._users -= 1
            if self._users:
                return
            self._thread = None
        thread.close()

    def end(self) -> None:
        """End the thread at the exit of the process, whatever still uses it."""
        if self._thread is not None:
            self._thread.close(_CLOSE_TIMEOUT)

    def forget(self) -> None:
        """Begin anew in a forked child, which does not have the thread."""
        if self._thread is not None:
            self._thread.forget()
            # Were it collected, it would close what the parent uses.
            self._of_parent.append(self._thread)
        self._lock, self._thread, self._users = new_lock(), None, 0


class _AsyncThread:
    """A native thread that runs an asyncio loop until `close`.

    Attributes:
        loop: the loop.
    """

    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        self._calling = new_lock()
        self._is_closed = False
        self._started = new_lock()
        self._started.acquire()
        self._ended = new_lock()
        self._ended.acquire()
        self._failure: BaseException | None = None
        start_thread(self._run)
        self._started.acquire()
        if self._failure is not None:
            raise self._failure

    def start(self, call: _Call) -> None:
        """Begin a call.

        Raises:
            RuntimeError: the loop is closed, or the process has been forked.
        """
        with self._calling:
            if self._is_closed:
                raise RuntimeError("the loop is closed")
            self.loop.call_soon_threadsafe(call.start)

    def close(self, timeout: float = -1) -> None:
        """Cancel what runs, and end the thread. Returns once it has ended. Calling it again does no harm.

        Args:
            timeout: seconds to wait for the end, at the most; by default any time.
        """
        with self._calling:
            if not self._is_closed:
                self._is_closed = True
                self.loop.call_soon_threadsafe(self.loop.stop)
        if self._ended.acquire(timeout=timeout):
            self._ended.release()

    def forget(self) -> None:
        """Be closed, in a forked child that does not have the thread, and perhaps locks that it held."""
        self._calling, self._ended, self._is_closed = new_lock(), new_lock(), True

    def _run(self) -> None:
        try:
            try:
                selector = selectors.DefaultSelector()
                self.loop = asyncio.SelectorEventLoop(selector)
                self._descriptor = _Descriptor(selector)
            except BaseException as error:
                self._failure = error
                return
            finally:
                self._started.release()
            with suppress(Exception):
                self.loop.run_forever()
            with suppress(Exception):
                self.loop.run_until_complete(_cancel_all())
            with suppress(Exception):
                self.loop.close()
        finally:
            _leave_hub()
            self._ended.release()


class _Descriptor:
    """The descriptor that a loop waits at. A child that closes what it has from its parent would change it for both.

    Args:
        selector: of the loop; one of gevent's has no descriptor.
    """

    def __init__(self, selector: Any) -> None:
        self._selector = selector
        drop_in_child(self)

    def fileno(self) -> int:
        """The descriptor; -1 without one."""
        with suppress(Exception):
            return int(self._selector.fileno())
        return -1


class _Call:
    """One coroutine, and the thread that waits for it.

    Args:
        function: makes the coroutine.
        timeout: seconds for it.
        tasks: has the task of the coroutine while it runs; used in the loop only.
    """

    def __init__(self, function: Callable[[], Awaitable[Any]], timeout: float, tasks: set[asyncio.Task[Any]]) -> None:
        self._function = function
        self._timeout = timeout
        self._tasks = tasks
        self._done = new_lock()
        self._done.acquire()
        self._task: asyncio.Task[Any] | None = None

    def start(self) -> None:
        """Begin, in the loop."""
        self._task = asyncio.ensure_future(self._await())
        self._tasks.add(self._task)
        self._task.add_done_callback(self._end)

    def wait(self) -> Any:
        """Block until it is over, in another thread."""
        self._done.acquire()
        assert self._task is not None
        if self._task.cancelled():
            raise RuntimeError("it is closed")
        return self._task.result()

    def _end(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._done.release()

    async def _await(self) -> Any:
        try:
            return await asyncio.wait_for(self._function(), self._timeout)
        except asyncio.TimeoutError:
            raise TimeoutError(f"not done within {self._timeout:g} s") from None


async def gather(calls: Sequence[Callable[[], Coroutine[Any, Any, _T]]], limit: int) -> list[_T]:
    """Run several coroutines, at most `limit` at a time. All of them have ended when this returns or raises.

    Args:
        calls: each returns a coroutine.
        limit: how many run at a time.

    Returns:
        Their results, in order.

    Raises:
        Exception: the first that one of them raised.
    """
    permits = asyncio.Semaphore(limit)

    async def run(call: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        async with permits:
            return await call()

    outcomes = await asyncio.gather(*map(run, calls), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return outcomes  # type: ignore[return-value]


async def _cancel(tasks: set[asyncio.Task[Any]]) -> None:
    cancelled = list(tasks)
    for task in cancelled:
        task.cancel()
    await asyncio.gather(*cancelled, return_exceptions=True)


async def _cancel_all() -> None:
    await _cancel({task for task in asyncio.all_tasks() if task is not asyncio.current_task()})
    await asyncio.get_running_loop().shutdown_default_executor()
    # Closed connections are let go of in the next turns.
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def _leave_hub() -> None:
    """End the hub of this thread, which there is in a monkey-patched program."""
    if "gevent" not in sys.modules:
        return
    from geventbt.concurrency.hubs import end_hub

    end_hub()


_shared = _SharedThread()
atexit.register(_shared.end)
call_in_child(_shared.forget)
