"""Any answer of an HTTP server is a head and a body or a FetchError, however the bytes are split on their way."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from geventbt.errors import FetchError
from geventbt.net.http.body import body_of
from geventbt.net.http.head import content_range, parse_chunk_size, parse_head, retry_after
from geventbt.net.http.stream import Stream
from geventbt.net.http.url import parse_url, redirected, without_login


class Replay:
    """A socket from which bytes are received in pieces of some size."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data = data
        self._size = size

    def recv_into(self, buffer: Any) -> int:
        piece = self._data[: min(self._size, len(buffer))]
        buffer[: len(piece)] = piece
        self._data = self._data[len(piece) :]
        return len(piece)

    def settimeout(self, seconds: float) -> None:
        pass

    def close(self) -> None:
        pass


lines = st.sampled_from(
    [
        b"HTTP/1.1 200 OK", b"HTTP/1.1 302 Found", b"HTTP/1.1 100 Continue", b"Transfer-Encoding: chunked", b"",
        b"Content-Length: 5", b"Content-Length: -1", b"Content-Encoding: gzip", b"Location: /x", b"5", b"0", b"-1",
        b"hello", b"ffffffffffff", b": :", b" folded", b"5;ext=1", b"Connection: close", b"Transfer-Encoding: x",
        b"Content-Range: bytes 0-4/5", b"Retry-After: 5", b"Retry-After: Wed, 21 Oct 2015 07:28:00 GMT",
    ]
) | st.binary(max_size=10)  # fmt: skip
answers = st.binary(max_size=100) | st.lists(lines, max_size=12).map(
    lambda some: b"HTTP/1.1 200 OK\r\n" + b"\r\n".join(some)
)


def check_text(error: FetchError) -> None:
    """See that the text of an error can be printed, whatever the server sent."""
    assert str(error).isprintable()


def outcome(data: bytes, size: int, buffer_size: int) -> Any:
    """The head and body that come of bytes, or that it is an error, and what came of the body before."""
    stream = Stream(Replay(data, size), "host", 10)
    body = bytearray()
    buffer = memoryview(bytearray(buffer_size))
    try:
        head = parse_head(stream.read_head())
        content_range(head.headers)
        retry_after(head.headers, 0.0)
        reader = body_of(stream, head)
        while count := reader.read_into(buffer):
            body += buffer[:count]
    except FetchError as error:
        check_text(error)
        return "error", bytes(body)
    assert reader.is_complete
    return (*head[:3], dict(head.headers), bytes(body))


@given(answers, st.integers(1, 100), st.integers(1, 50))
def test_any_bytes_give_the_same_answer_or_error_however_they_are_split(data: bytes, size: int, buffer_size: int):
    assert outcome(data, size, buffer_size) == outcome(data, 1 << 20, 1 << 20)


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), min_size=1), st.integers(1, 100))
def test_a_body_in_chunks_is_put_together(data: bytes, cuts: list[int], size: int):
    sent = bytearray(b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n")
    rest = data
    for cut in cuts:
        if rest:
            sent += b"%x;a=b\r\n%s\r\n" % (len(rest[:cut]), rest[:cut])
            rest = rest[cut:]
    sent += b"%X\r\n%s\r\n0\r\nTrailer: x\r\n\r\n" % (len(rest), rest) if rest else b"000\r\n\r\n"
    assert outcome(bytes(sent), size, 7)[-1] == data


@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_an_error(data: bytes):
    for parse in (parse_head, parse_chunk_size):
        try:
            parse(data)
        except FetchError as error:
            check_text(error)


@given(st.text(max_size=40) | st.text("htps:/?#[]@.%a0 \r\n", max_size=40).map("http://".__add__), st.text(max_size=20))
def test_any_text_is_a_url_or_an_error(text: str, location: str):
    without_login(text)
    try:
        url = redirected(parse_url(text), location)
    except FetchError as error:
        check_text(error)
        return
    assert parse_url(str(url)).origin == url.origin
    assert f"GET {url.target} HTTP/1.1".isprintable()
