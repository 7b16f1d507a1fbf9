"""uTP on a port number, over one address family or both; and on a port of its own for each connection."""

from __future__ import annotations

import errno
from typing import Protocol

from geventbt.net.addresses import Address
from geventbt.net.network import DIRECT, Network
from geventbt.net.udp_port import UdpPort
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
    """The endpoints of one UDP port.

    Args:
        port: the port, all of whose sockets are used.
        acceptor: takes the connections that peers open; None takes none.

    Raises:
        OSError: one of the sockets cannot be bound.
    """

    def __init__(self, port: UdpPort, acceptor: UtpAcceptor | None = None) -> None:
        self._endpoints: dict[bool, UtpEndpoint] = {}
        try:
            for is_ipv6 in port.families:
                self._endpoints[is_ipv6] = UtpEndpoint(port.open(is_ipv6=is_ipv6), acceptor)
        except OSError:
            self.close()
            raise

    def connect(self, address: Address, timeout: float) -> UtpTransport:
        """Open a connection from this port; see `UtpConnector`."""
        endpoint = self._endpoints.get(":" in address[0])
        if endpoint is None:
            reason = "no socket of its address family"
            raise OSError(errno.EAFNOSUPPORT, f"cannot connect to {address[0]} over uTP: {reason}")
        return endpoint.connect(address, timeout)

    def close(self) -> None:
        """End all connections, and leave the port."""
        for endpoint in self._endpoints.values():
            endpoint.close()


class OwnPorts:
    """Opens each connection from a port of its own, which is free again when the connection is closed.

    Args:
        source_address: the (host, port) to connect from, or None for any.
        network: opens the sockets.
    """

    def __init__(self, source_address: Address | None = None, network: Network = DIRECT) -> None:
        self._source_address = source_address
        self._network = network

    def connect(self, address: Address, timeout: float) -> UtpTransport:
        """Open a connection; see `UtpConnector`."""
        source = self._source_address or ("::" if ":" in address[0] else "", 0)
        endpoint = UtpEndpoint(self._network.open_udp(source), closes_when_idle=True)
        return endpoint.connect(address, timeout)
