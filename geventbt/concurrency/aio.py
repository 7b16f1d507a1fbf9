"""An asyncio loop in a native thread of its own, for libraries that have coroutines only.

It works in a monkey-patched program, too. There asyncio, and what it uses of threads, sockets and look-ups, is made of
greenlets; all of them run in the thread of the loop, on a hub that ends with it. Other threads wait on a native lock,
and so neither need a hub nor hold one up.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from geventbt.concurrency.native import new_lock, start_thread

_T = TypeVar("_T")


class AsyncThread:
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

    def call(self, function: Callable[[], Awaitable[_T]], timeout: float) -> _T:
        """Run a coroutine in the loop, and block this native thread until it ends.

        Args:
            function: called in the loop, returns the coroutine.
            timeout: seconds for it.

        Raises:
            TimeoutError: it took longer, and was cancelled.
            RuntimeError: the loop is closed.
        """
        call = _Call(function, timeout)
        with self._calling:
            if self._is_closed:
                raise RuntimeError("the loop is closed")
            self.loop.call_soon_threadsafe(call.start)
        return call.wait()

    def close(self) -> None:
        """Cancel what runs, and end the thread. Returns once it has ended. Calling it again does no harm."""
        with self._calling:
            if not self._is_closed:
                self._is_closed = True
                self.loop.call_soon_threadsafe(self.loop.stop)
        self._ended.acquire()
        self._ended.release()

    def _run(self) -> None:
        try:
            try:
                self.loop = asyncio.new_event_loop()
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


class _Call:
    """One coroutine, and the thread that waits for it.

    Args:
        function: makes the coroutine.
        timeout: seconds for it.
    """

    def __init__(self, function: Callable[[], Awaitable[Any]], timeout: float) -> None:
        self._function = function
        self._timeout = timeout
        self._done = new_lock()
        self._done.acquire()
        self._task: asyncio.Task[Any] | None = None

    def start(self) -> None:
        """Begin, in the loop."""
        self._task = asyncio.ensure_future(self._await())
        self._task.add_done_callback(lambda task: self._done.release())

    def wait(self) -> Any:
        """Block until it is over, in another thread."""
        self._done.acquire()
        assert self._task is not None
        if self._task.cancelled():
            raise RuntimeError("the loop is closed")
        return self._task.result()

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


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
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
