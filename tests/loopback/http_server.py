"""An HTTP server on loopback whose answers are the bytes that a test wants, over kept connections."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
from gevent import socket as gevent_socket


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """An answer with its length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def partial(data: bytes, head: str, *headers: str) -> bytes:
    """The answer to a request for a file, or for a range of it."""
    wanted = re.search(r"\r\nRange: bytes=([0-9]+)-([0-9]+)\r\n", head)
    if not wanted:
        return answer(data, *headers)
    start, end = int(wanted[1]), min(int(wanted[2]) + 1, len(data))
    if start >= end:
        return answer(b"", f"Content-Range: bytes */{len(data)}", status="416 Range Not Satisfiable")
    where = f"Content-Range: bytes {start}-{end - 1}/{len(data)}"
    return answer(data[start:end], where, *headers, status="206 Partial Content")


class HTTPServer:
    """A server of one file, or of what a function sends.

    Args:
        reply: the file's bytes, or a function that is called with the socket and the head of each request.
        host: the address to listen on.

    Attributes:
        reply: may be changed at any time.
        requests: the heads that came in.
        connections: the number of connections that were accepted.
    """

    def __init__(self, reply: bytes | Callable[[Any, str], None], host: str = "127.0.0.1") -> None:
        self.reply = reply
        self.requests: list[str] = []
        self.connections = 0
        self._host = host
        self._listener = gevent_socket.socket()
        self._listener.bind((host, 0))
        self._listener.listen()
        self.port = self._listener.getsockname()[1]
        self._socks: list[Any] = []
        self._greenlets = [gevent.spawn(self._accept)]

    def url(self, path: str) -> str:
        return f"http://{self._host}:{self.port}{path}"

    def drop_all(self) -> None:
        """Close all connections."""
        for sock in self._socks:
            with suppress(OSError):
                sock.shutdown(gevent_socket.SHUT_RDWR)

    def close(self) -> None:
        gevent.killall(self._greenlets)
        for sock in (self._listener, *self._socks):
            sock.close()

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            self.connections += 1
            self._socks.append(sock)
            self._greenlets.append(gevent.spawn(self._serve, sock))

    def _serve(self, sock: Any) -> None:
        try:
            while head := self._read_head(sock):
                self.requests.append(head)
                if callable(self.reply):
                    self.reply(sock, head)
                else:
                    sock.sendall(partial(self.reply, head))
        except OSError:
            # The client has left, or the function has closed the connection.
            pass
        finally:
            sock.close()

    def _read_head(self, sock: Any) -> str:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            more = sock.recv(4096)
            if not more:
                return ""
            head += more
        return head.decode("latin-1")
