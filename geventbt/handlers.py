"""Handlers: functions of the user, connected to signals that hold them."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, copy_context
from inspect import iscoroutinefunction, ismethod
from typing import Any, TypeVar

from blinker import NamedSignal, Signal

_F = TypeVar("_F", bound=Callable[..., Any])


def check_handler(handler: Callable[..., object], purpose: str = "a handler") -> None:
    """Refuse what can be called, but would then never run.

    Raises:
        TypeError: it is a coroutine function, or cannot be called at all.
    """
    if not callable(handler):
        raise TypeError(f"{purpose} must be a function, not {handler!r}")
    # A partial object of one is seen through; an object with an async `__call__` is not.
    if iscoroutinefunction(handler) or iscoroutinefunction(type(handler).__call__):
        raise TypeError(
            f"{purpose} must be an ordinary function that may block, not the coroutine function {handler!r}"
        )


class HandlerSignal(NamedSignal):
    """A blinker signal whose receivers run later, on another greenlet.

    It remembers the context variables that each receiver was connected with.

    Args:
        name: of the signal.
        doc: its fields.
    """

    def __init__(self, name: str, doc: str | None = None) -> None:
        super().__init__(name, doc)
        self._contexts: dict[Any, Context] = {}

    def connect(self, receiver: _F, sender: Any = Signal.ANY, weak: bool = True) -> _F:
        """Connect a receiver; see `blinker.Signal.connect`.

        Raises:
            TypeError: it is a coroutine function.
        """
        check_handler(receiver)
        super().connect(receiver, sender, weak)
        for gone in self._contexts.keys() - self.receivers.keys():
            del self._contexts[gone]
        self._contexts[_identity(receiver)] = copy_context()
        return receiver

    def call(self, receiver: Callable[..., object], sender: Any, fields: dict[str, Any]) -> None:
        """Call a receiver with the context variables that it was connected with."""
        context = self._contexts.get(_identity(receiver))
        if context is None:
            receiver(sender, **fields)
        else:
            # A copy: the receiver may run for several senders at a time.
            context.copy().run(receiver, sender, **fields)


def _identity(receiver: Callable[..., object]) -> Any:
    """The key of a receiver in `blinker.Signal.receivers`: a bound method is a new object each time."""
    return (id(receiver.__func__), id(receiver.__self__)) if ismethod(receiver) else id(receiver)
