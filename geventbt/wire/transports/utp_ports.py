"""uTP on a port number, over one address family or both; and on a port of its own for each connection."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Protocol

from geventbt.net.addresses import Address
from geventbt.wire.transports.utp import UtpTransport
from geventbt.wire.transports.utp_endpoint import UtpAcceptor, UtpEndpoint


class UtpConnector(Protocol):
    """Opens uTP connections."""

    def connect(self, address: Address, timeout: float) -> UtpTransport:
        """Open a connection; blocks.

        Args:
            address: (IP address, port).
            timeout: seconds.

        Raises:
            OSError: it is refused, or there is no answer in time.
        """


class UtpPorts:
    """The endpoints of one port number.

    Args:
        addresses: (host, port) to bind to, at most one of each family.
        acceptor: takes the connections that peers open; None takes none.

    Raises:
        OSError: one of them cannot be bound.
    """

    def __init__(self, addresses: Sequence[Address], acceptor: UtpAcceptor | None = None) -> None:
        self._endpoints: list[UtpEndpoint] = []
        try:
            for address in addresses:
                self._endpoints.append(UtpEndpoint(address, acceptor))
        except OSError:
            self.close()
            raise

    def connect(self, address: Address, timeout: float) -> UtpTransport:
        """Open a connection from this port; see `UtpConnector`."""
        for endpoint in self._endpoints:
            if endpoint.is_ipv6 == (":" in address[0]):
                return endpoint.connect(address, timeout)
        raise OSError(errno.EAFNOSUPPORT, f"cannot connect to {address[0]} over uTP: no socket of its address family")

    def close(self) -> None:
        """End all connections, and free the port."""
        for endpoint in self._endpoints:
            endpoint.close()


class OwnPorts:
    """Opens each connection from a port of its own, which is free again when the connection is closed.

    Args:
        source_address: the (host, port) to connect from, or None for any.
    """

    def __init__(self, source_address: Address | None = None) -> None:
        self._source_address = source_address

    def connect(self, address: Address, timeout: float) -> UtpTransport:
        """Open a connection; see `UtpConnector`."""
        source = self._source_address or ("::" if ":" in address[0] else "", 0)
        endpoint = UtpEndpoint(source, closes_when_idle=True)
        return endpoint.connect(address, timeout)
