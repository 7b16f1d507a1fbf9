"""Ctrl-C, where the event loop runs: once ends the command cleanly, twice at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from geventbt.cli.errors import INTERRUPTED
from geventbt.cli.text import say

_PATIENCE = 0.5
"""Seconds after which a person is told what is going on."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt in the calling greenlet on the first SIGINT, rather than wherever the loop happens to be,
    where gevent would report it. The second one ends the process, whatever it is doing, with exit code 130."""
    import gevent

    caller = gevent.getcurrent()
    before = signal.getsignal(signal.SIGINT)

    def interrupt() -> None:
        # It leaves the signal with the system's default behaviour, so what is next comes after it.
        watcher.cancel()
        signal.signal(signal.SIGINT, _end_at_once)
        gevent.kill(caller, KeyboardInterrupt)
        notice.start_later(_PATIENCE)

    notice = gevent.Greenlet(_say_stopping)
    watcher = gevent.signal_handler(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        watcher.cancel()
        notice.kill(block=False)
        signal.signal(signal.SIGINT, before or signal.default_int_handler)


def _say_stopping() -> None:
    say("stopping: trackers and peers are told, the disk is written; Ctrl-C again stops at once")


def _end_at_once(number: int, frame: object) -> None:
    os.write(2, b"stopped at once\n")
    os._exit(INTERRUPTED)
