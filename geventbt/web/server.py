"""A WSGI server whose clients, however slow or broken, hold a bounded part of the process.

gevent's own server bounds neither the time that a head or body takes, nor the length of a head, nor the connections.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic
from typing import Any

import gevent
from gevent import socket
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer

from geventbt import limits
from geventbt.web.departure import SOCKET
from geventbt.web.guard import Guard, is_loopback
from geventbt.web.wsgi import Environ, WSGIApp

_log = logging.getLogger("geventbt")

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def serve(
    app: WSGIApp,
    address: tuple[str, int] | str | Any = ("127.0.0.1", 0),
    *,
    max_connections: int = limits.WEB_CONNECTIONS,
    max_per_address: int = limits.WEB_CONNECTIONS_PER_ADDRESS,
) -> WebServer:
    """Serve a WSGI app over HTTP. It listens already when this returns.

    Args:
        app: such as `make_app` gives, or any other in a `Guard`.
        address: (host, port) or "host:port", where port 0 takes a free one; or a socket that listens, as systemd
            hands it on.
        max_connections: at one time; more are answered with 503.
        max_per_address: of one address; those of this machine, such as a proxy, are not counted.

    Raises:
        ValueError: others than this machine reach the address, and there is no password.
        OSError: the address is taken, or is not ours.
    """
    server = WebServer(_listener(address), app, max_connections, max_per_address)
    host, is_safe = server.host, isinstance(app, Guard) and app.login is not None
    if not is_safe and not is_loopback(host):
        server.close()
        raise ValueError(f"listening on {host or 'every address'} needs a password: a Guard, or make_app, with a login")
    server.start()
    return server


class WebServer(WSGIServer):
    """An HTTP server that runs. Made by `serve`. A context manager: at its end it is stopped.

    It has the methods and attributes of `gevent.pywsgi.WSGIServer`, among them `serve_forever` and `server_port`.

    Attributes:
        host: the address that it listens on.
        answering: the greenlets of requests that are being answered.
    """

    def __init__(self, listener: Any, app: WSGIApp, max_connections: int, max_per_address: int) -> None:
        name = listener.getsockname()
        self.host = name[0] if isinstance(name, tuple) else "localhost"
        # With a name, as gevent would ask the DNS for it.
        environ = {"SERVER_NAME": self.host or "localhost"}
        super().__init__(
            listener, app, spawn=Pool(), handler_class=_Handler, environ=environ, log=None, error_log=_QuietLog()
        )
        self._max_connections = max_connections
        self._max_per_address = max_per_address
        self._connections: Counter[str] = Counter()
        self.answering: set[gevent.Greenlet] = set()

    @property
    def url(self) -> str:
        """Where it is, for a browser of this machine, with a slash at the end."""
        host = "127.0.0.1" if self.host in ("", "0.0.0.0") else "::1" if self.host == "::" else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server_port}/"

    @property
    def connections(self) -> int:
        """The connections that are open."""
        return sum(self._connections.values())

    def handle(self, sock: Any, address: Any) -> None:
        """Serve one connection to its end."""
        host = address[0] if isinstance(address, tuple) else ""
        is_counted = bool(host) and not is_loopback(host)
        is_full = self.connections >= self._max_connections
        if is_full or (is_counted and self._connections[host] >= self._max_per_address):
            with suppress(OSError):
                sock.send(_BUSY)
            return
        self._connections[host] += 1
        # Without it each answer of two packets waits for an acknowledgement: 22 requests a second. Unix sockets have no
        # such option.
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.settimeout(limits.WEB_WRITE_TIMEOUT)
            super().handle(sock, address)
        finally:
            self._connections[host] -= 1
            if not self._connections[host]:
                del self._connections[host]

    def stop(self, timeout: float | None = None) -> None:
        """Stop: connections that wait for a request end at once, answers have a time to end.

        Args:
            timeout: in seconds; None for `limits.WEB_STOP_TIMEOUT`.
        """
        self.close()
        for greenlet in set(self.pool) - self.answering:
            greenlet.kill(block=False)
        super().stop(limits.WEB_STOP_TIMEOUT if timeout is None else timeout)

    def __enter__(self) -> WebServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def _listener(address: Any) -> Any:
    """A listening socket of gevent's for an address, or that is given."""
    if hasattr(address, "getsockname"):
        return address
    if isinstance(address, str):
        host, _, port = address.rpartition(":")
        address = (host.strip("[]"), int(port))
    host, _ = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(limits.WEB_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


class _QuietLog:
    """What gevent's server would print of broken requests; it is of no use to the user."""

    def write(self, text: str) -> None:
        """Log a line."""
        _log.debug("HTTP: %s", text.strip())

    def writelines(self, lines: list[str]) -> None:
        """Log lines."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Do nothing."""


class _TooLarge(ValueError):
    """The head of a request is too long."""


class _Handler(WSGIHandler):
    """Handles the requests of one connection, each with a deadline for its head and its body."""

    rfile: Any
    wsgi_input: Any
    _deadline: gevent.Timeout | None = None
    _is_first = True

    def handle_one_request(self) -> Any:
        """Handle a request; None if there is no other on this connection."""
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
        """What gevent calls at the end, to read what the app has not: the connection is closed instead."""
