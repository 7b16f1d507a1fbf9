"""Who waits for blocks: one greenlet for one block, one greenlet for a range, or the feed of a client.

These are the tokens that travel with our requests through the protocol. A block comes to `deliver`, a failure to
`fail`; both only note what has happened and put the waiting greenlet on the wire's list of those to be woken once the
bytes just received have all been dealt with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from gevent.hub import Waiter

from geventbt.protocol.connection import Event, RequestKey
from geventbt.protocol.constants import PIECE

Wakeups: TypeAlias = list[tuple[Callable[..., None], Any]]
"""(Waiter.switch or Waiter.throw, what to wake it with)"""


class BlockWait(Waiter):
    """One greenlet that waits until `deadline` for one block, and gets it as bytes.

    It is a Waiter, rather than has one, because there is one for every block.
    """

    __slots__ = ("deadline",)
    deadline: float

    def is_late(self, now: float) -> bool:
        """Whether the block has not come in time."""
        return self.deadline <= now

    def deliver(self, piece: int, offset: int, block: memoryview, wakeups: Wakeups) -> None:
        wakeups.append((self.switch, bytes(block)))

    def fail(self, key: RequestKey | None, error: Exception, wakeups: Wakeups) -> None:
        """The block will not come."""
        wakeups.append((self.throw, error))


class RangeWait:
    """One greenlet that waits for a range of a piece, whose blocks are put in place as they come.

    Args:
        hub: the hub of the wire.
        piece: the piece.
        offset: where the range starts in the piece.
        buffer: a writable byte memoryview as long as the range.
        timeout: seconds without any block, once or twice over, before it fails: progress is looked at only then,
            not at every block.
        deadline: the first such moment.

    Attributes:
        next: where the first block that has not been requested starts.
        end: where the range ends.
        done: whether it is complete, has failed or was given up.
    """

    __slots__ = (
        "_buffer",
        "_left",
        "_left_before",
        "_offset",
        "deadline",
        "done",
        "end",
        "next",
        "piece",
        "timeout",
        "waiter",
    )

    def __init__(self, hub: Any, piece: int, offset: int, buffer: memoryview, timeout: float, deadline: float) -> None:
        self.piece = piece
        self.timeout = timeout
        self.deadline = deadline
        self.waiter = Waiter(hub)
        self.done = False
        self._offset = offset
        self.next = offset
        self.end = offset + len(buffer)
        self._buffer = buffer
        self._left = self._left_before = len(buffer)

    def is_late(self, now: float) -> bool:
        """Whether no block at all came in the time that ends with the deadline; if one did, the time starts again."""
        if self.deadline > now:
            return False
        if self._left < self._left_before:
            self._left_before = self._left
            self.deadline = now + self.timeout
            return False
        return True

    def deliver(self, piece: int, offset: int, block: memoryview, wakeups: Wakeups) -> None:
        if self.done:
            return
        start = offset - self._offset
        self._buffer[start : start + len(block)] = block
        self._left -= len(block)
        if not self._left:
            self.done = True
            wakeups.append((self.waiter.switch, None))

    def fail(self, key: RequestKey | None, error: Exception, wakeups: Wakeups) -> None:
        if not self.done:
            self.done = True
            wakeups.append((self.waiter.throw, error))


class WireDelegate:
    """Follows a wire from within the hub and keeps it busy, for a client with many of them; see `Wire.attach`.

    A subclass does what it must at once: nothing here may block or switch, for all of it runs while the peer's bytes
    are being dealt with.
    """

    deadline = float("inf")
    """A client has a clock of its own for what is late."""

    def is_late(self, now: float) -> bool:
        return False

    def deliver(self, piece: int, offset: int, block: memoryview, wakeups: Wakeups) -> None:
        self.on_blocks([(PIECE, piece, offset, block, self)])

    def on_blocks(self, blocks: list[Event]) -> None:
        """Blocks that were asked for are here: (PIECE, piece, offset, block, token) each. The views are valid during
        the call.

        *Measured*: told of all that were read together, a feed takes them in two thirds of the time: copying a block
        drives what the interpreter needs for the next one out of the processor's nearest cache.
        """

    def fail(self, key: RequestKey | None, error: Exception, wakeups: Wakeups) -> None:
        """A block that was asked for will not come. The key is None only for a wait as a whole, never for a feed."""

    def on_message(self, event: Event) -> None:
        """The peer has sent something else: (id, *fields), see `geventbt.protocol.messages`.

        Requests are not told of one by one: look for them in `on_batch`.
        """

    def on_piece_lost(self, piece: int) -> None:
        """The peer no longer has a piece (BEP 54)."""

    def on_batch(self, count: int, now: float) -> None:
        """What has been read at one time is dealt with; `count` bytes of blocks were in it."""

    def on_closed(self) -> None:
        """The wire is closed; what was asked for has failed."""


class SharedWait:
    """Several that wait for the same block, which is requested once."""

    __slots__ = ("waits",)

    def __init__(self, first: Wait, second: Wait) -> None:
        self.waits = [first, second]

    def deliver(self, piece: int, offset: int, block: memoryview, wakeups: Wakeups) -> None:
        for wait in self.waits:
            wait.deliver(piece, offset, block, wakeups)

    def fail(self, key: RequestKey | None, error: Exception, wakeups: Wakeups) -> None:
        for wait in self.waits:
            wait.fail(key, error, wakeups)


Wait: TypeAlias = "BlockWait | RangeWait | WireDelegate"
"""One waiting greenlet, or the feed."""
Token: TypeAlias = "BlockWait | RangeWait | WireDelegate | SharedWait"
"""What a pending request carries."""


def waits_of(token: Token) -> list[Wait]:
    """Who waits behind a token."""
    return list(token.waits) if isinstance(token, SharedWait) else [token]
