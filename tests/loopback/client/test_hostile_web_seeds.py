"""Web servers that answer as no server should: the download takes what is right from another one, and goes on."""

from __future__ import annotations

import logging
import random
import re
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

import geventbt
from geventbt import limits
from geventbt.metainfo import Torrent
from tests.loopback.harness import eventually
from tests.loopback.http_server import HTTPServer, answer, partial
from tests.loopback.web_server import WebServer
from tests.loopback.world import World, done_soon

PIECE = 16 * limits.KIB
SIZE = 100_000
Send = Callable[[Any, str, bytes], object]
"""Called with the socket, the head of a request, and the file's bytes."""


@pytest.fixture
def torrent(world: World) -> Torrent:
    world.origin.mkdir()
    (world.origin / "file.bin").write_bytes(random.Random(1).randbytes(SIZE))
    return world.made(geventbt.create_torrent(world.origin / "file.bin", piece_length=PIECE))


@pytest.fixture
def hostile(world: World, torrent: Torrent) -> Iterator[Callable[[Send], HTTPServer]]:
    servers: list[HTTPServer] = []

    def start(send: Send) -> HTTPServer:
        data = world.data(torrent)
        servers.append(HTTPServer(lambda sock, head: send(sock, head, data)))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


# ------------------------------------------------------------------ what they send


def wanted(head: str) -> tuple[int, int]:
    """The range of a request: its first byte, and the byte behind the last."""
    match = re.search(r"Range: bytes=([0-9]+)-([0-9]+)", head)
    assert match
    return int(match[1]), int(match[2]) + 1


def raw(data: bytes) -> Send:
    """These bytes, and the end of the connection."""

    def send(sock: Any, head: str, file: bytes) -> None:
        sock.sendall(data)
        sock.close()

    return send


def ranged(body: Callable[[bytes, int, int], bytes] = lambda file, start, end: file[start:end], *lines: str) -> Send:
    """An answer that says it has the range that was asked for, and other lines, which may say it again."""

    def send(sock: Any, head: str, file: bytes) -> None:
        start, end = wanted(head)
        names = {line.split(":")[0] for line in lines}
        own = {"Content-Range": f"bytes {start}-{end - 1}/{SIZE}", "Content-Length": f"{end - start}"}
        headers = [*(f"{name}: {value}" for name, value in own.items() if name not in names), *lines]
        sock.sendall("\r\n".join(["HTTP/1.1 206 Partial", *headers, "", ""]).encode() + body(file, start, end))

    return send


def redirected(*lines: str, status: str = "302 Found") -> Send:
    return raw("\r\n".join([f"HTTP/1.1 {status}", *lines, "Content-Length: 0", "", ""]).encode("latin-1"))


def chunked(*chunks: bytes) -> Send:
    return ranged(lambda file, start, end: b"".join(chunks), "Transfer-Encoding: chunked", "Content-Length:")


def before(prefix: bytes) -> Send:
    """Bytes in front of the right answer."""
    return lambda sock, head, file: sock.sendall(prefix + partial(file, head))


def behind(suffix: bytes) -> Send:
    """Bytes behind the right answer, on a connection that is kept."""
    return lambda sock, head, file: sock.sendall(partial(file, head) + suffix)


def without_end(head: bytes) -> Send:
    """A head, and then zeros until the connection is closed."""

    def send(sock: Any, request: str, file: bytes) -> None:
        sock.sendall(head)
        while True:
            sock.sendall(bytes(65536))
            gevent.sleep(0.001)

    return send


def reset(sock: Any, head: str, file: bytes) -> None:
    """A reset in the middle of the body."""
    sock.sendall(partial(file, head)[:20_000])
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def hang(sock: Any, head: str, file: bytes) -> None:
    """Nothing more after the first block."""
    sock.sendall(partial(file, head)[:20_000])
    gevent.sleep(60)


def drip_head(sock: Any, head: str, file: bytes) -> None:
    """A head that comes byte by byte, and never ends."""
    for byte in b"HTTP/1.1 206 Partial\r\nX: " + b"x" * 10_000:
        sock.sendall(bytes([byte]))
        gevent.sleep(0.01)


def drip_body(sock: Any, head: str, file: bytes) -> None:
    """A body that comes byte by byte."""
    right = partial(file, head)
    sock.sendall(right[:20_000])
    for byte in right[20_000:]:
        sock.sendall(bytes([byte]))
        gevent.sleep(0.05)


def two_answers(sock: Any, head: str, file: bytes) -> None:
    """The answer to a request that was not made yet, with wrong data."""
    right = partial(file, head)
    sock.sendall(right + right[:-1000] + bytes(1000))


BEHAVIOURS: dict[str, Send] = {
    # The range
    "a range behind the end of its file": ranged(lambda *_: b"", f"Content-Range: bytes 0-{SIZE}/{SIZE}"),
    "a range that ends before it begins": ranged(lambda *_: b"", f"Content-Range: bytes 9-8/{SIZE}"),
    "a range of other units": ranged(lambda file, *_: file, f"Content-Range: items 0-{SIZE - 1}/{SIZE}"),
    "a negative range": ranged(lambda *_: b"", f"Content-Range: bytes -5-10/{SIZE}"),
    "a range of enormous numbers": ranged(lambda *_: b"", f"Content-Range: bytes 0-{10**40}/{10**41}"),
    "two ranges that differ": ranged(
        lambda file, *_: file, f"Content-Range: bytes 0-{SIZE - 1}/{SIZE}", f"Content-Range: bytes 1-{SIZE}/{SIZE}"
    ),
    "no byte": ranged(lambda *_: b"", "Content-Length: 0"),
    "the right range with other data": ranged(lambda _, start, end: bytes(end - start)),
    "the right range, shifted by one byte": ranged(lambda file, start, end: file[start + 1 : end] + b"x"),
    "the whole file for the range": lambda sock, head, file: sock.sendall(answer(file[::-1])),
    # The end of the body
    "no length, and no byte": ranged(lambda *_: b"", "Content-Length:"),
    "an enormous length": ranged(lambda *_: b"", "Content-Length: 999999999999999999"),
    "a length that is no number": ranged(lambda *_: b"", "Content-Length: 0x10"),
    "two lengths that differ": ranged(lambda *_: b"", f"Content-Length: {SIZE}", "Content-Length: 5"),
    "zeros without end": without_end(b"HTTP/1.1 200 OK\r\n\r\n"),
    "chunks with a length as well": ranged(lambda *_: b"5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "chunks twice": ranged(lambda *_: b"0\r\n\r\n", "Transfer-Encoding: chunked, chunked"),
    "a chunk of a negative length": chunked(b"-5\r\nhello\r\n"),
    "a chunk of an enormous length": chunked(b"ffffffffffffffff\r\nhello\r\n"),
    "a chunk that goes on too long": chunked(b"5\r\nhello, world\r\n0\r\n\r\n"),
    "the last chunk at once": chunked(b"0\r\n\r\n"),
    "chunks of one byte without end": chunked(*[b"1\r\nx\r\n"] * 30_000),
    "a compressed body": ranged(lambda *_: b"\x1f\x8b\x08" * 10, "Content-Encoding: gzip"),
    # The head
    "no head": raw(b"hello"),
    "the banner of another protocol": raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "an alert of TLS": raw(b"\x15\x03\x03\x00\x02\x02\x28"),
    "a status of many digits": raw(b"HTTP/1.1 20600000000 Partial\r\n\r\n"),
    "control characters in the status": raw(b"HTTP/1.1 599 \x1b[31m\x00\x07red\r\n\r\n"),
    "a head without end": raw(b"HTTP/1.1 206 Partial\r\n" + b"X: y\r\n" * 10_000),
    "a thousand headers": raw(b"HTTP/1.1 206 Partial\r\n" + b"X: y\r\n" * 1000 + b"\r\n"),
    "one enormous header": raw(b"HTTP/1.1 206 Partial\r\nX: " + b"y" * 100_000),
    "a header without a name": raw(b"HTTP/1.1 206 Partial\r\n: y\r\n\r\n"),
    "a head that drips": drip_head,
    "interim answers without end": without_end(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "another protocol from now on": raw(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n"),
    # The status
    "no content": raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "not modified": raw(b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "busy for a negative time": raw(b"HTTP/1.1 503 Busy\r\nRetry-After: -5\r\nContent-Length: 0\r\n\r\n"),
    "busy until a date that is none": raw(b"HTTP/1.1 503 Busy\r\nRetry-After: Mon, 99 Foo 2020 99:99:99 GMT\r\n\r\n"),
    "busy for ages": raw(b"HTTP/1.1 503 Busy\r\nRetry-After: " + b"9" * 400 + b"\r\nContent-Length: 0\r\n\r\n"),
    "an error with a page without end": without_end(b"HTTP/1.1 500 Oops\r\n\r\n"),
    # Redirects
    "a redirect to itself": redirected("Location: /file.bin"),
    "a redirect to nowhere": redirected(status="301 Moved"),
    "a redirect to a file of ours": redirected("Location: file:///etc/passwd"),
    "a redirect to another scheme": redirected("Location: ftp://127.0.0.1/file.bin"),
    "a redirect with a line break": redirected("Location: /x%0d%0aHost: other\r\n Folded: yes"),
    "a redirect to a port that is none": redirected("Location: http://127.0.0.1:99999/"),
    "an enormous redirect": redirected("Location: http://127.0.0.1/" + "a" * 9000),
    "a redirect to bytes": redirected("Location: http://\xff\xfe\x80/"),
    # The connection
    "a reset in the middle": reset,
    "silence after the first block": hang,
    "a body that drips": drip_body,
    "nothing": raw(b""),
    "two answers to one request": two_answers,
    "junk behind the answer": behind(b"junk" * 100),
    "junk in front of the answer": before(b"\r\n\r\n\r\n"),
    "early hints": before(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
}


@pytest.mark.parametrize("send", BEHAVIOURS.values(), ids=BEHAVIOURS)
def test_a_hostile_server_neither_holds_a_download_up_nor_spoils_it(
    world: World,
    torrent: Torrent,
    hostile: Callable[[Send], HTTPServer],
    send: Send,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr(limits, "WEB_SEED_PATIENCE", 0.2)
    caplog.set_level(logging.INFO, "geventbt")
    bad = hostile(send)
    good = WebServer(world.origin, rate=2_000_000)
    world.servers.append(good)
    job = world.download(torrent, [], web_seeds=[bad.url("/"), good.url])
    eventually(lambda: bad.requests)
    assert done_soon(job, 10), job.web_seeds
    world.assert_complete(torrent)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info]
    assert all(line.isprintable() for line in caplog.messages)
    assert all(seed.error is None or seed.error.isprintable() for seed in job.web_seeds)
