"""Noticing that an HTTP client has left, while its answer waits for something else than the client."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
from gevent import socket

from geventbt.concurrency.greenlets import spawn
from geventbt.web.wsgi import Environ

SOCKET = "geventbt.socket"
"""The key in the environ under which our server has the socket of the client."""
_SOCKETS = (SOCKET, "gunicorn.socket")


def socket_of(environ: Environ) -> Any:
    """The socket of the client, where the server gives it; else None."""
    return next((environ[key] for key in _SOCKETS if environ.get(key) is not None), None)


def watch_departure(sock: Any, leave: Callable[[], None]) -> gevent.Greenlet:
    """Call a function once the client has closed its connection.

    The server notices that only when it writes, and what waits for a piece does not write. A client that sends another
    request meanwhile is there, and is watched no longer.

    Returns:
        The greenlet that watches, to be killed when the answer is over.
    """
    return spawn("watching an HTTP client", _watch, sock, leave)


def _watch(sock: Any, leave: Callable[[], None]) -> None:
    with suppress(OSError):
        socket.wait_read(sock.fileno())
        if sock.recv(1, socket.MSG_PEEK):
            return
    leave()
