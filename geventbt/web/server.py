"""A WSGI server that bounds how many connections there are; `request_handler` bounds what each may hold."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import suppress
from typing import Any

import gevent
from gevent import socket
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer

from geventbt import limits
from geventbt.net.addresses import network_of, read_address
from geventbt.web.guard import Guard, is_loopback
from geventbt.web.request_handler import Handler
from geventbt.web.wsgi import WSGIApp

_log = logging.getLogger("geventbt")

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


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
        max_per_address: of one IPv4 address, or one /64 of IPv6; those of this machine, such as a proxy, are not
            counted.

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
            listener, app, spawn=Pool(), handler_class=Handler, environ=environ, log=None, error_log=_QuietLog()
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
        network = network_of(host) if host else ""
        is_counted = bool(host) and not is_loopback(host)
        is_full = self.connections >= self._max_connections
        if is_full or (is_counted and self._connections[network] >= self._max_per_address):
            with suppress(OSError):
                sock.send(_BUSY)
            return
        self._connections[network] += 1
        # Without it each answer of two packets waits for an acknowledgement: 22 requests a second. Unix sockets have no
        # such option.
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.settimeout(limits.WEB_WRITE_TIMEOUT)
            # A client may leave before it gets the error.
            with suppress(OSError):
                super().handle(sock, address)
        finally:
            self._connections[network] -= 1
            if not self._connections[network]:
                del self._connections[network]

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
        address = read_address(address, "listen on")
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
