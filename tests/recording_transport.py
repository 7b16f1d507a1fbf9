"""A transport in memory: what a wire writes is recorded, and what the peer sends is called in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gevent

from geventbt.net.tcp_path import TcpPath
from geventbt.protocol.messages import Buffer
from geventbt.wire.transports.base import Cipher, TransportDelegate


class RecordingTransport:
    """A `Transport` without a socket.

    Args:
        soon: calls a function in the next turn of the loop: by default of gevent's, in virtual time of a clock.
        on_written: called with what has been written, or None.

    Attributes:
        buffers: what has been written, in order, buffer by buffer.
        stalled: whether the peer reads nothing; what is written is then queued.
        read_sizes: what the delegate answered to each `receive`.
        closed: whether the wire has closed it.
    """

    def __init__(
        self,
        soon: Callable[[Callable[[], None]], Any] | None = None,
        on_written: Callable[[bytes], None] | None = None,
    ) -> None:
        self.name = "tcp"
        self.remote_address = ("192.0.2.1", 6881)
        self.local_address = ("192.0.2.2", 40000)
        self.queued = 0
        self.queue_time: float | None = None
        self.tcp_path: TcpPath | None = None
        self.buffers: list[Buffer] = []
        self.read_sizes: list[int] = []
        self.stalled = False
        self.closed = False
        self._soon = soon or gevent.get_hub().loop.run_callback
        self._on_written = on_written
        self._delegate: TransportDelegate | None = None
        self._pauses = 0
        self._flush_due = False

    # ------------------------------------------------------------------ the peer's side

    @property
    def sent(self) -> bytes:
        """All that has been written."""
        return b"".join(bytes(buffer) for buffer in self.buffers)

    def receive(self, *messages: bytes) -> None:
        """Have the wire receive bytes, each argument in a read of its own."""
        for message in messages:
            self._in_hub(partial(self.give, message))

    def end(self, error: Exception | None = None) -> None:
        """Have the peer close the connection, or the transport fail."""
        self._in_hub(lambda: self.lose(error))

    def drain(self) -> None:
        """Have the peer read everything that is queued, and go on reading."""
        assert self._delegate is not None
        self.stalled = False
        self.queued = 0
        self._in_hub(self._delegate.on_drained)

    def give(self, message: bytes) -> None:
        """Have bytes arrive now; to be called in the hub."""
        assert self._delegate is not None
        if not self.closed:
            self.read_sizes.append(self._delegate.on_data(memoryview(message)))
            self.flush()

    def lose(self, error: Exception | None) -> None:
        """Have the connection end now; to be called in the hub."""
        assert self._delegate is not None
        self._delegate.on_end(error)

    def _in_hub(self, function: Callable[[], Any]) -> None:
        gevent.get_hub().loop.run_callback(function)
        gevent.sleep(0)

    # ------------------------------------------------------------------ the wire's side: see `Transport`

    @property
    def paused(self) -> bool:
        return self._pauses > 0

    @property
    def released(self) -> bool:
        return self.closed

    def attach(self, delegate: TransportDelegate) -> None:
        self._delegate = delegate

    def write(self, data: bytes) -> None:
        self._record([data])

    def flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self._soon(self.flush)

    def flush(self) -> None:
        self._flush_due = False
        if self._delegate is not None and not self.closed:
            self._record(self._delegate.take_outgoing())

    def _record(self, buffers: list[Buffer]) -> None:
        self.buffers += buffers
        if self._on_written is not None and buffers:
            self._on_written(b"".join(map(bytes, buffers)))
        if self.stalled:
            self.queued += sum(map(len, buffers))

    def pause(self) -> None:
        self._pauses += 1

    def resume(self) -> None:
        self._pauses -= 1

    def encrypt(self, encryptor: Cipher, decryptor: Cipher) -> None:
        raise NotImplementedError

    def close(self, linger: bool = False) -> None:
        self.closed = True
        self.queued = 0
        if self._delegate is not None:
            self._delegate.on_released()
