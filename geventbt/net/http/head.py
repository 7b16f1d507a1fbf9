"""The head of an HTTP/1.1 answer: its status, its headers, and how its body is framed (RFC 9110, 9112). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from geventbt import limits
from geventbt.errors import FetchError
from geventbt.net.text import clean_text

_STATUS_LINE = re.compile(r"HTTP/1\.([0-9]) +([1-9][0-9]{2})(?: +(.*))?")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FOLD = re.compile(r"\n[ \t]+")
"""A line that begins with a blank continues the one before it (RFC 9112, 5.2)."""
_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")
_CONTENT_RANGE = re.compile(r"bytes +([0-9]{1,18})-([0-9]{1,18})/(?:([0-9]{1,18})|\*)", re.IGNORECASE)
_NO_BODY = (204, 304)


class Headers(Mapping[str, str]):
    """Headers by name, in any case. The values of a header that comes several times are joined by commas.

    Args:
        items: names and values.
    """

    __slots__ = ("_values",)

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, str] = {}
        for name, value in items:
            key = name.lower()
            self._values[key] = f"{self._values[key]}, {value}" if key in self._values else value

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Headers({list(self._values.items())!r})"

    def words(self, name: str) -> list[str]:
        """The values of a header that is a list, in lower case."""
        parts = self.get(name, "").lower().split(",")
        return [part.strip() for part in parts if part.strip()]


class Head(NamedTuple):
    """The head of an answer.

    Attributes:
        minor_version: 1 for HTTP/1.1.
        status: such as 200.
        reason: the reason phrase; untrusted text.
        headers: the headers; untrusted text, with each byte outside ASCII as one character.
        is_chunked: whether the body comes in chunks.
        length: bytes of the body; None where only its end tells.
        keeps_alive: whether another request may follow on the connection.
    """

    minor_version: int
    status: int
    reason: str
    headers: Headers
    is_chunked: bool
    length: int | None
    keeps_alive: bool


def parse_head(data: bytes) -> Head:
    """Read the head of an answer.

    ::

        HTTP/1.1 206 Partial Content
        Content-Length: 16384

    Args:
        data: from the status line to the empty line; lines end with CR LF, or LF alone.

    Raises:
        FetchError: it is not one, or the length of its body cannot be determined.
    """
    # No value may have a NUL or a CR that ends no line (RFC 9110, 5.5).
    text = data.decode("latin-1").replace("\r\n", "\n").replace("\r", " ").replace("\0", " ")
    first, *lines = _FOLD.sub(" ", text).rstrip("\n").split("\n")
    match = _STATUS_LINE.fullmatch(first)
    if not match:
        raise FetchError(f"not an answer of HTTP/1: {clean_text(first.strip())[:100]!r}")
    if len(lines) > limits.HTTP_HEADERS:
        raise FetchError(f"an answer with more than {limits.HTTP_HEADERS} headers")
    headers = Headers(map(_parse_header, lines))
    minor_version, status = int(match[1]), int(match[2])
    length = 0 if status < 200 or status in _NO_BODY else _length(headers)
    is_chunked = length is None and "transfer-encoding" in headers
    return Head(
        minor_version,
        status,
        (match[3] or "").strip(),
        headers,
        is_chunked,
        length,
        _keeps_alive(minor_version, headers, is_ended=is_chunked or length is not None),
    )


def _parse_header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not _NAME.fullmatch(name):
        raise FetchError(f"not a header: {clean_text(line.strip())[:100]!r}")
    return name, value.strip()


def _length(headers: Headers) -> int | None:
    """The length of a body (RFC 9112, 6.3); None for one in chunks, or that ends with the connection."""
    encodings = headers.words("transfer-encoding")
    if encodings:
        if encodings != ["chunked"]:
            raise FetchError(f"a body with the transfer encoding {clean_text(', '.join(encodings))!r}: not supported")
        return None
    lengths = set(headers.words("content-length"))
    if not lengths:
        return None
    if len(lengths) > 1 or not _LENGTH.fullmatch(text := lengths.pop()):
        raise FetchError(f"not a length of a body: {clean_text(headers['content-length'])!r}")
    return int(text)


def _keeps_alive(minor_version: int, headers: Headers, *, is_ended: bool) -> bool:
    words = headers.words("connection")
    # A server that frames a body twice is not to be trusted with where the next answer begins (RFC 9112, 6.1).
    is_ambiguous = "transfer-encoding" in headers and ("content-length" in headers or not minor_version)
    is_wanted = "close" not in words and (minor_version >= 1 or "keep-alive" in words)
    return is_wanted and is_ended and not is_ambiguous


def parse_chunk_size(line: bytes) -> int:
    """The length of the chunk that a line announces: hexadecimal, with extensions that are ignored (RFC 9112, 7.1).

    Raises:
        FetchError: it is not such a line.
    """
    match = _CHUNK_SIZE.fullmatch(line)
    if not match:
        raise FetchError(f"not the length of a chunk: {clean_text(line[:40])!r}")
    return int(match[1], 16)


class ContentRange(NamedTuple):
    """The part of a file that an answer has (RFC 9110, 14.4).

    Attributes:
        start: its first byte.
        end: the byte behind its last.
        total: bytes of the whole file, or None if the server does not say.
    """

    start: int
    end: int
    total: int | None


def content_range(headers: Headers) -> ContentRange | None:
    """The one range that an answer has; None if it has none, or several, or does not make sense."""
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    if not match:
        return None
    found = ContentRange(int(match[1]), int(match[2]) + 1, int(match[3]) if match[3] else None)
    is_valid = found.start < found.end and (found.total is None or found.end <= found.total)
    return found if is_valid else None


def retry_after(headers: Headers, now: float) -> float | None:
    """The seconds after which a server wants to be asked again, which it gives as such or as a date (RFC 9110, 10.2.3).

    Args:
        headers: of the answer.
        now: seconds since 1970.

    Returns:
        At least 0; None if it does not say.
    """
    text = headers.get("retry-after", "")
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    # Only now: much comes with it, and few servers say when to come back.
    from datetime import timezone
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text)
        # A date in the form of `asctime` names no zone, and is in GMT, too (RFC 9110, 5.6.7).
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
        return max(0.0, moment.timestamp() - now)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
