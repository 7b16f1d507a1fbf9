"""Handles HTTP requests of clients that may be slow or broken.

gevent's own handler bounds neither the time that a head or body takes, nor the length of a head.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from io import BufferedReader, RawIOBase
from time import monotonic
from typing import Any

import gevent
from gevent.pywsgi import WSGIHandler

from geventbt import limits
from geventbt.concurrency.turns import let_others_run
from geventbt.web.departure import SOCKET
from geventbt.web.wsgi import Environ

_log = logging.getLogger("geventbt")

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class _TooLarge(ValueError):
    """The head of a request is too long."""


class Handler(WSGIHandler):
    """Handles the requests of one connection, each with a deadline for its head and its body."""

    rfile: Any
    wsgi_input: Any
    _deadline: gevent.Timeout | None = None
    _is_first = True

    def __init__(self, sock: Any, address: Any, server: Any) -> None:
        super().__init__(sock, address, server)
        self.rfile = BufferedReader(_Receiver(sock))

    def handle_one_request(self) -> Any:
        """Handle a request; None if there is no other on this connection."""
        # Between requests that have come together, too, which wait for nothing.
        let_others_run()
        seconds = limits.WEB_HEAD_TIMEOUT if self._is_first else limits.WEB_IDLE
        self._is_first = False
        self._deadline = gevent.Timeout.start_new(seconds)
        try:
            return super().handle_one_request()
        except gevent.Timeout as timeout:
            if timeout is not self._deadline:
                raise
            return None
        finally:
            self._deadline.close()

    def read_request(self, raw_requestline: str) -> Any:
        """Read the head, which may not be longer than a limit."""
        rfile, self.rfile = self.rfile, _Head(self.rfile)
        try:
            return super().read_request(raw_requestline)
        finally:
            self.rfile = rfile

    def MessageClass(self, rfile: Any, *more: Any) -> Any:
        """Parse the headers of a request, before gevent chooses between contradictions."""
        headers = super().MessageClass(rfile, *more)
        _check_framing(headers)
        return headers

    def get_environ(self) -> Environ:
        """The environ of the request, with the socket and a body that is bounded."""
        environ: Environ = super().get_environ()
        environ[SOCKET] = self.socket
        if environ["wsgi.input"] is self.wsgi_input:
            self.wsgi_input = environ["wsgi.input"] = _Body(self.wsgi_input, monotonic() + limits.WEB_BODY_TIMEOUT)
        return environ

    def handle_one_response(self) -> None:
        """Answer the request, whose head is there in time."""
        assert self._deadline is not None
        self._deadline.close()
        self.server.answering.add(gevent.getcurrent())
        try:
            super().handle_one_response()
        finally:
            self.server.answering.discard(gevent.getcurrent())
        if getattr(self.wsgi_input, "is_left_over", False):
            # The rest of a body that nothing has read would be taken for the next request.
            self.close_connection = True

    def process_result(self) -> None:
        """Send an answer. An empty first chunk sends its head alone, before the rest is there."""
        for data in self.result:
            if data or not self.headers_sent:
                self.write(data)
        if self.status and not self.headers_sent:
            self.write(b"")
        if self.response_use_chunked:
            self._sendall(b"0\r\n\r\n")

    def handle_error(self, kind: type[BaseException], error: BaseException, traceback: Any) -> None:
        """Answer with 500, and log what is a fault of ours: no client that is slow or has left, nor the end of the
        server."""
        if isinstance(error, (OSError, gevent.GreenletExit)):
            self.close_connection = True
            return
        _log.error("an HTTP request failed", exc_info=(kind, error, traceback))
        self._send_error_response_if_possible(500)

    def _handle_client_error(self, ex: Exception) -> Any:
        if isinstance(ex, _TooLarge):
            return "431", _TOO_LARGE
        # gevent would print a traceback of what is not a ValueError, such as too many headers.
        return super()._handle_client_error(ex if isinstance(ex, ValueError) else ValueError(str(ex)))


def _check_framing(headers: Any) -> None:
    """See that it is clear where the body of a request ends: a proxy that reads a head in another way would take a part
    of the body for a request of its own, or the other way round (RFC 9112, section 11.2).

    Raises:
        ValueError: it is not.
    """
    lengths, codings = headers.get_all("content-length", []), headers.get_all("transfer-encoding", [])
    if len(lengths) + len(codings) > 1:
        raise ValueError("a request with several lengths")
    if lengths and not (lengths[0].isascii() and lengths[0].strip().isdecimal()):
        raise ValueError("a length that is not a number")
    if codings and codings[0].strip().lower() != "chunked":
        raise ValueError("a transfer coding that is not known")
    if headers.defects or any(letter in value for value in headers.values() for letter in "\r\n\0"):
        raise ValueError("a line of the head that is not a header, or one that goes on in the next line")


class _Receiver(RawIOBase):
    """The bytes of a client. Others run before more of them are read: gevent waits only where there are none, and a
    client that sends as fast as we read would hold up the hub, and even its own deadlines."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        let_others_run()
        return int(self._sock.recv_into(buffer))


class _Head:
    """The lines of the head of a request."""

    def __init__(self, rfile: Any) -> None:
        self._rfile = rfile
        self._left = limits.WEB_HEAD

    def readline(self, limit: int = -1) -> bytes:
        """Read a line. Raises `_TooLarge` once the head is too long."""
        line: bytes = self._rfile.readline(self._left + 1 if limit < 0 else min(limit, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise _TooLarge("the head of the request is too long")
        return line


class _Body:
    """The body of a request, which must be there before a deadline: each read raises TimeoutError after it.

    Args:
        body: gevent's.
        deadline: on the monotonic clock, in seconds.
    """

    def __init__(self, body: Any, deadline: float) -> None:
        self._body = body
        self._deadline = deadline
        self._read = 0
        self._is_over = False

    @property
    def is_left_over(self) -> bool:
        """Whether there may be more of it that was not read."""
        if self._body.chunked_input:
            return not self._is_over
        return self._read < (self._body.content_length or 0)

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes, or all."""
        return self._in_time(self._body.read, size)

    def readline(self, size: int = -1) -> bytes:
        """Read a line."""
        return self._in_time(self._body.readline, size)

    def readlines(self, hint: int = -1) -> list[bytes]:
        """Read all lines."""
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def _in_time(self, read: Callable[[int], bytes], size: int) -> bytes:
        # Apps have a lower limit of their own; this is for one that reads all of an endless body.
        wanted = limits.WEB_BODY + 1 if size is None or size < 0 else size
        left = max(0.0, self._deadline - monotonic())
        with gevent.Timeout(left, TimeoutError("the body of an HTTP request did not come in time")):
            data = read(wanted)
        self._read += len(data)
        self._is_over = self._is_over or (not data and wanted > 0)
        return data

    def _discard(self) -> None:
        """What gevent calls at the end, to read what the app has not. It is read where that is little: the client has
        been told that it may use the connection again. Else the connection is closed."""
        if self.is_left_over and (self._body.content_length or math.inf) - self._read <= limits.WEB_DISCARDED:
            while self.is_left_over and self.read(limits.WEB_DISCARDED):
                pass
