"""What a forked child process must not share with its parent: descriptors, locks and threads.

A fork copies everything but the other threads. A connection that two processes read is lost to both; one that a child
still has open does not end when the parent closes it; and a child waits for ever for a thread that only the parent has.
So a child lets go of what its parent has open here. The parent is not disturbed, and goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol
from weakref import WeakSet


class HasDescriptor(Protocol):
    """What holds a descriptor that a child must not keep open, such as a socket."""

    def fileno(self) -> int:
        """The descriptor; negative when it is closed."""


_held: WeakSet[HasDescriptor] = WeakSet()
_callbacks: list[Callable[[], None]] = []


def drop_in_child(holder: HasDescriptor) -> None:
    """Have a forked child let go of a descriptor. The holder is referred to weakly."""
    _held.add(holder)


def call_in_child(callback: Callable[[], None]) -> None:
    """Call a function in each forked child, before anything else runs there. It must not block, nor raise."""
    _callbacks.append(callback)


def _after_fork_in_child() -> None:
    descriptors = [descriptor for holder in list(_held) if (descriptor := holder.fileno()) >= 0]
    if descriptors:
        _let_go(descriptors)
    for callback in _callbacks:
        callback()
    _held.clear()


def _let_go(descriptors: list[int]) -> None:
    """Put the null device in the place of each: its number stays taken, because its holder will close it some day."""
    with suppress(OSError):
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in descriptors:
            os.dup2(null, descriptor, inheritable=False)
        os.close(null)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
