"""The body of an answer, read into the caller's buffers, however it is framed (RFC 9112, 6 and 7)."""

from __future__ import annotations

from typing import Protocol

from geventbt import limits
from geventbt.errors import FetchError
from geventbt.net.http.head import Head, parse_chunk_size
from geventbt.net.http.stream import Stream


class Body(Protocol):
    """A body that is read once, from its beginning to its end."""

    @property
    def is_complete(self) -> bool:
        """Whether all of it has been read."""

    def read_into(self, buffer: memoryview) -> int:
        """Read at least one byte into a buffer that is not empty; return how many there are, 0 at the end.

        Raises:
            FetchError: the body is cut off, or its framing is broken; the connection is closed.
        """


def body_of(stream: Stream, head: Head) -> Body:
    """The body behind a head."""
    if head.is_chunked:
        return ChunkedBody(stream)
    return OpenBody(stream) if head.length is None else FixedBody(stream, head.length)


class FixedBody:
    """A body whose length is known."""

    def __init__(self, stream: Stream, length: int) -> None:
        self._stream = stream
        self._length = self._left = length

    @property
    def is_complete(self) -> bool:
        return not self._left

    def read_into(self, buffer: memoryview) -> int:
        if not self._left:
            return 0
        count = self._stream.read_into(buffer if len(buffer) <= self._left else buffer[: self._left])
        self._left -= count
        if not count:
            raise self._stream.failure(
                f"the answer is cut off after {self._length - self._left} of {self._length} bytes"
            )
        return count


class OpenBody:
    """A body that ends with the connection."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.is_complete = False

    def read_into(self, buffer: memoryview) -> int:
        if self.is_complete:
            return 0
        count = self._stream.read_into(buffer)
        self.is_complete = not count
        return count


class ChunkedBody:
    """A body in chunks, each behind a line with its length. The trailer is read and left out.

    The lines may be more bytes than the data by `limits.HTTP_OVERHEAD`, as any number of them may come.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._left = 0
        self._is_first = True
        self._overhead_left = limits.HTTP_OVERHEAD
        self.is_complete = False

    def read_into(self, buffer: memoryview) -> int:
        if not self._left and not self.is_complete:
            # Bytes that drip in would hold it up for ever, each of them in time.
            with self._stream.deadline("no next chunk"):
                self._begin_chunk()
        if self.is_complete:
            return 0
        count = self._stream.read_into(buffer if len(buffer) <= self._left else buffer[: self._left])
        if not count:
            raise self._stream.failure("the answer is cut off within a chunk")
        self._left -= count
        self._overhead_left += count
        return count

    def _begin_chunk(self) -> None:
        if not self._is_first and self._line():
            raise self._stream.failure("a chunk of the answer is longer than it says")
        self._is_first = False
        try:
            self._left = parse_chunk_size(self._line())
        except FetchError as error:
            raise self._stream.failure(str(error)) from None
        if not self._left:
            while self._line():
                pass
            self.is_complete = True

    def _line(self) -> bytes:
        line = self._stream.read_line()
        self._overhead_left -= len(line) + len(b"\r\n")
        if self._overhead_left < 0:
            raise self._stream.failure("the chunks of the answer have more lines than data")
        return line
