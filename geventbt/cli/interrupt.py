"""Ctrl-C, where the event loop runs: an exception in the main greenlet and nothing on the terminal."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import gevent


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt in the calling greenlet on SIGINT, rather than wherever the loop happens to be, where
    gevent would report it."""
    watcher = gevent.signal_handler(signal.SIGINT, gevent.kill, gevent.getcurrent(), KeyboardInterrupt)
    try:
        yield
    finally:
        watcher.cancel()
