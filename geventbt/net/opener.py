"""`Opener`: opens sockets, directly or through a proxy; and `DirectOpener`. All outgoing sockets come from one."""

from __future__ import annotations

import errno
from typing import Any, Protocol

from gevent import socket as gevent_socket

from geventbt.net.addresses import Address
from geventbt.net.datagrams import DatagramConnection, DatagramSocket
from geventbt.net.interface import Interface
from geventbt.net.resolve import Endpoint, NameLookup, resolve
from geventbt.net.udp_socket import UdpSocket


class Opener(Protocol):
    """Looks up names, and opens sockets."""

    def resolve(self, host: str, port: int, *, family: int = 0, datagram: bool = False) -> list[Endpoint]:
        """Look up a name; see `geventbt.net.resolve.resolve`. The endpoint of one that a proxy looks up `is_name`."""

    def connect(self, endpoint: Endpoint, timeout: float | None, source_address: Address | None) -> Any:
        """A TCP socket that is connected to an endpoint.

        Args:
            endpoint: from `resolve`.
            timeout: seconds for it, and of the socket; None for no limit.
            source_address: the (host, port) to connect from, or None.

        Raises:
            OSError: it cannot be connected; a TimeoutError, not in time; a ProxyError, for a fault of the proxy.
        """

    def connect_udp(
        self, endpoint: Endpoint, timeout: float, source_address: Address | None = None
    ) -> DatagramConnection:
        """A UDP socket that is connected to an endpoint, which takes at most `timeout` seconds. Raises: OSError."""

    def open_udp(self, address: Address) -> DatagramSocket:
        """A UDP socket without a receiver; see `UdpSocket.at`. Raises: OSError."""


class DirectOpener:
    """Opens sockets on this machine: an `Opener`.

    Args:
        interface: what each is bound to; None for any device.

    Raises:
        ValueError: the environment names something that is not a name server.
    """

    def __init__(self, interface: Interface | None = None) -> None:
        self._interface = interface
        self._names: NameLookup | None = None
        if interface is not None:
            # Only now: most programs use none.
            from geventbt.net.name_servers import NameServers

            self._names = NameServers(self, interface).look_up

    def resolve(self, host: str, port: int, *, family: int = 0, datagram: bool = False) -> list[Endpoint]:
        """See `Opener`. With an interface, name servers are asked over it."""
        return resolve(host, port, family=family, datagram=datagram, names=self._names)

    def connect(self, endpoint: Endpoint, timeout: float | None, source_address: Address | None) -> Any:
        return self._connected(gevent_socket.SOCK_STREAM, endpoint, timeout, source_address)

    def connect_udp(
        self, endpoint: Endpoint, timeout: float, source_address: Address | None = None
    ) -> DatagramConnection:
        connected: DatagramConnection = self._connected(gevent_socket.SOCK_DGRAM, endpoint, timeout, source_address)
        return connected

    def open_udp(self, address: Address) -> DatagramSocket:
        return UdpSocket.at(address, self._interface)

    def source_host(self, endpoint: Endpoint) -> str:
        """Our IP address in what goes to an endpoint. Nothing is sent. Raises: OSError."""
        sock = self._connected(gevent_socket.SOCK_DGRAM, endpoint, None, None)
        try:
            return str(sock.getsockname()[0])
        finally:
            sock.close()

    def _connected(self, kind: int, endpoint: Endpoint, timeout: float | None, source_address: Address | None) -> Any:
        if endpoint.is_name:
            raise OSError(errno.EINVAL, f"{endpoint.host} was not looked up")
        sock = gevent_socket.socket(endpoint.family, kind)
        try:
            sock.settimeout(timeout)
            if self._interface is not None:
                self._interface.bind(sock, source_address or ("", 0))
            elif source_address is not None:
                sock.bind(source_address)
            sock.connect(endpoint.sockaddr)
        except BaseException:
            sock.close()
            raise
        return sock
