"""`Interface`: the one device or address of this machine that sockets are bound to."""

from __future__ import annotations

import errno
import socket as plain_socket
import sys
from typing import Any

from gevent import socket as gevent_socket

from geventbt.net.addresses import Address, is_ip_address
from geventbt.net.text import clean_text

_IP_BOUND_IF, _IPV6_BOUND_IF = 25, 125
"""What macOS has in the place of SO_BINDTODEVICE."""


class Interface:
    """A network device, such as "tun0", or an IP address of this machine. Nothing is sent from elsewhere.

    Args:
        name: of the device, or the address.

    Raises:
        OSError: there is no such device or address, or the system does not bind sockets to devices.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.address = name if is_ip_address(name) else None
        self.device = None if self.address else name
        self.index = 0
        if self.device is not None:
            self.index = _index_of(self.device)
        # Now, for a clear error; and each socket is bound anew, as a device may go and come back.
        probe = gevent_socket.socket(self.family or gevent_socket.AF_INET, gevent_socket.SOCK_DGRAM)
        try:
            self.bind(probe, ("", 0))
        finally:
            probe.close()

    @property
    def family(self) -> int:
        """The address family of sockets that can be bound to it; 0 for both."""
        if self.address is None:
            return 0
        return gevent_socket.AF_INET6 if ":" in self.address else gevent_socket.AF_INET

    def attach(self, sock: Any) -> None:
        """Bind a socket to the device; nothing is done for an address.

        Raises:
            OSError: the device is gone.
        """
        if self.device is None:
            return
        try:
            if hasattr(gevent_socket, "SO_BINDTODEVICE"):
                name = self.device.encode()
                sock.setsockopt(gevent_socket.SOL_SOCKET, gevent_socket.SO_BINDTODEVICE, name + b"\0")
            elif sys.platform == "darwin":
                level, option = gevent_socket.IPPROTO_IP, _IP_BOUND_IF
                if sock.family == gevent_socket.AF_INET6:
                    level, option = gevent_socket.IPPROTO_IPV6, _IPV6_BOUND_IF
                sock.setsockopt(level, option, _index_of(self.device))
            else:
                raise OSError(errno.ENOTSUP, "this system binds sockets to addresses only; give the device's address")
        except OSError as error:
            raise self._error(error) from None

    def bind(self, sock: Any, address: Address) -> None:
        """Bind a socket to the device, and to an address.

        Args:
            sock: the socket.
            address: (host, port); the host "" is the interface's own address, if it is one.

        Raises:
            OSError: the interface is gone, the address is not one of it, or is of the other family.
        """
        self.attach(sock)
        host, port = address[:2]
        if self.address is not None and host in ("", "0.0.0.0", "::"):
            if sock.family != self.family:
                raise OSError(errno.EAFNOSUPPORT, f"interface {self.name}: it is an address of the other family")
            host = self.address
        if not host and sock.family == gevent_socket.AF_INET6:
            host = "::"
        try:
            sock.bind((host, port))
        except OSError as error:
            raise self._error(error) from None

    def _error(self, error: OSError) -> OSError:
        reason = "there is no such device" if error.errno == errno.ENODEV else error.strerror or str(error)
        if error.errno == errno.EADDRNOTAVAIL and self.address is not None:
            reason = "it is not an address of this machine"
        return OSError(error.errno, f"interface {clean_text(self.name)}: {reason}")


def _index_of(device: str) -> int:
    try:
        return plain_socket.if_nametoindex(device)
    except (OSError, ValueError):
        known = ", ".join(name for _, name in plain_socket.if_nameindex())
        text = f"interface {clean_text(device)}: there is no such device or address; there are {known}"
        raise OSError(errno.ENODEV, text) from None
