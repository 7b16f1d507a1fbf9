"""The bytes that a server sends, read ahead only where the end of a line is looked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from gevent.socket import timeout as socket_timeout

from geventbt import limits
from geventbt.concurrency.turns import SLICE, let_others_run
from geventbt.errors import FetchError
from geventbt.net.deadline import deadline
from geventbt.net.text import clean_text

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_BEGINNING = b"HTTP/1."
_OVERLAP = 3
"""Bytes of an end of a head that may have come with the last read."""


class Unanswered(FetchError):
    """The connection ended before the first byte of an answer: a server may have closed it while it was idle."""


class Stream:
    """A connected socket: bytes go straight into the caller's buffer, but for heads and lines.

    A server that sends faster than we read would never let the hub run, not even for our own deadline, as gevent only
    waits where there is nothing to read: so reads let others go first every now and then.

    Args:
        sock: the socket.
        host: for messages.
        timeout: seconds for a read.
        on_close: called once, when it is closed.
    """

    def __init__(self, sock: Any, host: str, timeout: float, on_close: Callable[[], object] = lambda: None) -> None:
        sock.settimeout(timeout)
        self._sock = sock
        self._host = host
        self._timeout = timeout
        self._on_close = on_close
        self._buffer = bytearray(limits.HTTP_HEAD)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._began_at = perf_counter()
        self.is_open = True

    @property
    def has_more(self) -> bool:
        """Whether bytes have been read that belong to no answer yet."""
        return self._start < self._end

    def send(self, data: bytes) -> None:
        """Send a request.

        Raises:
            Unanswered: the server does not take it.
        """
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise Unanswered(f"{self._host}: {reason_of(error)}") from None

    def read_head(self) -> bytes:
        """Read up to the first empty line, included.

        Raises:
            Unanswered: the connection ends before the first byte.
            FetchError: it is cut off, longer than `limits.HTTP_HEAD`, or begins as no answer does: another protocol
                might wait for us for ever.
        """
        self._move_to_front()
        searched = 0
        while not (found := _HEAD_END.search(self._buffer, max(0, searched - _OVERLAP), self._end)):
            searched = self._end
            if self._end == len(self._buffer):
                raise self.failure(f"the head of the answer is longer than {limits.HTTP_HEAD} bytes")
            if not self._fill():
                if not self._end:
                    self.close()
                    raise Unanswered(f"{self._host}: the connection was closed without an answer")
                raise self.failure("the answer is cut off")
            if not self._buffer.startswith(_BEGINNING[: self._end]):
                text = clean_text(bytes(self._buffer[: min(self._end, 80)]).strip())
                raise self.failure(f"not an answer of HTTP/1: {text!r}")
        self._start = found.end()
        return bytes(self._buffer[: self._start])

    def read_line(self) -> bytes:
        """Read one line, and return it without its end.

        Raises:
            FetchError: it is cut off, or longer than `limits.HTTP_LINE`.
        """
        while (found := self._buffer.find(b"\n", self._start, self._end)) < 0 and self._has_room_for_line():
            self._move_to_front()
            if not self._fill():
                raise self.failure("the answer is cut off")
        if found < 0 or found - self._start > limits.HTTP_LINE:
            raise self.failure(f"a line is longer than {limits.HTTP_LINE} bytes")
        line = bytes(self._buffer[self._start : found])
        self._start = found + 1
        return line.removesuffix(b"\r")

    def read_into(self, buffer: memoryview) -> int:
        """Read at least one byte into a buffer that is not empty; return how many there are, 0 at the end."""
        if self._start == self._end:
            return self._receive(buffer)
        count = min(len(buffer), self._end - self._start)
        buffer[:count] = self._view[self._start : self._start + count]
        self._start += count
        return count

    @contextmanager
    def deadline(self, what: str) -> Iterator[None]:
        """Limit the time that a block takes by the timeout of reads.

        Args:
            what: what is missing if it takes longer, such as "no answer".

        Raises:
            FetchError: it takes longer. The connection is closed.
        """
        try:
            with deadline(self._timeout, f"{self._host}: {what} within {self._timeout:g} seconds"):
                yield
        except BaseException:
            self.close()
            raise

    def failure(self, text: str) -> FetchError:
        """Close, and return the error for the reason."""
        self.close()
        return FetchError(f"{self._host}: {text}")

    def close(self) -> None:
        """Close the connection. Calling it again does no harm."""
        if self.is_open:
            self.is_open = False
            self._sock.close()
            self._on_close()

    def _has_room_for_line(self) -> bool:
        return self._end - self._start <= limits.HTTP_LINE

    def _move_to_front(self) -> None:
        left = self._end - self._start
        if self._start:
            self._view[:left] = bytes(self._view[self._start : self._end])
        self._start, self._end = 0, left

    def _fill(self) -> int:
        """Read ahead."""
        count = self._receive(self._view[self._end :])
        self._end += count
        return count

    def _receive(self, buffer: memoryview) -> int:
        # What comes in small parts costs the most.
        if perf_counter() - self._began_at > SLICE:
            let_others_run()
            self._began_at = perf_counter()
        try:
            count: int = self._sock.recv_into(buffer)
        except socket_timeout:
            raise self.failure(f"nothing received for {self._timeout:g} seconds") from None
        except ConnectionError as error:
            if not self._end:
                self.close()
                raise Unanswered(f"{self._host}: {reason_of(error)}") from None
            raise self.failure(reason_of(error)) from None
        except OSError as error:
            raise self.failure(reason_of(error)) from None
        return count


def reason_of(error: Exception) -> str:
    """What an error of a socket says, safe to print."""
    return clean_text(str(getattr(error, "strerror", None) or str(error) or type(error).__name__))
