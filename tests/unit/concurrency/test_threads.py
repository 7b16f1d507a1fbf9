"""Native threads for what blocks: a bounded number, none when idle, and independent of gevent's own."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import gevent
import pytest

from geventbt.concurrency import threads
from geventbt.concurrency.threads import NativeThreads


def eventually(condition: Any, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        gevent.sleep(0.005)


class Gate:
    """A call that blocks its native thread until it is opened, and counts those that are in it."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.idents: set[int] = set()

    def is_entered(self) -> bool:
        return bool(self.idents)

    def __call__(self) -> int:
        self.idents.add(threading.get_ident())
        assert self.open.wait(10)
        return threading.get_ident()


def test_results_and_errors_come_back_and_other_greenlets_run_meanwhile() -> None:
    pool, gate = NativeThreads(2), Gate()
    waiting = gevent.spawn(pool.call, gate)
    eventually(lambda: gate.idents)
    gate.open.set()
    assert waiting.get(timeout=5) == gate.idents.pop() != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        pool.call(lambda: 1 // 0)
    with pytest.raises(SystemExit):
        pool.call(exit)
    assert pool.call(divmod, 7, 2) == (3, 1)


def test_there_are_never_more_threads_than_allowed_and_all_of_them_are_used() -> None:
    pool, gate = NativeThreads(3), Gate()
    waiting = [gevent.spawn(pool.call, gate) for _ in range(10)]
    eventually(lambda: len(gate.idents) == 3)
    gevent.sleep(0.05)
    assert len(gate.idents) == 3
    gate.open.set()
    assert {greenlet.get(timeout=5) for greenlet in waiting} == gate.idents


def test_a_busy_thread_does_not_hold_up_another_call() -> None:
    pool, gate = NativeThreads(2), Gate()
    for _ in range(200):
        slow = gevent.spawn(pool.call, gate)
        eventually(gate.is_entered)
        assert gevent.spawn(pool.call, divmod, 7, 2).get(timeout=5) == (3, 1)
        gate.open.set()
        slow.get(timeout=5)
        gate = Gate()


def test_a_call_goes_on_when_its_greenlet_is_killed() -> None:
    pool, gate, ended = NativeThreads(1), Gate(), threading.Event()
    waiting = gevent.spawn(pool.call, lambda: (gate(), ended.set()))
    eventually(lambda: gate.idents)
    waiting.kill()
    gate.open.set()
    eventually(ended.is_set)
    assert pool.call(divmod, 7, 2) == (3, 1)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="native threads are counted in /proc")
def test_threads_end_when_there_is_nothing_to_do_and_begin_again() -> None:
    pool, before = NativeThreads(2), len(os.listdir("/proc/self/task"))
    for _ in range(3):
        gevent.joinall([gevent.spawn(pool.call, time.sleep, 0.01) for _ in range(4)], timeout=5)
        eventually(lambda: len(os.listdir("/proc/self/task")) <= before)
    assert pool.call(divmod, 7, 2) == (3, 1)


def test_without_any_thread_the_calls_are_made_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(function: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "start_thread", refuse)
    pool = NativeThreads(2)
    assert [greenlet.get(timeout=5) for greenlet in [gevent.spawn(pool.call, divmod, 7, 2) for _ in range(3)]] == [
        (3, 1)
    ] * 3
    assert "can't start new thread" in caplog.text


def test_a_hub_that_is_destroyed_with_a_call_under_way_harms_nobody() -> None:
    pool, gate = NativeThreads(1), Gate()

    def use() -> None:
        gevent.spawn(pool.call, gate)
        while not gate.idents:
            gevent.sleep(0.005)
        gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    gate.open.set()
    assert pool.call(divmod, 7, 2) == (3, 1)
