"""Sockets that users hand in: which are taken, and how they become gevent's own."""

from __future__ import annotations

import _socket
import socket as stdlib_socket
from typing import Any, TypeGuard

from gevent import socket as gevent_socket


def adopt(sock: Any) -> gevent_socket.socket:
    """A gevent socket for a connected stream socket of any class.

    One that is not gevent's own is taken over (detached), so that it can never block the hub; what its class overrides
    is no longer called.

    Raises:
        TypeError: it is not a gevent or plain stream socket, or is wrapped in TLS.
        OSError: it is not connected; it is left as it is.
    """
    stream = checked_stream(sock, "a wire needs a Transport or a connected stream socket")
    stream.getpeername()
    return take_over(stream)


def is_socket(value: object) -> TypeGuard[gevent_socket.socket | stdlib_socket.socket]:
    """Whether it is a socket of the standard library or of gevent, or of a subclass.

    *Measured*: a tenth of what an accepted connection costs went to asking whether a socket is a `Transport`, which for
    a Protocol looks at every attribute.
    """
    return isinstance(value, (gevent_socket.socket, _socket.socket))


def is_tcp(sock: gevent_socket.socket) -> bool:
    """Whether a stream socket is one of TCP, and so takes its options."""
    return sock.family in (stdlib_socket.AF_INET, stdlib_socket.AF_INET6)


def checked_stream(sock: Any, needed: str) -> Any:
    """The same socket, if it is a stream socket of the standard library or of gevent, or of a subclass.

    Args:
        needed: the beginning of the error's text.

    Raises:
        TypeError: it is not, or is wrapped in TLS, whose bytes are not those of its descriptor.
    """
    if hasattr(sock, "do_handshake"):
        raise TypeError(f"{needed}, not one that is wrapped in TLS: {sock!r}")
    if not is_socket(sock) or sock.type != stdlib_socket.SOCK_STREAM:
        raise TypeError(f"{needed}, not {sock!r}")
    return sock


def take_over(sock: Any) -> gevent_socket.socket:
    """The same socket as gevent's own class; one of any other class is detached."""
    if type(sock) is gevent_socket.socket:
        return sock
    return gevent_socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach())
