"""Native threads, locks and queues, also in a monkey-patched program.

Hashing on all cores needs native threads. In a monkey-patched program those of `threading` are greenlets, which would
hash one after the other, and its locks are made for greenlets. gevent keeps the originals, so they are taken from it if
it has been imported; it is not imported for this.

Waiting for one of these blocks the whole native thread, with all its greenlets. So wait only for locks that are held
briefly, or in a native thread without greenlets.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from geventbt.concurrency.forks import call_in_child

if TYPE_CHECKING:
    from threading import Lock


def _original(module: str, name: str) -> Any:
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original(module, name) if monkey else getattr(import_module(module), name)


new_lock: Callable[[], Lock] = _original("_thread", "allocate_lock")
"""Makes a lock."""
new_reentrant_lock: Callable[[], AbstractContextManager[bool]] = _original("_thread", "RLock")
"""Makes a lock that its holder may take again."""
NativeQueue: Callable[[], Any] = _original("queue", "SimpleQueue")
"""Makes an unbounded queue, as `queue.SimpleQueue`. A signal interrupts a wait in the main thread."""
_start: Callable[[Callable[[], object], tuple[()]], int] = _original("_thread", "start_new_thread")

_unborn: set[Lock] = set()
"""A lock for each thread that does not run yet, which is released when it does."""


def start_thread(function: Callable[[], object]) -> None:
    """Run a function in a thread of its own, which does not keep the interpreter from ending. It must not raise."""
    unborn = new_lock()
    unborn.acquire()
    _unborn.add(unborn)

    def run() -> None:
        _unborn.discard(unborn)
        unborn.release()
        function()

    try:
        _start(run, ())
    except BaseException:
        _unborn.discard(unborn)
        raise


@atexit.register
def _wait_until_born() -> None:
    """Have the interpreter end only when every thread runs: one that the system first lets run after the end, on a busy
    machine, is a segmentation fault before Python 3.12, because what it was to begin with is freed."""
    for unborn in list(_unborn):
        unborn.acquire()


call_in_child(_unborn.clear)
