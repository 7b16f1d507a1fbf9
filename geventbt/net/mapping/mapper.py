"""`PortMapper`: keeps ports mapped by every protocol that works, until it is closed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Protocol, TypeAlias

import gevent
from gevent.event import Event
from gevent.socket import AF_INET

from geventbt import limits
from geventbt.concurrency.greenlets import spawn
from geventbt.net.addresses import Scope, scope_of
from geventbt.net.interface import Interface
from geventbt.net.mapping import ssdp
from geventbt.net.mapping.announcements import RouterAnnouncements
from geventbt.net.mapping.base import MappingFailed, PortMapping, Router, Transport
from geventbt.net.mapping.gateway import default_gateway, default_gateway_ipv6, named_gateway
from geventbt.net.mapping.pinhole_router import PinholeRouter
from geventbt.net.mapping.pmp_router import PmpRouter
from geventbt.net.mapping.upnp_router import UpnpRouter
from geventbt.net.network import Network
from geventbt.net.resolve import Endpoint

_log = logging.getLogger("geventbt")

Wanted: TypeAlias = tuple[Transport, int]
"""A port that is to be mapped."""


class MappingListener(Protocol):
    """Uses what is mapped."""

    def on_mapped(self, mapping: PortMapping) -> None:
        """A port is mapped, or mapped to another one than before. It must not block."""


class PortMapper:
    """Maps ports by several protocols side by side, renews the mappings, and removes them at the end.

    Args:
        routers: the protocols, the first of them the preferred one, each with the ports that it is asked for.
        listener: is notified of what is mapped.
    """

    def __init__(self, routers: Iterable[tuple[Router, Sequence[Wanted]]], listener: MappingListener) -> None:
        self._keepers = [_Keeper(router, wanted, listener) for router, wanted in routers]
        self._greenlets = [spawn("port mapping", keeper.run) for keeper in self._keepers]
        self._announcements: RouterAnnouncements | None = None

    @property
    def mappings(self) -> tuple[PortMapping, ...]:
        """Those that hold now, of the preferred protocol first."""
        return tuple(mapping for keeper in self._keepers for mapping in keeper.mappings.values())

    def find(self, transport: Transport, *, is_ipv6: bool = False) -> PortMapping | None:
        """The first mapping of a transport and an address family."""
        found = (mapping for mapping in self.mappings if mapping.transport == transport)
        return next((mapping for mapping in found if mapping.is_ipv6 == is_ipv6), None)

    def renew(self) -> None:
        """Renew all mappings soon."""
        for keeper in self._keepers:
            keeper.renew()

    def listen_to(self, gateway: str, interface: Interface | None) -> None:
        """Renew the mappings when the gateway says that it has been started anew, where that can be heard."""
        try:
            self._announcements = RouterAnnouncements(gateway, self, interface)
        except OSError as error:
            _log.info("announcements of the router are not heard: %s", error)

    def close(self, timeout: float = limits.MAPPING_STOP_TIMEOUT) -> None:
        """Remove the mappings; blocks for at most `timeout` seconds."""
        if self._announcements is not None:
            self._announcements.close()
        gevent.killall(self._greenlets)
        ending = [spawn("ending a port mapping", keeper.end) for keeper in self._keepers]
        gevent.joinall(ending, timeout)
        gevent.killall(ending)


class _Keeper:
    """Keeps ports mapped by one protocol."""

    def __init__(self, router: Router, wanted: Sequence[Wanted], listener: MappingListener) -> None:
        self.mappings: dict[tuple[Transport, int], PortMapping] = {}
        self._listener = listener
        self._router = router
        self._wanted = wanted
        self._news = Event()
        self._said = ""

    def renew(self) -> None:
        """Renew them soon."""
        self._news.set()

    def run(self) -> None:
        """Map the ports, and renew the mappings, until it is killed."""
        retry = limits.MAPPING_RETRY
        while True:
            started = monotonic()
            self._news.clear()
            for transport, port in self._wanted:
                self._map(transport, port)
            if len(self.mappings) == len(self._wanted):
                retry = limits.MAPPING_RETRY
                wait = self._renews_after()
            else:
                wait = min(retry, self._renews_after())
                retry = min(2 * retry, limits.MAX_MAPPING_RETRY)
            gevent.sleep(limits.MIN_MAPPING_WAIT)
            self._news.wait(max(0.0, started + wait - monotonic()))

    def end(self) -> None:
        """Remove what is mapped."""
        for key, mapping in list(self.mappings.items()):
            del self.mappings[key]
            try:
                self._router.unmap(mapping)
            except MappingFailed as error:
                _log.info("%s: port %d is not given back: %s", self._router.name, mapping.external_port, error)

    def _map(self, transport: Transport, port: int) -> None:
        key = transport, port
        before = self.mappings.get(key)
        try:
            mapping = self._router.map(transport, port, before.external_port if before else port)
        except MappingFailed as error:
            self.mappings.pop(key, None)
            self._note_failure(str(error))
            return
        self.mappings[key] = mapping
        if before is None or _place(before) != _place(mapping):
            where = mapping.external_host or "the router"
            _log.info("%s: %s port %d of %s leads to us", mapping.protocol, transport, mapping.external_port, where)
            self._said = ""
            self._listener.on_mapped(mapping)

    def _renews_after(self) -> float:
        """Seconds until the mapping that ends first is halfway there."""
        lifetimes = [mapping.lifetime or limits.MAPPING_LIFETIME for mapping in self.mappings.values()]
        return min([*lifetimes, limits.MAPPING_LIFETIME]) / 2

    def _note_failure(self, text: str) -> None:
        # Once: the next tries will not be different.
        if text != self._said:
            self._said = text
            _log.info("no port is mapped by %s: %s", self._router.name, text)


def _place(mapping: PortMapping) -> tuple[str | None, int]:
    return mapping.external_host, mapping.external_port


def open_port_mapper(
    network: Network, host: str, wanted: Sequence[Wanted], wanted_ipv6: Sequence[Wanted], listener: MappingListener
) -> PortMapper | None:
    """Map ports by PCP or NAT-PMP at the default gateway, and by UPnP; over IPv6 have firewalls opened, by PCP and
    UPnP.

    Args:
        network: opens the sockets.
        host: the IP address that we listen on; "" for all.
        wanted, wanted_ipv6: the ports over each family.
        listener: see `PortMapper`.

    Returns:
        None where no router is to be asked: with a proxy, for this machine alone, and where the environment says so.

    Raises:
        ValueError: the environment names a router that is not one.
    """
    named = named_gateway()
    if named == "" or network.is_proxied or (host and scope_of(host) is Scope.LOOPBACK):
        return None
    device = network.interface.device if network.interface is not None else None
    routers: list[tuple[Router, Sequence[Wanted]]] = []
    gateway = (named or default_gateway(device)) if wanted else None
    if wanted:
        routers += [(router, wanted) for router in _routers(network, host, gateway, named)]
    gateway_ipv6 = default_gateway_ipv6(device) if wanted_ipv6 and named is None else None
    if gateway_ipv6 is not None:
        pinholes = PinholeRouter(network, gateway_ipv6.device, host="" if host == "::" else host)
        routers += [(PmpRouter(network, gateway_ipv6.host), wanted_ipv6), (pinholes, wanted_ipv6)]
    if not routers:
        return None
    mapper = PortMapper(routers, listener)
    if gateway is not None:
        mapper.listen_to(gateway, network.interface)
    return mapper


def _routers(network: Network, host: str, gateway: str | None, named: str | None) -> list[Router]:
    """The ways to ask for ports over IPv4."""
    routers: list[Router] = []
    own = host.replace("0.0.0.0", "")
    if gateway is not None:
        routers.append(PmpRouter(network, gateway))
        with suppress(OSError):
            own = own or network.source_host(Endpoint(AF_INET, (gateway, 1)))
    search = ssdp.PORTS._replace(group=(named, ssdp.PORTS.group[1])) if named else ssdp.PORTS
    routers.append(UpnpRouter(network, gateway or "", search=search, host=own))
    return routers
