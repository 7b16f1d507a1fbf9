"""The bytes of a torrent's stream as a web seed sends them: one request for each file that a range has bytes of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus

from geventbt import limits
from geventbt.client.swarm.web_seed_parts import Part, Parts
from geventbt.client.swarm.web_seed_policy import is_absent
from geventbt.errors import FetchError
from geventbt.net.http.client import HTTPClient
from geventbt.net.http.connection import Response
from geventbt.net.http.head import content_range
from geventbt.net.text import clean_text

_DELAY_TEXT = 64
"""Bytes of the body of a server that is busy."""


class FileUnusable(FetchError):
    """A web seed does not have a file, or has another version of it.

    Attributes:
        file: the index of the file.
    """

    def __init__(self, file: int, error: FetchError) -> None:
        super().__init__(str(error), status=error.status)
        self.file = file


class RangesUnsupported(FetchError):
    """A server sends whole files only, and this one from too far before what was asked for."""


class WebSeedReader:
    """Reads ranges of a torrent's stream over connections that are kept, for one greenlet.

    Args:
        client: sends the requests.
        parts: what is to be asked for.

    Attributes:
        position: in the torrent's stream, of the next byte; -1 before the first range.
        skipped: bytes that came and were of no use.
        skips: whether to read and throw away what a server sends before a range, however much it is.
    """

    def __init__(self, client: HTTPClient, parts: Parts) -> None:
        self._client = client
        self._source = parts
        self._parts: Iterator[Part] = iter(())
        self._end = 0
        self._goes_on = False
        self._left = 0
        self._opens_ahead_at = -1
        self._is_padding = False
        self._response: Response | None = None
        self._response_url: str | None = None
        self._response_at = 0
        self._is_whole = False
        self.position = -1
        self.skipped = 0
        self.skips = False

    @property
    def has_more(self) -> bool:
        """Whether the server goes on sending what is behind the last range, because it sends the whole file."""
        return self._response is not None and not self._response.is_complete and self._is_whole

    def open(self, position: int, length: int, *, goes_on: bool = False) -> None:
        """Read another range from now on. Nothing is asked for before it is read.

        Args:
            position: where it begins in the torrent's stream.
            length: its bytes.
            goes_on: whether another one is likely to follow.
        """
        self._parts = self._source.parts(position, length)
        self._end, self._goes_on = position + length, goes_on
        self._left = 0
        self.position = position

    def read_into(self, buffer: memoryview) -> int:
        """Receive a part of the range straight into a buffer: at least one byte.

        Raises:
            FileUnusable: the server does not have the file, or has another version of it.
            RangesUnsupported: it sends the whole file, and `skips` is not set.
            FetchError: anything else that is wrong with the server, its answer, or the connection.
        """
        try:
            if not self._left:
                self._begin(next(self._parts))
            if self._left <= self._opens_ahead_at:
                self._opens_ahead_at = -1
                self._client.open_ahead()
            view = buffer if len(buffer) <= self._left else buffer[: self._left]
            count = self._fill_with_zeros(view) if self._is_padding else self._receive(view)
        except FetchError:
            self._response = None
            raise
        self._left -= count
        self.position += count
        return count

    def end(self, max_skipped: int) -> None:
        """Read no more of the range. What comes behind it, of a whole file, is kept for the next range.

        Args:
            max_skipped: bytes that are read and thrown away to keep the connection; if more is to come, it is closed.
        """
        self._left = 0
        if not self._is_whole:
            self._drop(max_skipped)

    def close(self) -> None:
        """Close the connections. It may be called by another greenlet, whose one that reads gets a FetchError."""
        self._response = None
        self._client.close()

    # ------------------------------------------------------------------ inside

    def _fill_with_zeros(self, view: memoryview) -> int:
        view[:] = bytes(len(view))
        return len(view)

    def _receive(self, view: memoryview) -> int:
        assert self._response is not None
        count = self._response.read_into(view)
        if not count:
            raise self._response.failure("the answer ends before the range that was asked for")
        self._response_at += count
        return count

    def _begin(self, part: Part) -> None:
        """Ask for a part, unless the server is sending it already, and read up to its first byte."""
        self._left, self._is_padding = part.length, part.url is None
        if self._is_padding:
            return
        if not self._is_underway(part):
            self._drop(limits.WEB_SEED_PREFIX)
            self._ask(part)
        self._skip(part.start - self._response_at)

    def _is_underway(self, part: Part) -> bool:
        return (
            self.has_more
            and self._response_url == part.url
            and 0 <= part.start - self._response_at <= (part.total if self.skips else limits.WEB_SEED_PREFIX)
        )

    def _ask(self, part: Part) -> None:
        assert part.url is not None
        asked = (part.start, part.start + part.length) if part.is_range else None
        response = self._client.get(part.url, range=asked)
        try:
            self._response_at = self._checked(part, response)
        except FetchError:
            response.discard(limits.WEB_SEED_PREFIX)
            raise
        self._response, self._response_url = response, part.url
        self._is_whole = response.status == HTTPStatus.OK and part.is_range
        is_followed = self._goes_on or self.position + part.length < self._end
        is_due = is_followed and not self._is_whole
        self._opens_ahead_at = max(limits.WEB_SEED_AHEAD, part.length // 4) if is_due else -1

    def _checked(self, part: Part, response: Response) -> int:
        """Where in the file an answer begins."""
        if is_absent(response.status):
            raise FileUnusable(part.file, response.error())
        if response.headers.words("content-encoding") not in ([], ["identity"]):
            raise FetchError(f"the answer has the encoding {clean_text(response.headers['content-encoding'])!r}")
        if not part.is_range:
            return self._checked_part(part, response)
        if response.status == HTTPStatus.OK:
            return self._checked_whole(part, response)
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            raise response.error()
        found = content_range(response.headers)
        if found is None:
            raise FetchError("the answer does not say which range it has, or has several")
        if found.total not in (None, part.total):
            raise FileUnusable(part.file, _other_version(part, found.total))
        if (found.start, found.end) != (part.start, part.start + part.length):
            raise FetchError(
                f"the answer has bytes {found.start} to {found.end}, not {part.start} to {part.start + part.length}"
            )
        if response.length not in (None, part.length):
            raise FetchError(f"the answer has {response.length} bytes, not the {part.length} that were asked for")
        return part.start

    def _checked_whole(self, part: Part, response: Response) -> int:
        if response.length not in (None, part.total):
            raise FileUnusable(part.file, _other_version(part, response.length))
        if part.start > limits.WEB_SEED_PREFIX and not self.skips:
            raise RangesUnsupported("the server sends whole files, not ranges")
        return 0

    def _checked_part(self, part: Part, response: Response) -> int:
        if response.status != HTTPStatus.OK:
            raise _with_delay(response)
        if response.length not in (None, part.length):
            raise FetchError(f"the answer has {response.length} bytes, not the {part.length} that were asked for")
        return part.start

    def _skip(self, count: int) -> None:
        buffer = memoryview(bytearray(min(count, limits.WEB_SEED_SKIP)))
        while count:
            received = self._receive(buffer[:count])
            count -= received
            self.skipped += received

    def _drop(self, max_skipped: int) -> None:
        response, self._response = self._response, None
        self._is_whole = False
        if response is not None:
            response.discard(max_skipped)


def _other_version(part: Part, total: int | None) -> FetchError:
    return FetchError(f"another version of the file: it has {total} bytes, not {part.total}")


def _with_delay(response: Response) -> FetchError:
    """The error for a server of BEP 17 that is busy: it says in the body for how many seconds."""
    error = response.error()
    if response.status == HTTPStatus.SERVICE_UNAVAILABLE and error.retry_after is None:
        text = response.read(_DELAY_TEXT).strip()
        if re.fullmatch(rb"[0-9]{1,9}", text):
            error.retry_after = float(text)
    return error
