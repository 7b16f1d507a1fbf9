"""Functions that are given to be called later: what is refused at once, and what they see when they are called."""

from __future__ import annotations

import gc
from contextvars import ContextVar
from functools import partial
from time import perf_counter
from typing import Any

import gevent
import pytest

import geventbt
from geventbt import limits, signals
from geventbt.concurrency.dispatch import Dispatcher, OwnSignal, deliver, with_receivers
from geventbt.concurrency.flow import FlowControl
from geventbt.handlers import HandlerSignal, check_handler

request_id: ContextVar[str] = ContextVar("request_id", default="none")


async def coroutine(*args: Any, **fields: Any) -> None:
    """Never runs."""


class AsyncCallable:
    async def __call__(self, *args: Any) -> None:
        """Never runs."""


class Holder:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def see(self, sender: Any) -> None:
        self.seen.append(request_id.get())

    async def see_later(self, sender: Any) -> None:
        """Never runs."""


NEVER_RUN = {
    "a coroutine function": coroutine,
    "a partial of one": partial(coroutine, 1),
    "an async method": Holder().see_later,
    "an object with an async call": AsyncCallable(),
}


@pytest.mark.parametrize("handler", NEVER_RUN.values(), ids=NEVER_RUN)
def test_what_would_never_run_is_refused(handler: Any) -> None:
    for take in (check_handler, signals.unchoke.connect, OwnSignal().connect, OwnSignal().connect_once):
        with pytest.raises(TypeError, match="coroutine function"):
            take(handler)
    assert not signals.unchoke.receivers


def test_many_calls_let_other_greenlets_run_between_them() -> None:
    calls: list[float] = []
    seen: list[int] = []

    def take_a_millisecond() -> None:
        ends = perf_counter() + 0.001
        while perf_counter() < ends:
            pass
        calls.append(ends)

    dispatcher = Dispatcher()
    for _ in range(20):
        dispatcher.call(take_a_millisecond)
    other = gevent.spawn(lambda: seen.append(len(calls)))
    dispatcher.join(10)
    other.join(10)
    assert len(calls) == 20
    assert 0 < seen[0] < 20


class PausedReader:
    """The reader of a connection, as flow control sees it."""

    def __init__(self) -> None:
        self.paused = False

    def pause_reading(self, paused: bool) -> None:
        self.paused = paused

    def on_overflow(self) -> None:
        raise AssertionError("nothing waits for this peer")


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("value", [1, b"x" * 1000, "x" * 1000])
def test_what_calls_hold_in_dictionaries_counts(nested: bool, value: Any) -> None:
    reader = PausedReader()
    dispatcher = Dispatcher(FlowControl(reader))
    fields: dict[str, Any] = {str(number): value for number in range(250)}
    calls = 0
    while not reader.paused:
        calls += 1
        dispatcher.call(lambda fields: None, {"m": fields} if nested else fields)
    least = 100 * len(fields) + (0 if isinstance(value, int) else sum(map(len, fields.values())))
    assert calls <= limits.EVENT_BYTES // least + 1
    dispatcher.join(10)
    assert not reader.paused


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a function, not 5"):
        check_handler(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("hook", ["on_handshake", "on_extended_handshake", "on_message", "on_close"])
def test_an_extension_with_an_async_hook_is_refused_when_its_class_is_made(hook: str) -> None:
    with pytest.raises(TypeError, match=f"Plugin.{hook}"):
        type("Plugin", (geventbt.Extension,), {"name": "xx", hook: coroutine})


@pytest.mark.parametrize("make", [OwnSignal, lambda: HandlerSignal("shared")], ids=["own", "shared"])
def test_a_receiver_sees_the_context_variables_it_was_connected_with(make: Any) -> None:
    signal, holders = make(), [Holder(), Holder()]
    for holder, name in zip(holders, ("first", "second"), strict=True):
        token = request_id.set(name)
        signal.connect(holder.see)
        request_id.reset(token)
    for _ in range(2):
        deliver([signal], None, {})
    assert [holder.seen for holder in holders] == [["first"] * 2, ["second"] * 2]


def test_a_receiver_that_delivers_again_may_be_called_within_itself() -> None:
    signal, depth = OwnSignal(), []

    def again(sender: Any) -> None:
        depth.append(request_id.get())
        if len(depth) < 3:
            deliver([signal], None, {})

    signal.connect(again)
    deliver([signal], None, {})
    assert depth == ["none"] * 3


def test_a_weak_receiver_is_not_kept_by_its_context() -> None:
    signal = HandlerSignal("shared")
    signal.connect(Holder().see)
    gc.collect()
    assert not signal.receivers
    later = Holder()
    signal.connect(later.see)
    deliver([signal], None, {})
    assert later.seen == ["none"]


def test_a_muted_signal_is_not_heard_then_nor_later() -> None:
    signal, other, holder = OwnSignal(), OwnSignal(), Holder()
    signal.connect(holder.see)
    other.connect(holder.see)
    with signal.muted():
        receivers = with_receivers(signal, None, other)
    assert receivers == [other]
    with other.muted():
        deliver(receivers, None, {})
    assert holder.seen == []
    deliver(with_receivers(signal), None, {})
    assert holder.seen == ["none"]
