"""`PinholeRouter`: has a router of UPnP open its firewall over IPv6 (WANIPv6FirewallControl:1, of IGD:2)."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from gevent.socket import AF_INET6

from geventbt import limits
from geventbt.net.mapping import igd, ssdp
from geventbt.net.mapping.base import OUTSIDE_IPV6, MappingFailed, PortMapping, Transport
from geventbt.net.mapping.control_point import ControlPoint
from geventbt.net.network import Network
from geventbt.net.resolve import Endpoint

_KINDS = ("WANIPv6FirewallControl",)
_PROTOCOLS: dict[Transport, int] = {"tcp": 6, "udp": 17}

_ID_DIGITS = 5
"""Of what is below 65,536."""


class _Pinhole(NamedTuple):
    """An open way: the router's number for it, and the address that it leads to."""

    id: int
    host: str


class PinholeRouter:
    """A router whose firewall is opened by UPnP: a `Router`.

    All is asked from the address that peers are to reach: a router opens its firewall only for the host that asks.

    Args:
        network: opens the sockets.
        device: by which routers are reached; "" for where the system looks for them.
        search: finds them.
        host: the IPv6 address that peers are to reach; "" for that which others see.
    """

    name = "upnp"

    def __init__(
        self, network: Network, device: str = "", *, search: ssdp.Search = ssdp.PINHOLES, host: str = ""
    ) -> None:
        self._network = network
        self._host = host
        self._routers = ControlPoint(network, search, _KINDS, device)
        self._open: dict[tuple[Transport, int], _Pinhole] = {}

    def map(self, transport: Transport, port: int, external_port: int) -> PortMapping:
        try:
            host = self._host or self._network.source_host(Endpoint(AF_INET6, (OUTSIDE_IPV6, port)))
        except OSError as error:
            raise MappingFailed(f"it cannot be reached: {error.strerror or error}") from None
        self._routers.host = self._routers.near = host
        key = transport, port
        pinhole = self._open.pop(key, None)
        # That of an address that we had before ends by itself: a router takes no order for it from another one.
        if pinhole is None or pinhole.host != host or not self._renew(pinhole):
            pinhole = _Pinhole(self._routers.use(lambda service: self._add(service, transport, port, host)), host)
        self._open[key] = pinhole
        return PortMapping(self.name, transport, port, port, host, limits.MAPPING_LIFETIME)

    def unmap(self, mapping: PortMapping) -> None:
        pinhole = self._open.pop((mapping.transport, mapping.port), None)
        if pinhole is not None:
            arguments = {"UniqueID": pinhole.id}
            self._routers.use_known(lambda service: self._routers.act(service, "DeletePinhole", arguments))

    def _renew(self, pinhole: _Pinhole) -> bool:
        """Whether the router still has a pinhole, and keeps it."""
        arguments = {"UniqueID": pinhole.id, "NewLeaseTime": limits.MAPPING_LIFETIME}
        with suppress(MappingFailed):
            return self._routers.use_known(lambda service: self._routers.act(service, "UpdatePinhole", arguments))
        return False

    def _add(self, service: igd.Service, transport: Transport, port: int, host: str) -> int:
        """Have a way opened from everywhere. Returns its number."""
        arguments: dict[str, object] = {
            "RemoteHost": "",
            "RemotePort": 0,
            "InternalClient": host,
            "InternalPort": port,
            "Protocol": _PROTOCOLS[transport],
            "LeaseTime": limits.MAPPING_LIFETIME,
        }
        number = igd.parse_result(self._routers.act(service, "AddPinhole", arguments), "UniqueID")
        if not (number.isascii() and number.isdecimal() and len(number) <= _ID_DIGITS):
            raise MappingFailed("it answers without the number of what it opened")
        return int(number)
