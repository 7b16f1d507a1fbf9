"""A transport as a blocking stream, for the encrypted opening of a connection that we make."""

from __future__ import annotations

from gevent.event import Event

from geventbt.wire.transports.base import SMALL_READ, Transport, TransportDelegate


class BlockingStream(TransportDelegate):
    """The delegate of a transport, with the methods of a socket that an opening needs.

    All that has come is returned at once, and what is sent is written at once. Nothing is kept: the next delegate
    begins where this one ends.

    Args:
        transport: which begins to be read.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._received = bytearray()
        self._news = Event()
        self._is_over = False
        self._error: Exception | None = None
        self._timeout: float | None = None
        transport.attach(self)

    def settimeout(self, seconds: float) -> None:
        """Let `recv` block for as long at most."""
        self._timeout = seconds

    def sendall(self, data: bytes) -> None:
        """Send bytes; never blocks."""
        self._transport.write(data)

    def recv(self, size: int) -> bytes:
        """Block for the next bytes; b"" at the end of the stream.

        Raises:
            TimeoutError: none came in time.
            OSError: the connection broke.
        """
        if not self._received and not self._is_over:
            self._news.clear()
            self._news.wait(self._timeout)
        if self._received:
            data = bytes(self._received)
            self._received.clear()
            return data
        if self._error is not None:
            raise self._error
        if not self._is_over:
            raise TimeoutError("nothing came in time")
        return b""

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    def on_data(self, data: memoryview) -> int:
        """Keep bytes until `recv`."""
        self._received += data
        self._news.set()
        return SMALL_READ

    def on_end(self, error: Exception | None) -> None:
        """End the stream."""
        self._is_over = True
        self._error = error
        self._news.set()
