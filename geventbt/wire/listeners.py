"""Listening sockets: those that a server makes for an address, and those that it is given."""

from __future__ import annotations

import errno
import socket as stdlib_socket
from typing import Any, TypeAlias

from gevent import socket as gevent_socket

from geventbt.wire.transports.tcp import checked_stream, take_over

ListenAddress: TypeAlias = "tuple[Any, ...] | int | str | stdlib_socket.socket | gevent_socket.socket"
"""(host, port), for IPv6 also with flow and scope; "host:port"; a port on every IPv4 interface; or a socket that
listens already, of the standard library or of gevent, TCP or Unix."""

BACKLOG = 1024


def listening_socket(address: ListenAddress) -> gevent_socket.socket:
    """A socket that listens on an address; or the same socket, as gevent's, where it is one already.

    Raises:
        TypeError: it is neither an address nor a stream socket, or a socket that is wrapped in TLS.
        ValueError: the socket does not listen, or the text is not "host:port".
        OSError: the address is taken, or is not ours.
    """
    if hasattr(address, "fileno"):
        return _given(address)
    family, sockaddr = _parsed(address)
    listener = gevent_socket.socket(family, stdlib_socket.SOCK_STREAM)
    try:
        listener.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_REUSEADDR, 1)
        listener.bind(sockaddr)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _given(sock: Any) -> gevent_socket.socket:
    stream = checked_stream(sock, "a server needs an address or a listening stream socket")
    if not _listens(stream):
        raise ValueError(f"cannot take peers from a socket that does not listen: call listen() on it first: {sock!r}")
    listener = take_over(stream)
    listener.setblocking(False)
    return listener


def _listens(sock: Any) -> bool:
    try:
        return bool(sock.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_ACCEPTCONN))
    except OSError as error:
        if error.errno == errno.EBADF:
            raise
        # Some systems cannot tell; `accept` will.
        return True


def _parsed(address: Any) -> tuple[int, tuple[Any, ...]]:
    """The family and the address for `bind`."""
    if isinstance(address, str):
        host, _, port = address.rpartition(":")
        if not port.isdecimal():
            raise ValueError(f"cannot listen on {address!r}: not host:port")
        address = host.removeprefix("[").removesuffix("]"), int(port)
    elif isinstance(address, int) and not isinstance(address, bool):
        address = "", address
    if not isinstance(address, (tuple, list)) or len(address) < 2 or not isinstance(address[0], str):
        raise TypeError(f"cannot listen on {address!r}: not (host, port), a port, host:port or a listening socket")
    host = address[0]
    return (stdlib_socket.AF_INET6 if ":" in host or len(address) > 2 else stdlib_socket.AF_INET), tuple(address)
