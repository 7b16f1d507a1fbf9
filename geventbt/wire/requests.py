"""What waits for blocks: a greenlet for one block, a greenlet for a range, or the delegate of a client.

These are the tokens that travel with our requests through the protocol. A block comes to `deliver`, a failure to
`fail`; both only note what has happened, and add the waiting greenlet to the list of those to be woken when all the
bytes just received have been processed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias

from gevent.hub import Waiter

from geventbt.protocol.connection import Event, RequestKey
from geventbt.protocol.constants import PIECE

Wakeups: TypeAlias = list[tuple[Callable[..., None], Any]]
"""(Waiter.switch or Waiter.throw, its argument)"""


class Request(NamedTuple):
    """A request for a block: unpacks as piece, offset, length (the BEPs' index, begin, length)."""

    piece: int
    offset: int
    length: int


class BlockWait(Waiter):
    """A greenlet that waits for one block, and gets it as bytes.

    A subclass of Waiter, rather than an owner of one, because there is one for every block.

    Attributes:
        deadline: the `time.monotonic` by which the block must arrive.
        timeout: the seconds that it was given.
    """

    __slots__ = ("deadline", "timeout")
    deadline: float
    timeout: float

    def is_late(self, now: float) -> bool:
        """Whether the deadline has passed."""
        return self.deadline <= now

    def deliver(self, piece: int, offset: int, block: memoryview, wakeups: Wakeups) -> None:
        wakeups.append((self.switch, bytes(block)))

    def fail(self, key: RequestKey | None, error: Exception, wakeups: Wakeups) -> None:
        """The block will not come."""
        wakeups.append((self.throw, error))


class RangeWait:
    """A greenlet that waits for a range of a piece, whose blocks are copied to their place as they come.

    Args:
        hub: the hub of the wire.
        piece: the piece.
        offset: where the range starts in the piece.
        buffer: a writable byte memoryview as long as the range.
        timeout: seconds without any byte of a block after which it fails. Progress is checked only when they have
            passed, not at every block, so that it may take up to twice as long.
        deadline: the `time.monotonic` of the first check.

    Attributes:
        next: where the first block starts that has not been requested.
        end: where the range ends.
        done: whether it is complete, has failed or was given up.
    """

    __slots__ = (
        "_buffer",
        "_is_moving",
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
        self._is_moving = False
        self._offset = offset
        self.next = offset
        self.end = offset + len(buffer)
        self._buffer = buffer
        self._left = self._left_before = len(buffer)

    def is_late(self, now: float) -> bool:
        """Whether nothing of a block came before the deadline; if it did, there is a new deadline."""
        if self.deadline > now:
            return False
        if self._left < self._left_before or self._is_moving:
            self._left_before = self._left
            self._is_moving = False
            self.deadline = now + self.timeout
            return False
        return True

    def on_bytes(self) -> None:
        """A part of a block has come."""
        self._is_moving = True

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


class WireDelegate(Protocol):
    """Follows a wire from within the hub and keeps it busy, for a client with many wires; see `Wire.attach`.

    Nothing here may block or switch greenlets: it is called while the peer's bytes are being processed. Timeouts of
    its requests are up to the delegate.
    """

    def on_blocks(self, blocks: list[Event]) -> None:
        """Blocks that were requested have arrived: (PIECE, piece, offset, block, token) each.

        The blocks are memoryviews that are valid during the call. *Measured*: a delegate takes the blocks of one read
        together in two thirds of the time that it takes them one by one, because copying a block evicts from the
        nearest cache what the interpreter needs for the next.
        """

    def on_late_block(self, event: Event) -> None:
        """A block has arrived that was requested and given up since: (LATE, piece, offset, block). It may still be of
        use. The block is a memoryview that is valid during the call."""

    def on_bytes(self, now: float) -> None:
        """A part of a block has arrived that was requested, given up since or not: a sign of life."""

    def on_request_failed(self, key: RequestKey, error: Exception) -> None:
        """A block that was requested will not come, or not soon; where it does, see `on_late_block`."""

    def on_message(self, event: Event) -> None:
        """The peer has sent another message: (id, *fields); see `geventbt.protocol.messages`.

        Requests are not reported one by one: look for them in `on_batch`.
        """

    def on_piece_lost(self, piece: int) -> None:
        """The peer no longer has a piece (BEP 54)."""

    def on_batch(self, count: int, now: float) -> None:
        """All that was read at once has been processed.

        Args:
            count: bytes of blocks in it.
            now: the `time.monotonic`, or 0 where there was no complete message.
        """

    def on_closed(self) -> None:
        """The wire is closed; requests that were pending have failed."""


class DelegateWait:
    """The token of a delegate's requests.

    Args:
        delegate: which waits for the blocks.
    """

    __slots__ = ("delegate",)
    deadline = float("inf")

    def __init__(self, delegate: WireDelegate) -> None:
        self.delegate = delegate

    def is_late(self, now: float) -> bool:
        """Never: timeouts are up to the delegate."""
        return False

    def deliver(self, piece: int, offset: int, block: memoryview, wakeups: Wakeups) -> None:
        self.delegate.on_blocks([(PIECE, piece, offset, block, self)])

    def fail(self, key: RequestKey | None, error: Exception, wakeups: Wakeups) -> None:
        if key is not None:
            self.delegate.on_request_failed(key, error)


class SharedWait:
    """Several waits for the same block, which is requested once."""

    __slots__ = ("waits",)

    def __init__(self, first: Wait, second: Wait) -> None:
        self.waits = [first, second]

    def deliver(self, piece: int, offset: int, block: memoryview, wakeups: Wakeups) -> None:
        for wait in self.waits:
            wait.deliver(piece, offset, block, wakeups)

    def fail(self, key: RequestKey | None, error: Exception, wakeups: Wakeups) -> None:
        for wait in self.waits:
            wait.fail(key, error, wakeups)


Wait: TypeAlias = BlockWait | RangeWait | DelegateWait
"""One waiting greenlet, or the delegate."""
Token: TypeAlias = BlockWait | RangeWait | DelegateWait | SharedWait
"""What a pending request carries."""


def waits_of(token: Token) -> list[Wait]:
    """The waits behind a token."""
    return list(token.waits) if isinstance(token, SharedWait) else [token]
