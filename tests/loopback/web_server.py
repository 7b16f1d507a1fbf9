"""A small web server for tests: it serves a folder, ranges included, and does as it is told for each request."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import gevent
from gevent.server import StreamServer


class Asked(NamedTuple):
    """A request.

    Attributes:
        path: without the query, unescaped.
        target: as it came.
        range: first byte and the byte behind the last, or None.
        headers: by lower-case name.
    """

    path: str
    target: str
    range: tuple[int, int] | None
    headers: dict[str, str]

    @property
    def length(self) -> int:
        return self.range[1] - self.range[0] if self.range else 0


class Answer(NamedTuple):
    """What is sent: status and headers, the body, and whether the connection is closed behind it."""

    status: str
    headers: dict[str, str]
    body: bytes = b""
    closes: bool = False
    length: int | None = None
    """What Content-Length says, if it is not the body's; -1 for no such header."""


Behave = Callable[[Asked, Answer], "Answer | None"]
"""Called with the request and the right answer; returns what to send instead, or None for the right one."""


class WebServer:
    """Serves a folder on a free port of loopback.

    Args:
        folder: what it serves.
        behave: see `Behave`.
        rate: bytes a second of a connection, or a function of its number, from 0 on; None for no limit.
        host: the address.

    Attributes:
        asked: the requests so far.
        connections: open at present.
        most: the most that were open at one time.
    """

    def __init__(
        self,
        folder: Path,
        behave: Behave = lambda asked, answer: None,
        *,
        rate: int | Callable[[int], int] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.folder = folder
        self.behave = behave
        self.rate = rate
        self.asked: list[Asked] = []
        self.connections = self.most = self._accepted = 0
        self._server = StreamServer((host, 0), self._handle)
        self._server.start()
        self.port: int = self._server.server_port

    @property
    def url(self) -> str:
        return f"http://{self._server.server_host}:{self.port}/"

    def stop(self, timeout: float | None = 0) -> None:
        self._server.stop(timeout)

    def _handle(self, sock: Any, address: Any) -> None:
        rate = self.rate(self._accepted) if callable(self.rate) else self.rate
        self._accepted += 1
        self.connections += 1
        self.most = max(self.most, self.connections)
        try:
            with sock, suppress(OSError):
                self._serve(sock, rate)
        finally:
            self.connections -= 1

    def _serve(self, sock: Any, rate: int | None) -> None:
        file = sock.makefile("rb")
        while (asked := _read(file)) is not None:
            self.asked.append(asked)
            right = self._right(asked)
            answer = self.behave(asked, right) or right
            self._send(sock, answer, rate)
            if answer.closes:
                return

    def _right(self, asked: Asked) -> Answer:
        path = self.folder / asked.path.lstrip("/")
        if not path.is_file():
            return Answer("404 Not Found", {})
        data = path.read_bytes()
        if asked.range is None:
            return Answer("200 OK", {}, data)
        start, end = asked.range
        if start >= len(data):
            return Answer("416 Range Not Satisfiable", {})
        end = min(end, len(data))
        return Answer("206 Partial Content", {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"}, data[start:end])

    def _send(self, sock: Any, answer: Answer, rate: int | None) -> None:
        length = len(answer.body) if answer.length is None else answer.length
        headers = {**({"Content-Length": str(length)} if length >= 0 else {}), **answer.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        sock.sendall(f"HTTP/1.1 {answer.status}\r\n{head}\r\n".encode("latin-1"))
        if rate is None:
            sock.sendall(answer.body)
            return
        step = max(1, rate // 50)
        for start in range(0, len(answer.body), step):
            sock.sendall(answer.body[start : start + step])
            gevent.sleep(0.02)


def _read(file: Any) -> Asked | None:
    line = file.readline().decode("latin-1")
    if not line:
        return None
    target = line.split(" ")[1]
    headers: dict[str, str] = {}
    while (header := file.readline().decode("latin-1").strip()) != "":
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    match = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("range", ""))
    wanted = (int(match[1]), int(match[2]) + 1) if match else None
    return Asked(unquote(target.partition("?")[0]), target, wanted, headers)
