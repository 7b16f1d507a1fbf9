"""The seeding half of a wire: the peer's requests, their answers, and back-pressure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TypeAlias

from geventbt import limits
from geventbt.concurrency.dispatch import log_failure
from geventbt.errors import LocalProtocolError, WireClosed
from geventbt.handlers import check_handler
from geventbt.protocol.connection import RequestKey
from geventbt.protocol.fast import allowed_fast_set
from geventbt.protocol.messages import Buffer
from geventbt.wire.conditions import Conditions
from geventbt.wire.link import Link
from geventbt.wire.publisher import Publisher
from geventbt.wire.requests import Request

ReadBlock: TypeAlias = Callable[[int, int, int], Buffer]
"""From piece, offset and length to that block."""
ReadBlocks: TypeAlias = Callable[[Sequence[RequestKey]], Sequence["Buffer | Exception"]]
"""From requests to the blocks for the first of them, or the errors for which they are refused."""


class Serving:
    """Answers the peer's requests.

    Args:
        link, conditions, publisher: of the wire.

    Attributes:
        unflushed: bytes of blocks in the protocol's `outgoing`.
    """

    __slots__ = ("_conditions", "_link", "_protocol", "_publisher", "unflushed")

    def __init__(self, link: Link, conditions: Conditions, publisher: Publisher) -> None:
        self._link = link
        self._protocol = link.protocol
        self._conditions = conditions
        self._publisher = publisher
        self.unflushed = 0

    def wait_drained(self, timeout: float | None = None) -> None:
        """See `Wire.wait_drained`."""
        self._link.check_thread()
        self._wait_below(limits.HIGH_WATER, timeout)

    def _wait_below(self, most: int, timeout: float | None = None) -> None:
        link = self._link
        transport = link.transport
        if transport.queued > most:
            low = most // 2
            self._conditions.wait_until(lambda: transport.queued <= low, timeout, "the send queue not drained")
            # A closed wire has nothing queued either.
            link.check_usable()

    def incoming_requests(self) -> Iterator[Request]:
        """See `Wire.incoming_requests`."""
        unanswered = self._protocol.unanswered_requests
        while True:
            if not unanswered:
                try:
                    self._wait_for_request()
                except WireClosed:
                    return
            # Another greenlet may have been quicker.
            if unanswered:
                yield Request(*unanswered.popitem(last=False)[0])

    def serve(self, read_block: ReadBlock) -> None:
        """See `Wire.serve`."""
        check_handler(read_block, "what answers requests")
        logged: set[type[Exception]] = set()
        unanswered = self._protocol.unanswered_requests
        with suppress(WireClosed):
            while True:
                if not unanswered:
                    self._wait_for_request()
                while unanswered:
                    error = self._answer(unanswered.popitem(last=False)[0], read_block)
                    # Once each: the peer decides how often it asks.
                    if error is not None and type(error) not in logged:
                        logged.add(type(error))
                        log_failure(read_block, error)

    def _wait_for_request(self) -> None:
        unanswered = self._protocol.unanswered_requests
        self._conditions.wait_until(lambda: bool(unanswered), None, "no request")

    def serve_pending(self, read_blocks: ReadBlocks, speed: Callable[[], float]) -> None:
        """See `Wire.serve_pending`.

        Args:
            read_blocks: see there.
            speed: returns the bytes a second that the peer has been sent lately.
        """
        check_handler(read_blocks, "what answers requests")
        unanswered = self._protocol.unanswered_requests
        send = self._protocol.send_block
        link = self._link
        with suppress(WireClosed):
            while unanswered and not link.closed:
                batch_size = int(min(limits.HIGH_WATER, max(limits.LOW_OUTPUT, speed() * limits.OUTPUT_TIME)))
                self._wait_below(batch_size)
                batch = self._oldest_requests(batch_size)
                if not batch:
                    # We choked the peer meanwhile, or it has cancelled everything.
                    return
                for key, block in zip(batch, read_blocks(batch), strict=False):
                    if link.closed:
                        return
                    if isinstance(block, Exception):
                        self._refuse(key, block)
                    else:
                        send(key, block)
                link.transport.flush()
                self._yield_turn()

    def _oldest_requests(self, most: int) -> list[RequestKey]:
        """The oldest unanswered requests, up to a number of bytes."""
        batch: list[RequestKey] = []
        size = 0
        for key in self._protocol.unanswered_requests:
            batch.append(key)
            size += key[2]
            if size >= most:
                break
        return batch

    def respond_to(self, key: RequestKey) -> Callable[[Buffer | Exception], None]:
        """The function by which a handler of the signal `request` answers."""
        answered = False

        def respond(answer: Buffer | Exception) -> None:
            """Answer the request with its block, or refuse it with an error. Once only.

            An answer that is not a block of the right length is an error too, as in `serve`.
            """
            nonlocal answered
            if answered:
                raise LocalProtocolError(
                    "the request for piece {}, offset {}, length {} is answered already".format(*key)
                )
            answered = True
            if isinstance(answer, Exception):
                self._refuse(key, answer)
            else:
                self._link.check_usable()
                error = self._answer(key, lambda piece, offset, length: answer)
                if error is not None:
                    log_failure(respond, error)

        return respond

    def _answer(self, key: RequestKey, read_block: ReadBlock) -> Exception | None:
        """Answer a request with the block that is read for it, or refuse it when reading fails. Returns that error."""
        try:
            block = frozen(read_block(*key))
            if len(block) != key[2]:
                raise ValueError(
                    "read_block returned {} bytes for piece {}, offset {}, length {}".format(len(block), *key)
                )
        except Exception as error:
            self._refuse(key, error)
            return error
        self._send_block(key, block)
        return None

    def _refuse(self, key: RequestKey, error: Exception) -> None:
        """Report an error, and reject the request if both sides have rejects (BEP 6)."""
        self._publisher.send("error", error=error)
        if not self._link.closed:
            self._link.send(self._protocol.drop_request, *key)

    def grant_allowed_fast(self) -> list[int]:
        """See `Wire.grant_allowed_fast`."""
        protocol = self._protocol
        handshake = protocol.handshake_sent or protocol.handshake_received
        pieces = protocol.peer_pieces.count
        if handshake is None or pieces is None:
            raise LocalProtocolError("cannot compute the allowed-fast set before the handshake and without `geometry`")
        granted = allowed_fast_set(self._link.transport.remote_address[0], handshake.info_hash, pieces)
        for piece in granted:
            self._link.send(protocol.send_allowed_fast, piece)
        return granted

    def send_piece(self, piece: int, offset: int, block: Buffer) -> bool:
        """See `Wire.piece`."""
        self._link.check_usable()
        block = frozen(block)
        return self._send_block((piece, offset, len(block)), block)

    def _send_block(self, key: RequestKey, block: Buffer) -> bool:
        """Send a frozen block; wait while too much is queued, and let other greenlets run now and then."""
        transport = self._link.transport
        while transport.queued > limits.HIGH_WATER:
            # All waiting greenlets are woken together, and those before this one may have filled the queue again.
            self.wait_drained()
        if not self._protocol.send_block(key, block):
            return False
        if not self.unflushed:
            transport.flush_soon()
        self.unflushed += key[2]
        if self.unflushed >= limits.HIGH_WATER:
            transport.flush()
            self._yield_turn()
        return True

    def _yield_turn(self) -> None:
        """Let the others run, also while the peer is as fast as we are.

        By a timer, because the loop polls the sockets before it: `sleep(0)` and `run_callback` return up to ten times
        before that. *Measured*: a small request beside a transfer waited for up to 63 ms, now for up to 20.
        """
        hub = self._link.hub
        with hub.loop.timer(0) as turn:
            hub.wait(turn)


def frozen(block: Buffer) -> Buffer:
    """The same bytes in a buffer that cannot change, and whose length is in bytes.

    A read-only buffer is used as it is, a writable one copied.
    """
    if type(block) is bytes:
        return block
    view = block if type(block) is memoryview else memoryview(block)
    if not (view.readonly and view.c_contiguous):
        return view.tobytes()
    return view if view.itemsize == 1 else view.cast("B")
