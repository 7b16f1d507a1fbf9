"""The signals that end a command: once cleanly, twice at once.

SIGTERM (systemd, ``docker stop``) and SIGHUP (the terminal is gone) do what Ctrl-C does, with exit codes of their own.
All have handlers of ours, for the kernel does not deliver to process 1 of a container what has none.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from geventbt.cli.errors import HUNG_UP, INTERRUPTED, TERMINATED, Stopped
from geventbt.cli.text import say

_CODES = {"SIGINT": INTERRUPTED, "SIGTERM": TERMINATED, "SIGHUP": HUNG_UP}
"""The exit code of each signal. Windows has no SIGHUP."""
_NOTICE_AFTER = 0.5
"""Seconds after which a message says what is going on."""


@contextmanager
def stopping_signals() -> Iterator[None]:
    """Raise `Stopped` in the main thread on the first of the signals, where no event loop runs.

    A SIGHUP that is ignored already stays ignored, which is what nohup is for. In another thread there are no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.signal(number, _raise_stopped) for number in _numbers()}
    try:
        yield
    finally:
        _restore(handlers)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Stopped` in the calling greenlet on the first of the signals, rather than wherever the loop happens to be,
    where gevent would report it. The second one ends the process, whatever it is doing, with its exit code."""
    import gevent

    caller = gevent.getcurrent()
    notice = gevent.Greenlet(_say_stopping)

    def stop(code: int) -> None:
        gevent.kill(caller, Stopped(code))
        notice.start_later(_NOTICE_AFTER)

    with _first_of(_numbers(), stop):
        try:
            yield
        finally:
            notice.kill(block=False)


@contextmanager
def serving(stop: Callable[[], object], reload: Callable[[], object]) -> Iterator[None]:
    """Call a function on the first SIGTERM or SIGINT, each in a greenlet, and another one on every SIGHUP, as services
    do. The second SIGTERM or SIGINT ends the process, whatever it is doing, with its exit code."""
    import gevent

    with _first_of([number for number in _numbers() if _code_of(number) != HUNG_UP], lambda code: stop()):
        if not hasattr(signal, "SIGHUP"):
            yield
            return
        before = signal.getsignal(signal.SIGHUP)
        watcher = gevent.signal_handler(signal.SIGHUP, reload)
        try:
            yield
        finally:
            watcher.cancel()
            _restore({signal.SIGHUP: before})


@contextmanager
def _first_of(numbers: list[int], act: Callable[[int], object]) -> Iterator[None]:
    """Call a function with the exit code of the first of the signals, in a greenlet. The second ends the process."""
    import gevent

    handlers = {number: signal.getsignal(number) for number in numbers}
    watchers: list[Any] = []

    def on_first(code: int) -> None:
        # It leaves the signal with the system's default behaviour, so what is next comes after it.
        for watcher in watchers:
            watcher.cancel()
        for number in numbers:
            signal.signal(number, _end_at_once)
        act(code)

    watchers += [gevent.signal_handler(number, on_first, _code_of(number)) for number in numbers]
    try:
        yield
    finally:
        for watcher in watchers:
            watcher.cancel()
        _restore(handlers)


def _numbers() -> list[int]:
    """The signals that end the command."""
    numbers = [getattr(signal, name) for name in _CODES if hasattr(signal, name)]
    is_nohup = hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in numbers if not (is_nohup and number == signal.SIGHUP)]


def _code_of(number: int) -> int:
    return _CODES[signal.Signals(number).name]


def _restore(handlers: dict[int, Callable[[int, FrameType | None], Any] | int | None]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _raise_stopped(number: int, frame: object) -> None:
    raise Stopped(_code_of(number))


def _say_stopping() -> None:
    say("stopping: informing trackers and peers, writing to disk; Ctrl-C again stops at once")


def _end_at_once(number: int, frame: object) -> None:
    try:
        os.write(2, b"stopped at once\n")
    finally:
        os._exit(_code_of(number))
