"""The sockets of a server: those that it makes for an address, and those that it is given."""

from __future__ import annotations

import errno
import logging
import socket as stdlib_socket
from functools import partial
from typing import Any, TypeAlias

from gevent import socket as gevent_socket

from geventbt.net.addresses import Address, Ports, is_port, is_socket_address, read_address
from geventbt.net.network import DIRECT, Network
from geventbt.net.resolve import Endpoint
from geventbt.net.tcp import name_address
from geventbt.net.udp_port import UdpPort
from geventbt.wire.transports.base import BOTH, TCP, UTP, TransportChoice
from geventbt.wire.transports.sockets import checked_stream, take_over
from geventbt.wire.transports.utp_endpoint import UtpAcceptor
from geventbt.wire.transports.utp_ports import UtpPorts

_log = logging.getLogger("geventbt")

ListeningSocket: TypeAlias = stdlib_socket.socket | gevent_socket.socket
"""A socket that listens already, of the standard library or of gevent."""
ListenAddress: TypeAlias = tuple[Any, ...] | int | str | ListeningSocket
"""(host, port), for IPv6 also with flow and scope; "host:port"; a port on every interface, which the host "" means as
well; or a socket that listens already, of the standard library or of gevent, TCP or Unix."""

BACKLOG = 1024
_PORTS_TRIED = 5

_FINAL = (errno.EADDRINUSE, errno.EACCES, errno.ENOTSUP)
"""The port is taken, is not for every user, or cannot be shared: so it would be over IPv4."""


def listening_socket(
    address: ListenAddress, *, listens: bool = True, reuse_port: bool = False, network: Network = DIRECT
) -> gevent_socket.socket:
    """A socket that listens on an address; or the same socket, as gevent's, where it is one already.

    Args:
        address: see `ListenAddress`.
        listens: whether it is to listen; else the port is only kept from others.
        reuse_port: whether other sockets may listen there, too, if all say so.
        network: binds a socket that is made for an address.

    Raises:
        TypeError: it is neither an address nor a stream socket, or a socket that is wrapped in TLS.
        ValueError: the socket does not listen, the text is not "host:port", or there is no such port; or a socket that
            is bound already is to share its port.
        OSError: the address is taken, or is not ours; or the system cannot share ports (``errno.ENOTSUP``).
    """
    if hasattr(address, "fileno"):
        if reuse_port:
            raise ValueError("cannot share the port of a socket that is bound already: set SO_REUSEPORT before bind()")
        return _given(address)
    host, port, *rest = host_and_port(address)
    listen = partial(_listen, network=network, listens=listens, reuse_port=reuse_port)
    if rest:
        # With a scope, which a name does not have.
        return listen(Endpoint(stdlib_socket.AF_INET6, (host, port, *rest)))
    if host:
        return listen(_preferred(network.resolve(host, port)))
    try:
        return listen(Endpoint(stdlib_socket.AF_INET6, ("::", port)), takes_ipv4=True)
    except OSError as error:
        if error.errno in _FINAL:
            raise
        # There is no IPv6 on this machine, or no socket of its system takes both families (OpenBSD).
        return listen(Endpoint(stdlib_socket.AF_INET, ("", port)))


def open_ports(
    address: ListenAddress, transport: TransportChoice, acceptor: UtpAcceptor, network: Network, *, reuse_port: bool
) -> tuple[gevent_socket.socket, UdpPort, UtpPorts | None]:
    """The sockets of a server: both on one port number, another one if a free one was asked for and UDP lacks it.

    Args:
        address: see `ListenAddress`.
        transport: "tcp", "utp" or "both".
        acceptor: takes the connections over uTP.
        network: binds the sockets.
        reuse_port: see `listening_socket`.

    Raises: see `listening_socket`.
    """
    for is_last in (*[False] * _PORTS_TRIED, True):
        listener = listening_socket(address, listens=transport != UTP, reuse_port=reuse_port, network=network)
        port = UdpPort(network, udp_addresses(listener))
        if transport == TCP:
            return listener, port, None
        try:
            return listener, port, UtpPorts(port, acceptor)
        except OSError as error:
            if transport == BOTH and (is_last or not _is_free_choice(address)):
                _log.info("no uTP on port %d: %s", listener.getsockname()[1], error)
                return listener, port, None
            listener.close()
            if is_last or not _is_free_choice(address):
                raise
    raise AssertionError("the last try returns or raises")


def _is_free_choice(address: ListenAddress) -> bool:
    """Whether any port will do."""
    return not hasattr(address, "fileno") and host_and_port(address)[1] == 0


def ports_of(listener: gevent_socket.socket) -> Ports:
    """The ports at which a listening socket can be reached."""
    name = listener.getsockname()
    if listener.family == stdlib_socket.AF_INET:
        return Ports(ipv4=name[1])
    if listener.family != stdlib_socket.AF_INET6:
        return Ports()
    takes_ipv4 = name[0] == "::" and not listener.getsockopt(stdlib_socket.IPPROTO_IPV6, stdlib_socket.IPV6_V6ONLY)
    return Ports(name[1] if takes_ipv4 else None, name[1])


def udp_addresses(listener: gevent_socket.socket) -> list[Address]:
    """The addresses of UDP with the same hosts and port as a listening socket; none of a Unix socket."""
    ports = ports_of(listener)
    if ports.ipv4 is None and ports.ipv6 is None:
        return []
    name = listener.getsockname()
    if ports.ipv4 is not None and ports.ipv6 is not None:
        return [("", ports.ipv4), ("::", ports.ipv6)]
    return [name[:2]]


def _preferred(endpoints: list[Endpoint]) -> Endpoint:
    """The IPv4 address of a name that has one, as gevent's servers have it; else the first."""
    return next((endpoint for endpoint in endpoints if endpoint.family == stdlib_socket.AF_INET), endpoints[0])


def _listen(
    endpoint: Endpoint, network: Network, *, takes_ipv4: bool = False, listens: bool, reuse_port: bool
) -> gevent_socket.socket:
    """A socket that listens at an address.

    Args:
        endpoint: the address.
        network: binds the socket.
        takes_ipv4: whether a socket of IPv6 takes IPv4 as well; systems differ in what they do by default.
        listens: see `listening_socket`.
        reuse_port: see `listening_socket`.
    """
    listener = gevent_socket.socket(endpoint.family, stdlib_socket.SOCK_STREAM)
    try:
        listener.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_REUSEADDR, 1)
        if reuse_port:
            _share_port(listener)
        if endpoint.family == stdlib_socket.AF_INET6:
            listener.setsockopt(stdlib_socket.IPPROTO_IPV6, stdlib_socket.IPV6_V6ONLY, not takes_ipv4)
        network.bind(listener, endpoint.sockaddr)
        if listens:
            listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException as error:
        listener.close()
        if isinstance(error, OSError):
            name_address(error, "listen on", endpoint.sockaddr)
        raise
    return listener


def _share_port(listener: gevent_socket.socket) -> None:
    """Let other sockets listen on the same port; to be called before it is bound."""
    if not hasattr(stdlib_socket, "SO_REUSEPORT"):
        raise OSError(errno.ENOTSUP, "this system cannot share a port between processes (it has no SO_REUSEPORT)")
    listener.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_REUSEPORT, 1)


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


def host_and_port(address: Any) -> tuple[Any, ...]:
    """The host and port to listen on, for IPv6 perhaps with flow and scope.

    Raises:
        TypeError: it is not an address.
        ValueError: the text is not "host:port", or there is no such port.
    """
    if isinstance(address, str):
        address = read_address(address, "listen on")
    elif isinstance(address, int) and not isinstance(address, bool):
        address = "", address
    if not is_socket_address(address):
        raise TypeError(f"cannot listen on {address!r}: not (host, port), a port, host:port or a listening socket")
    if not is_port(address[1], least=0):
        raise ValueError(f"cannot listen on {address!r}: the port must be from 0 to 65535")
    return tuple(address)
