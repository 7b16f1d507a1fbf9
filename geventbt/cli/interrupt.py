"""Ctrl-C while the event loop runs: the first ends the command cleanly, the second at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from geventbt.cli.errors import INTERRUPTED
from geventbt.cli.text import say

_NOTICE_DELAY = 0.5
"""Seconds after which a notice says what it is waiting for."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt in the calling greenlet on the first SIGINT, and not in whichever greenlet runs, where
    gevent would report it. The second one ends the process at once, with exit code 130."""
    import gevent

    caller = gevent.getcurrent()
    before = signal.getsignal(signal.SIGINT)

    def interrupt() -> None:
        # Cancelling restores the system's default behaviour, so the next handler is set after it.
        watcher.cancel()
        signal.signal(signal.SIGINT, _end_at_once)
        gevent.kill(caller, KeyboardInterrupt)
        notice.start_later(_NOTICE_DELAY)

    notice = gevent.Greenlet(_say_stopping)
    watcher = gevent.signal_handler(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        watcher.cancel()
        notice.kill(block=False)
        signal.signal(signal.SIGINT, before or signal.default_int_handler)


def _say_stopping() -> None:
    say("stopping: informing trackers and peers, writing to disk; Ctrl-C again stops at once")


def _end_at_once(number: int, frame: object) -> None:
    os.write(2, b"stopped at once\n")
    os._exit(INTERRUPTED)
