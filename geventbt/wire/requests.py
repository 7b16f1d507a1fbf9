"""Who waits for blocks: one greenlet for one block, or one greenlet for a range.

These are the tokens that travel with our requests through the protocol. A block comes to `deliver`, a failure to `fail`; both only note what has
happened and put the waiting greenlet on the wire's list of those to be woken once the bytes just received have all been dealt with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from gevent.hub import Waiter

from geventbt import limits

Wakeups: TypeAlias = list[tuple[Callable[..., None], Any]]
"""(Waiter.switch or Waiter.throw, what to wake it with)"""


class BlockWait:
    """One greenlet that waits for one block, and gets it as bytes."""

    __slots__ = ("deadline", "waiter")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.waiter = Waiter()

    def deliver(self, offset: int, block: memoryview, wakeups: Wakeups) -> None:
        wakeups.append((self.waiter.switch, bytes(block)))

    def fail(self, error: Exception, wakeups: Wakeups) -> None:
        wakeups.append((self.waiter.throw, error))


class RangeWait:
    """One greenlet that waits for a range of a piece, whose blocks are put in place as they come.

    Args:
        piece: the piece.
        offset: where the range starts in the piece.
        buffer: a writable byte memoryview as long as the range.
        timeout: seconds without any block before it fails.
        deadline: the first such moment.
    """

    __slots__ = ("_buffer", "_left", "_next", "_offset", "deadline", "done", "piece", "timeout", "waiter")

    def __init__(self, piece: int, offset: int, buffer: memoryview, timeout: float, deadline: float) -> None:
        self.piece = piece
        self.timeout = timeout
        self.deadline = deadline
        self.waiter = Waiter()
        self.done = False
        self._offset = offset
        self._next = offset
        self._buffer = buffer
        self._left = len(buffer)

    def next_block(self) -> tuple[int, int] | None:
        """The (offset, length) of the next block to be requested, or None if all have been."""
        offset = self._next
        length = min(limits.BLOCK, self._offset + len(self._buffer) - offset)
        if not length or self.done:
            return None
        self._next += length
        return offset, length

    def deliver(self, offset: int, block: memoryview, wakeups: Wakeups) -> None:
        if self.done:
            return
        start = offset - self._offset
        self._buffer[start : start + len(block)] = block
        self._left -= len(block)
        if not self._left:
            self.done = True
            wakeups.append((self.waiter.switch, None))

    def fail(self, error: Exception, wakeups: Wakeups) -> None:
        if not self.done:
            self.done = True
            wakeups.append((self.waiter.throw, error))


class SharedWait:
    """Several that wait for the same block, which is requested once."""

    __slots__ = ("waits",)

    def __init__(self, first: Wait, second: Wait) -> None:
        self.waits = [first, second]

    def deliver(self, offset: int, block: memoryview, wakeups: Wakeups) -> None:
        for wait in self.waits:
            wait.deliver(offset, block, wakeups)

    def fail(self, error: Exception, wakeups: Wakeups) -> None:
        for wait in self.waits:
            wait.fail(error, wakeups)


Wait: TypeAlias = "BlockWait | RangeWait"
"""One waiting greenlet."""
Token: TypeAlias = "BlockWait | RangeWait | SharedWait"
"""What a pending request carries."""


def waits_of(token: Token) -> list[Wait]:
    """The waiting greenlets behind a token."""
    return list(token.waits) if isinstance(token, SharedWait) else [token]
