"""`UpnpRouter`: asks a router of UPnP for ports, over IPv4 (WANIPConnection and WANPPPConnection)."""

from __future__ import annotations

import random

from gevent.socket import AF_INET

from geventbt import limits
from geventbt.net.addresses import is_ip_address
from geventbt.net.mapping import igd, ssdp
from geventbt.net.mapping.base import MappingFailed, PortMapping, Transport
from geventbt.net.mapping.control_point import ControlPoint
from geventbt.net.network import Network
from geventbt.net.resolve import Endpoint

_KINDS = ("WANIPConnection", "WANPPPConnection")
_DESCRIPTION = "geventbt"
_FIRST_OTHER_PORT, _OTHER_PORTS = 40000, 10000
"""Where a port is looked for in the place of one that is taken (libtorrent)."""


class UpnpRouter:
    """A router that is found by UPnP: a `Router`.

    Args:
        network: opens the sockets.
        gateway: the IPv4 address of our gateway; "" if it is not known.
        search: finds routers.
        host: our IPv4 address in the network of the router; "" for any.
    """

    name = "upnp"

    def __init__(
        self, network: Network, gateway: str = "", *, search: ssdp.Search = ssdp.PORTS, host: str = ""
    ) -> None:
        self._network = network
        self._routers = ControlPoint(network, search, _KINDS)
        self._routers.host, self._routers.near = host, gateway
        self._holds_for_ever = False
        self._rng = random.Random()

    def map(self, transport: Transport, port: int, external_port: int) -> PortMapping:
        return self._routers.use(lambda service: self._map_at(service, transport, port, external_port))

    def unmap(self, mapping: PortMapping) -> None:
        key = _key(mapping.external_port, mapping.transport)
        self._routers.use_known(lambda service: self._routers.act(service, "DeletePortMapping", key))

    def _map_at(self, service: igd.Service, transport: Transport, port: int, external_port: int) -> PortMapping:
        for _ in range(limits.UPNP_PORTS):
            try:
                lifetime = self._add(service, transport, port, external_port)
            except igd.ActionFailed as error:
                if error.code != igd.CONFLICT:
                    raise
                external_port = _FIRST_OTHER_PORT + self._rng.randrange(_OTHER_PORTS)
                continue
            return PortMapping(self.name, transport, port, external_port, self._external_host(service), lifetime)
        raise MappingFailed("the port is taken, and others as well")

    def _add(self, service: igd.Service, transport: Transport, port: int, external_port: int) -> int:
        """Add a mapping, for a time if the router can do that. Returns the time, or 0."""
        lifetime = 0 if self._holds_for_ever else limits.MAPPING_LIFETIME
        arguments = _key(external_port, transport) | {
            "NewInternalPort": port,
            "NewInternalClient": self._own_host(service),
            "NewEnabled": 1,
            "NewPortMappingDescription": _DESCRIPTION,
            "NewLeaseDuration": lifetime,
        }
        try:
            self._routers.act(service, "AddPortMapping", arguments)
        except igd.ActionFailed as error:
            if error.code == igd.CONFLICT or not lifetime:
                raise
            # Some say so (725), and others just refuse.
            self._routers.act(service, "AddPortMapping", arguments | {"NewLeaseDuration": 0})
            self._holds_for_ever = True
            return 0
        return lifetime

    def _own_host(self, service: igd.Service) -> str:
        """Our IP address, as the router sees it."""
        router = service.control.origin
        try:
            return self._network.source_host(Endpoint(AF_INET, (router.host, router.port)))
        except OSError as error:
            raise MappingFailed(f"it cannot be reached: {error.strerror or error}") from None

    def _external_host(self, service: igd.Service) -> str | None:
        try:
            answer = self._routers.act(service, "GetExternalIPAddress", {})
            host = igd.parse_result(answer, "NewExternalIPAddress")
        except MappingFailed:
            return None
        # It maps ports of IPv4 alone.
        return host if is_ip_address(host) and ":" not in host else None


def _key(external_port: int, transport: Transport) -> dict[str, object]:
    return {"NewRemoteHost": "", "NewExternalPort": external_port, "NewProtocol": transport.upper()}
