"""A web seed's reader gets the bytes that it asked for, or a FetchError, whatever a server sends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gevent import socket as gevent_socket
from hypothesis import given
from hypothesis import strategies as st

from geventbt.client.swarm.web_seed_parts import Part
from geventbt.client.swarm.web_seed_reader import WebSeedReader
from geventbt.errors import FetchError
from geventbt.net.http.client import HTTPClient
from geventbt.net.network import Network
from geventbt.net.resolve import Endpoint

DATA = bytes(range(256)) * 2
URL = "http://192.0.2.1/file"


class Script(Network):
    """A network of one server, which sends what a script says, connection by connection; then it is gone.

    Args:
        connections: the answers of each, in the order that they are opened.
        size: bytes that come at a time.
    """

    def __init__(self, connections: Iterable[list[bytes]], size: int) -> None:
        super().__init__()
        self._connections = iter(connections)
        self._size = size

    def resolve(self, host: str, port: int, *, family: int = 0, datagram: bool = False) -> list[Endpoint]:
        return [Endpoint(gevent_socket.AF_INET, (host, port))]

    def connect(self, endpoint: Endpoint, timeout: float | None = None, source_address: Any = None) -> Any:
        answers = next(self._connections, None)
        if answers is None:
            raise ConnectionRefusedError("it is gone")
        return Scripted(answers, self._size)


class Scripted:
    """A socket from which an answer of a script is received for each request that is sent, and then the end."""

    def __init__(self, answers: list[bytes], size: int) -> None:
        self._answers = iter(answers)
        self._data = b""
        self._size = size

    def sendall(self, data: bytes) -> None:
        self._data += next(self._answers, b"")

    def recv_into(self, buffer: Any) -> int:
        piece = self._data[: min(self._size, len(buffer))]
        buffer[: len(piece)] = piece
        self._data = self._data[len(piece) :]
        return len(piece)

    def settimeout(self, seconds: float) -> None:
        pass

    def close(self) -> None:
        pass


class OneFile:
    """The parts of a torrent of one file."""

    def parts(self, position: int, length: int) -> Iterator[Part]:
        return iter([Part(0, URL, position, length, len(DATA))])


def fetched(connections: list[list[bytes]], size: int, ranges: list[tuple[int, int]]) -> list[bytes | None]:
    """What comes of each range; None for an error."""
    reader = WebSeedReader(HTTPClient(network=Script(connections, size)), OneFile())
    outcomes = [fetched_range(reader, start, length) for start, length in ranges]
    reader.close()
    return outcomes


def fetched_range(reader: WebSeedReader, start: int, length: int) -> bytes | None:
    buffer = memoryview(bytearray(length))
    filled = 0
    reader.open(start, length)
    try:
        while filled < length:
            filled += reader.read_into(buffer[filled:])
        reader.end(1000)
    except FetchError as error:
        check_text(error)
        return None
    return bytes(buffer)


def check_text(error: FetchError) -> None:
    """See that the text of an error can be printed, whatever the server sent."""
    assert str(error).isprintable()


def right_answer(start: int, length: int, *, keeps: bool) -> bytes:
    end = start + length
    close = b"" if keeps else b"Connection: close\r\n"
    head = b"HTTP/1.1 206 X\r\n%sContent-Range: bytes %d-%d/%d\r\nContent-Length: %d\r\n\r\n"
    return head % (close, start, end - 1, len(DATA), length) + DATA[start:end]


ranges = st.tuples(st.integers(0, len(DATA) - 1), st.integers(1, len(DATA))).map(
    lambda pair: (pair[0], min(pair[1], len(DATA) - pair[0]))
)
heads = [
    b"HTTP/1.1 206 X", b"HTTP/1.1 200 OK", b"HTTP/1.0 206 X", b"HTTP/1.1 503 X", b"HTTP/1.1 302 X", b"HTTP/1.1 404 X",
    b"HTTP/1.1 100 X\r\n", b"Content-Length: 512", b"Content-Length: 10", b"Content-Range: bytes 0-9/512",
    b"Content-Range: bytes 0-511/512", b"Content-Range: bytes 0-9/*", b"Content-Range: bytes 5-4/512",
    b"Transfer-Encoding: chunked", b"Connection: close", b"Retry-After: 5", b"Location: /other", b"Location: http://[",
    b"Content-Encoding: gzip", b"", b"a", b"0\r\n", b"0123456789",
]  # fmt: skip
fragments = st.sampled_from(heads).map(lambda line: line + b"\r\n") | st.just(DATA) | st.binary(max_size=20)
answers = st.lists(fragments, max_size=8).map(b"".join)
scripts = st.lists(st.lists(answers, max_size=3), max_size=4)


@given(scripts, st.integers(1, 600), st.lists(ranges | st.just((0, 10)), min_size=1, max_size=4))
def test_any_bytes_of_a_server_are_data_or_an_error(
    scripted: list[list[bytes]], size: int, asked: list[tuple[int, int]]
):
    fetched(scripted, size, asked)


@given(st.lists(st.tuples(ranges, st.booleans()), min_size=1, max_size=5), st.integers(1, 600))
def test_right_answers_are_taken_over_connections_that_are_kept_or_not(
    asked: list[tuple[tuple[int, int], bool]], size: int
):
    connections: list[list[bytes]] = [[]]
    for (start, length), keeps in asked:
        connections[-1].append(right_answer(start, length, keeps=keeps))
        if not keeps:
            connections.append([])
    wanted = [DATA[start : start + length] for (start, length), _ in asked]
    assert fetched(connections, size, [each for each, _ in asked]) == wanted


@given(ranges, st.data(), st.integers(1, 600))
def test_an_answer_that_is_changed_in_its_head_gives_no_wrong_byte(
    asked: tuple[int, int], data: st.DataObject, size: int
):
    right = right_answer(*asked, keeps=True)
    head = right.index(b"\r\n\r\n")
    at = data.draw(st.integers(0, head - 1))
    with_digit = data.draw(st.sampled_from(b"0123456789/-*: "))
    changed = right[:at] + bytes([with_digit]) + right[at + 1 :]
    (outcome,) = fetched([[changed]], size, [asked])
    start, length = asked
    assert outcome in (None, DATA[start : start + length])
