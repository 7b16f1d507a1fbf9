"""Asking for blocks."""

from __future__ import annotations

from time import monotonic

from gevent import get_hub

from geventbt import limits
from geventbt.errors import RequestCancelled
from geventbt.wire.requests import BlockWait, RangeWait, Wakeups, WireDelegate, waits_of
from geventbt.wire.sends import WireSends


class WireDownloads(WireSends):
    """The downloading half of a wire: one block, or any range, for the greenlet that asks."""

    __slots__ = ()

    def request(
        self, piece: int, offset: int, length: int, *, timeout: float | None = None, wait_unchoked: bool = False
    ) -> bytes:
        """Ask for a block, and block until it is there (BEP 3). Any number of greenlets may do so at once.

        Args:
            piece, offset, length: the block, at most 16 KiB.
            timeout: seconds for it to arrive; None for what `set_timeout` says.
            wait_unchoked: wait, as long as it takes, while the peer chokes us.

        Returns:
            The block, which is not verified.

        Raises:
            PeerChoking: the peer chokes us, and the piece is not in its allowed-fast set; or it did so before the
                block came.
            RequestRejected: the peer refused (BEP 6).
            RequestTimeout: the block did not come in time. The wire goes on.
            RequestCancelled: another greenlet called `cancel`.
            PieceNotAvailable: the peer does not have the piece.
            LocalProtocolError: there is no such block.
            WireClosed: the wire is closed.
        """
        # Called for every block, so what is usual is looked at here, and functions are called for what is not.
        if self._closed or get_hub() is not self._hub:
            self._check_usable()
        if wait_unchoked:
            self._wait_until(lambda: self._protocol.may_request(piece), None)
            # It may have unchoked us and broken a rule in one breath.
            self._check_usable()
        protocol = self._protocol
        requests = protocol.requests
        if len(requests) >= protocol.request_limit and length <= limits.BLOCK:
            # Its turn comes when the peer's queue has room.
            return bytes(self.read(piece, offset, length, timeout=timeout))
        wait = BlockWait(self._hub)
        wait.deadline = deadline = monotonic() + (self._request_timeout if timeout is None else timeout)
        if (piece, offset, length) in requests or deadline < self._timer_at:
            self._request(piece, offset, length, wait)
        else:
            protocol.send_request(piece, offset, length, wait)
        self._transport.flush_soon()
        try:
            return self._flow.wait(wait) if self._flow.taken else wait.get()
        except BaseException:
            self._abandon(wait)
            raise

    def read(self, piece: int, offset: int, length: int, *, timeout: float | None = None) -> bytearray:
        """Read any range of a piece: requested in blocks of 16 KiB, as many at once as the peer takes.

        Raises as `request`.

        Returns:
            `length` bytes, which are not verified.
        """
        buffer = bytearray(length)
        self.read_into(piece, offset, buffer, timeout=timeout)
        return buffer

    def read_into(
        self, piece: int, offset: int, buffer: bytearray | memoryview, *, timeout: float | None = None
    ) -> None:
        """Read a range of a piece, as long as `buffer`, into it.

        Raises as `request`; then the buffer's content is undefined.

        Args:
            piece, offset: where the range starts.
            buffer: a writable, contiguous buffer. It must not change its size meanwhile.
            timeout: seconds without any block before it gives up; None for what `set_timeout` says.

        Raises:
            TypeError: the buffer is none, or cannot be written into.
        """
        self._check_usable()
        view = memoryview(buffer).cast("B")
        if view.readonly:
            raise TypeError("a writable buffer is needed")
        if not len(view):
            return
        # At once, not only when the peer's queue has room.
        self._protocol.check_request(piece, offset, len(view))
        seconds = self._request_timeout if timeout is None else timeout
        wait = RangeWait(self._hub, piece, offset, view, seconds, monotonic() + seconds)
        self._ranges.append(wait)
        self._ask_soon()
        if wait.deadline < self._timer_at:
            self._arm(wait.deadline)
        try:
            self._flow.wait(wait.waiter)
        except BaseException:
            wait.done = True
            self._abandon(wait)
            raise

    def cancel(self, piece: int, offset: int, length: int) -> None:
        """Cancel a pending request: whoever waits for it gets `RequestCancelled` (BEP 3).

        Does nothing if it is not pending.
        """
        self._check_usable()
        token = self._protocol.send_cancel(piece, offset, length)
        if token is None:
            return
        wakeups: Wakeups = []
        for wait in waits_of(token):
            wait.fail((piece, offset, length), RequestCancelled("the request was cancelled"), wakeups)
        for wake, value in wakeups:
            self._soon(wake, value)
        self._ask_soon()

    def forget_piece(self, piece: int) -> bool:
        """Note that the peer no longer has a piece (BEP 54): our requests for it fail with `PieceNotAvailable`.

        Returns:
            Whether the peer had it.
        """
        self._check_thread()
        had = piece in self._protocol.peer_pieces
        wakeups: Wakeups = []
        for _, key, token, error in self._protocol.lose_piece(piece):
            token.fail(key, error, wakeups)
        for wake, value in wakeups:
            self._soon(wake, value)
        if had and self._feed is not None:
            self._feed.on_piece_lost(piece)
        return had

    # ------------------------------------------------------------------ for a client with many wires

    def attach(self, feed: WireDelegate) -> None:
        """Have a feed follow this wire: it is told of everything at once, in the hub, without a greenlet between."""
        self._check_usable()
        self._feed = feed

    def request_run(self, piece: int, offset: int, length: int) -> None:
        """Request a range in blocks of 16 KiB for the feed, and wait for nothing. What is pending already is left out.

        Raises as `request`, before anything is sent.
        """
        self._check_usable()
        assert self._feed is not None
        end = offset + length
        while offset < end:
            after = self._protocol.send_requests(piece, offset, end, limits.REQUESTS, self._feed)
            offset = after + limits.BLOCK if after == offset else after
        self._sent()

    def cancel_all(self) -> None:
        """Cancel everything that was requested for the feed; it is not told so."""
        if not self._closed and self._feed is not None:
            self._abandon(self._feed)

    def set_timeout(self, seconds: float) -> None:
        """Set the default time for a request to be answered, in seconds."""
        if not seconds > 0:
            raise ValueError(f"a timeout of {seconds} seconds: must be more than 0")
        self._request_timeout = seconds

    def set_keep_alive(self, on: bool) -> None:
        """Switch the keep-alive on or off that is sent after 100 seconds of our silence. It is on at first."""
        self._check_usable()
        self._keep_alive = on
        self._arm(self._next_due())
