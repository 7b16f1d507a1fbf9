"""The downloading half of a wire: our requests, kept within what the peer queues, and those who wait for them."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic

from gevent._hub_local import get_hub_if_exists

from geventbt import limits
from geventbt.arguments import check_seconds
from geventbt.errors import GeventBTError, RequestCancelled, RequestTimeout, WireClosed
from geventbt.protocol.connection import RequestKey
from geventbt.wire.conditions import Conditions
from geventbt.wire.link import Link
from geventbt.wire.publisher import Publisher
from geventbt.wire.requests import (
    BlockWait,
    DelegateWait,
    RangeWait,
    SharedWait,
    Token,
    Wait,
    Wakeups,
    WireDelegate,
    waits_of,
)


class RequestPipeline:
    """Sends the requests of greenlets and of a client's delegate, and ends them.

    Args:
        link, conditions, publisher: of the wire.

    Attributes:
        ranges: the greenlets that wait for ranges which are not fully requested.
        delegate_wait: the token of the delegate's requests; None without a delegate.
        timeout: default seconds for a request to be answered.
    """

    __slots__ = ("_conditions", "_link", "_protocol", "_publisher", "delegate_wait", "ranges", "timeout")

    def __init__(self, link: Link, conditions: Conditions, publisher: Publisher) -> None:
        self._link = link
        self._protocol = link.protocol
        self._conditions = conditions
        self._publisher = publisher
        self.ranges: list[RangeWait] = []
        self.delegate_wait: DelegateWait | None = None
        self.timeout = limits.REQUEST_TIMEOUT

    # ------------------------------------------------------------------ greenlets

    def request(self, piece: int, offset: int, length: int, timeout: float | None, wait_unchoked: bool) -> bytes:
        """See `Wire.request`."""
        # Called for every block: the usual case is tested here, and functions are called for the others.
        link = self._link
        if link.closed or get_hub_if_exists() is not link.hub:
            link.check_usable()
        protocol = self._protocol
        if wait_unchoked:
            self._conditions.wait_until(lambda: protocol.may_request(piece), None, "not unchoked")
            # It may have unchoked us and broken a rule in the same batch.
            link.check_usable()
        requests = protocol.requests
        if len(requests) >= protocol.request_limit and length <= limits.BLOCK:
            # As a range it is sent when the peer's queue has room.
            buffer = bytearray(length)
            self.read_into(piece, offset, buffer, timeout)
            return bytes(buffer)
        wait = BlockWait(link.hub)
        wait.timeout = seconds = self.timeout if timeout is None else _checked(timeout)
        wait.deadline = deadline = monotonic() + seconds
        if (piece, offset, length) in requests or deadline < link.timer.at:
            self._send_or_share(piece, offset, length, wait)
        else:
            protocol.send_request(piece, offset, length, wait)
        link.transport.flush_soon()
        flow = link.flow
        try:
            block: bytes = flow.wait(wait) if flow.consumed else wait.get()
            return block
        except BaseException:
            self._abandon(wait)
            raise

    def read_into(self, piece: int, offset: int, buffer: bytearray | memoryview, timeout: float | None) -> None:
        """See `Wire.read_into`."""
        link = self._link
        link.check_usable()
        view = memoryview(buffer).cast("B")
        if view.readonly:
            raise TypeError(f"cannot read piece {piece} into {buffer!r}: a writable buffer is needed")
        if not len(view):
            return
        # At once, not only when the peer's queue has room.
        self._protocol.check_request(piece, offset, len(view))
        seconds = self.timeout if timeout is None else _checked(timeout)
        wait = RangeWait(link.hub, piece, offset, view, seconds, monotonic() + seconds)
        self.ranges.append(wait)
        self._fill_soon()
        link.timer.arm_by(wait.deadline)
        try:
            link.flow.wait(wait.waiter)
        except BaseException:
            wait.done = True
            self._abandon(wait)
            raise

    def cancel(self, piece: int, offset: int, length: int) -> None:
        """See `Wire.cancel`."""
        self._link.check_usable()
        token = self._protocol.send_cancel(piece, offset, length)
        if token is None:
            return
        wakeups: Wakeups = []
        error = RequestCancelled(f"the request for {_block(piece, offset, length)} was cancelled")
        for wait in waits_of(token):
            wait.fail((piece, offset, length), error, wakeups)
        self._wake_soon(wakeups)
        self._fill_soon()

    def lose_piece(self, piece: int) -> bool:
        """See `Wire.forget_piece`."""
        self._link.check_thread()
        had = piece in self._protocol.peer_pieces
        wakeups: Wakeups = []
        for _, key, token, error in self._protocol.lose_piece(piece):
            token.fail(key, error, wakeups)
        self._wake_soon(wakeups)
        if had and self.delegate_wait is not None:
            self.delegate_wait.delegate.on_piece_lost(piece)
        return had

    # ------------------------------------------------------------------ the delegate

    def attach(self, delegate: WireDelegate) -> None:
        """See `Wire.attach`."""
        self._link.check_usable()
        self.delegate_wait = DelegateWait(delegate)
        self._protocol.takes_late_blocks = True

    def request_run(self, piece: int, offset: int, length: int) -> None:
        """See `Wire.request_run`."""
        self._link.check_usable()
        assert self.delegate_wait is not None
        send_requests = self._protocol.send_requests
        end = offset + length
        while offset < end:
            after = send_requests(piece, offset, end, limits.REQUESTS, self.delegate_wait)
            offset = after + limits.BLOCK if after == offset else after
        self._link.transport.flush_soon()

    def cancel_all(self) -> None:
        """See `Wire.cancel_all`."""
        if not self._link.closed and self.delegate_wait is not None:
            self._abandon(self.delegate_wait)
            self._protocol.send_cancels_of_given_up()
            self._link.transport.flush_soon()

    def give_up(self, requests: Iterable[RequestKey]) -> None:
        """See `Wire.give_up`."""
        for key in requests:
            self._protocol.give_up_request(*key)

    def give_up_all(self) -> None:
        """See `Wire.give_up_all`."""
        self.give_up([key for key, token in self._protocol.requests.items() if token is self.delegate_wait])

    def on_bytes(self, key: RequestKey, now: float) -> None:
        """A part of a block that was requested has arrived."""
        if self.delegate_wait is not None:
            self.delegate_wait.delegate.on_bytes(now)
        token = self._protocol.requests.get(key)
        if token is not None:
            for wait in waits_of(token):
                if isinstance(wait, RangeWait):
                    wait.on_bytes()

    # ------------------------------------------------------------------ keeping the peer's queue full

    def fill(self, wakeups: Wakeups) -> None:
        """Send requests of the waiting ranges, oldest first, as far as the peer's queue has room."""
        protocol = self._protocol
        limit = protocol.request_limit
        if limit - len(protocol.requests) < limit >> 2:
            # Three quarters keep the peer busy; a quarter at a time costs an eighth of the system calls.
            return
        finished = False
        for wait in self.ranges:
            if wait.next < wait.end and not wait.done:
                try:
                    self._request_range(wait, limit)
                except GeventBTError as error:
                    wait.fail(None, error, wakeups)
            finished = finished or wait.next >= wait.end or wait.done
        if finished:
            self.ranges = [wait for wait in self.ranges if wait.next < wait.end and not wait.done]

    def _request_range(self, wait: RangeWait, limit: int) -> None:
        """Send the next requests of a range, up to the peer's limit; share those that are pending already."""
        protocol = self._protocol
        requests = protocol.requests
        while wait.next < wait.end and len(requests) < limit:
            room = limit - len(requests)
            wait.next = protocol.send_requests(wait.piece, wait.next, wait.end, room, wait)
            length = min(limits.BLOCK, wait.end - wait.next)
            if (wait.piece, wait.next, length) in requests:
                self._send_or_share(wait.piece, wait.next, length, wait)
                wait.next += length
        self._link.timer.arm_by(wait.deadline)

    def _send_or_share(self, piece: int, offset: int, length: int, wait: Wait) -> None:
        """Send a request, or share the one that is pending already."""
        requests = self._protocol.requests
        key = (piece, offset, length)
        if key not in requests:
            self._protocol.send_request(piece, offset, length, wait)
        else:
            pending = requests[key]
            if isinstance(pending, SharedWait):
                pending.waits.append(wait)
            else:
                requests[key] = SharedWait(pending, wait)
        self._link.timer.arm_by(wait.deadline)

    def _abandon(self, wait: Wait) -> list[RequestKey]:
        """Remove a wait, and cancel the requests that nothing else waits for. Returns those that it waited for."""
        protocol = self._protocol
        keys = [key for key, token in protocol.requests.items() if wait in waits_of(token)]
        for key in keys:
            token = protocol.requests[key]
            if isinstance(token, SharedWait):
                token.waits.remove(wait)
            if token is wait or not waits_of(token):
                protocol.send_cancel(*key)
        if wait in self.ranges:
            self.ranges.remove(wait)
        if not self._link.closed:
            self._fill_soon()
        return keys

    def _fill_soon(self) -> None:
        """Send more requests if there is room now, with what else is outgoing."""
        wakeups: Wakeups = []
        if self.ranges:
            self.fill(wakeups)
        self._wake_soon(wakeups)
        if self._protocol.outgoing:
            self._link.transport.flush_soon()

    def _wake_soon(self, wakeups: Wakeups) -> None:
        for wake, value in wakeups:
            self._link.soon(wake, value)

    # ------------------------------------------------------------------ the end of requests

    def _waits(self) -> list[Wait]:
        """All that wait for a block, once each."""
        waits: dict[Wait, None] = dict.fromkeys(self.ranges)
        for token in self._protocol.requests.values():
            waits.update(dict.fromkeys(waits_of(token)))
        return list(waits)

    @property
    def next_deadline(self) -> float:
        """When the first wait is late; infinite if none can be."""
        return min((wait.deadline for wait in self._waits()), default=float("inf"))

    def expire(self, now: float) -> None:
        """Fail what is late."""
        wakeups: Wakeups = []
        late: dict[RequestKey, None] = {}
        for wait in self._waits():
            if wait.is_late(now):
                keys = self._abandon(wait)
                wait.fail(None, RequestTimeout(_late_text(wait, keys)), wakeups)
                late.update(dict.fromkeys(keys))
        for key in late:
            self._publisher.send("timeout", index=key[0], begin=key[1], length=key[2])
        for wake, value in wakeups:
            wake(value)

    def close(self, closed_error: WireClosed) -> None:
        """Fail all requests: the wire is closed."""
        wakeups: Wakeups = []
        pending: list[tuple[RequestKey | None, Token]] = [(None, wait) for wait in self.ranges]
        for key, token in [*self._protocol.requests.items(), *pending]:
            error = WireClosed(*closed_error.args)
            error.__cause__ = closed_error.__cause__
            token.fail(key, error, wakeups)
        self._protocol.requests.clear()
        self.ranges.clear()
        self._wake_soon(wakeups)
        if self.delegate_wait is not None:
            self.delegate_wait.delegate.on_closed()


def _checked(timeout: float) -> float:
    check_seconds(timeout=timeout)
    return timeout


def _block(piece: int, offset: int, length: int) -> str:
    return f"piece {piece}, offset {offset}, length {length}"


def _late_text(wait: Wait, keys: list[RequestKey]) -> str:
    """The text of a `RequestTimeout`."""
    seconds = f"within {wait.timeout:g} s" if isinstance(wait, (BlockWait, RangeWait)) else "in time"
    if isinstance(wait, RangeWait):
        return f"no block of piece {wait.piece} from the peer {seconds}"
    return f"no answer from the peer to the request for {_block(*keys[0])} {seconds}"
