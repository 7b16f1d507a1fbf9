"""`UdpPort`: one UDP port number that several protocols share."""

from __future__ import annotations

import errno
from collections.abc import Iterable

from geventbt.net.addresses import Address
from geventbt.net.datagrams import DatagramSocket
from geventbt.net.network import Network


class UdpPort:
    """A port number over one address family or both, on whose sockets DHT, uTP and UDP trackers all are: so a router
    in between gives all of them one port.

    A socket is opened for the first protocol that uses it, and closed after the last one. Through a proxy there is an
    association for each family, and no port.

    Args:
        network: opens the sockets.
        addresses: (host, port) to bind to, at most one of each family; see `UdpSocket`. With port 0 both get the same
            free port.
    """

    def __init__(self, network: Network, addresses: Iterable[Address]) -> None:
        self.network = network
        self._addresses = {":" in address[0]: address for address in addresses}
        self._sockets: dict[bool, DatagramSocket] = {}
        self._number = 0

    @classmethod
    def at(cls, network: Network, host: str, port: int) -> UdpPort:
        """A port at an IP address; "" for all of both families."""
        return cls(network, [(host, port)] if host else [("", port), ("::", port)])

    @property
    def hosts(self) -> set[str]:
        """The addresses that it is bound to: "0.0.0.0" and "::" for all."""
        return {host or "0.0.0.0" for host, _ in self._addresses.values()}

    @property
    def families(self) -> list[bool]:
        """The address families that it has, IPv4 first: for each, whether it is IPv6."""
        return sorted(self._addresses)

    def open(self, *, is_ipv6: bool) -> DatagramSocket:
        """The socket of a family, for one more protocol, which is to give it a receiver.

        Raises:
            OSError: it cannot be bound, or the port is not of this family.
        """
        known = self._sockets.get(is_ipv6)
        if known is not None and not known.is_closed:
            return known
        if is_ipv6 not in self._addresses:
            raise OSError(errno.EAFNOSUPPORT, f"no socket of {'IPv6' if is_ipv6 else 'IPv4'}")
        host, port = self._addresses[is_ipv6]
        opened = self._sockets[is_ipv6] = self.network.open_udp((host, port or self._number))
        self._number = opened.address[1]
        return opened
