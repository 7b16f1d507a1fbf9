"""A UDP socket on the hub: datagrams are handed to a receiver as they come, without a greenlet."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, Protocol

import gevent
from gevent import socket as gevent_socket

from geventbt.concurrency.hubs import drop_socket_in_child
from geventbt.net.addresses import Address
from geventbt.net.interface import Interface

_log = logging.getLogger("geventbt")

_MAX_DATAGRAM = 65536
_BUFFER = 1 << 20
"""Bytes that may wait in the system while the hub is busy; it gives as much of it as it may."""
_DRAIN = 32
"""Datagrams that are read before other greenlets have their turn."""


class DatagramReceiver(Protocol):
    """What gets the datagrams. It is called by the hub and must not block."""

    def receive(self, data: bytes, address: Address) -> None:
        """Take a datagram from an address."""

    def drained(self) -> None:
        """No more have come for the moment."""


class DatagramSocket(Protocol):
    """Sends datagrams to any address: a socket, or a relay of a proxy."""

    @property
    def address(self) -> Address:
        """The (host, port) that it is bound to; port 0 where others cannot send to it first."""

    @property
    def is_closed(self) -> bool:
        """Whether it is closed."""

    def send(self, data: bytes, address: Address) -> bool:
        """Send a datagram to an (IP address, port). Returns whether it was taken; it may be lost all the same."""

    def close(self) -> None:
        """Close it."""


class UdpSocket:
    """A bound UDP socket of one address family.

    Args:
        address: (host, port) to bind to; the host is an IP address, "" for all of IPv4 or "::" for all of IPv6.
        receiver: gets what comes.
        shared: other programs may bind to the same port, as they do to that of a multicast group.
        interface: what to bind to; None for any device.

    Raises:
        OSError: it cannot be bound.
    """

    def __init__(
        self,
        address: Address,
        receiver: DatagramReceiver,
        *,
        shared: bool = False,
        interface: Interface | None = None,
    ) -> None:
        family = gevent_socket.AF_INET6 if ":" in address[0] else gevent_socket.AF_INET
        self._receiver = receiver
        self._sock: Any = gevent_socket.socket(family, gevent_socket.SOCK_DGRAM)
        try:
            if family == gevent_socket.AF_INET6:
                # IPv4 has a socket of its own, or addresses would come in two forms.
                self._sock.setsockopt(gevent_socket.IPPROTO_IPV6, gevent_socket.IPV6_V6ONLY, 1)
            self._sock.setsockopt(gevent_socket.SOL_SOCKET, gevent_socket.SO_RCVBUF, _BUFFER)
            if shared:
                self._share()
            if interface is None:
                self._sock.bind(address)
            else:
                interface.bind(self._sock, address)
            self._sock.setblocking(False)
        except BaseException:
            self._sock.close()
            raise
        self.address: Address = self._sock.getsockname()[:2]
        self._watcher = gevent.get_hub().loop.io(self._sock.fileno(), 1)
        self._watcher.start(self._read)
        drop_socket_in_child(self)

    def send(self, data: bytes, address: Address) -> bool:
        """Send a datagram. Returns whether the system took it; where it does not, it is lost as others are on the way.

        Args:
            data: the datagram.
            address: (IP address, port).
        """
        try:
            self._sock.sendto(data, address)
        except OSError:
            return False
        return True

    def set_option(self, level: int, name: int, value: bytes | int) -> None:
        """Set an option of the socket.

        Raises:
            OSError: the system does not take it.
        """
        self._sock.setsockopt(level, name, value)

    def _share(self) -> None:
        self._sock.setsockopt(gevent_socket.SOL_SOCKET, gevent_socket.SO_REUSEADDR, 1)
        if hasattr(gevent_socket, "SO_REUSEPORT") and not sys.platform.startswith("linux"):
            # On Linux it would give each datagram to one of them only.
            self._sock.setsockopt(gevent_socket.SOL_SOCKET, gevent_socket.SO_REUSEPORT, 1)

    def fileno(self) -> int:
        """The descriptor; -1 when it is closed."""
        return int(self._sock.fileno())

    @property
    def is_closed(self) -> bool:
        """Whether it is closed."""
        return bool(self._sock.closed)

    def close(self) -> None:
        """Close it; what has come and was not read is lost."""
        self._watcher.close()
        self._sock.close()

    def _read(self) -> None:
        receive: Callable[[bytes, Address], None] = self._receiver.receive
        try:
            for _ in range(_DRAIN):
                try:
                    data, address = self._sock.recvfrom(_MAX_DATAGRAM)
                except BlockingIOError:
                    break
                except OSError:
                    # Some systems report here that an earlier datagram of ours reached no socket.
                    continue
                receive(data, address[:2])
            self._receiver.drained()
        except Exception:
            # The hub would print it, and go on as well.
            _log.exception("a datagram could not be handled")
