"""What a client opens beside its port: its network, a node of the DHT, local discovery, port mapping."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from geventbt.client.context import ClientContext
from geventbt.net.addresses import Ports, Scope, scope_of
from geventbt.net.ip_ranges import IPRanges
from geventbt.net.network import Network
from geventbt.net.udp_port import UdpPort
from geventbt.wire.server import PeerServer
from geventbt.wire.transports.utp_ports import UtpPorts

if TYPE_CHECKING:
    from geventbt.discovery.dht.dht import DHT
    from geventbt.discovery.local import LocalDiscovery
    from geventbt.net.mapping.mapper import PortMapper, Wanted

_log = logging.getLogger("geventbt")


def network_of_options(
    network: Network | None, proxy: str | None, interface: str | None, ip_filter: IPRanges | None
) -> Network:
    """The network that the arguments of a client mean.

    Raises:
        ValueError: not the URL of a proxy, or not ranges; or both a network and others.
        OSError: there is no such interface, or the file of ranges cannot be read.
    """
    if network is None:
        return Network(proxy=proxy, interface=interface, ip_filter=ip_filter)
    if proxy is not None or interface is not None or ip_filter is not None:
        raise ValueError("proxy, interface and ip_filter are those of the network, where one is given")
    return network


def check_dht(dht: bool | DHT, network: Network) -> None:
    """See that a node that is handed in does not go past the proxy or interface of the client.

    Raises:
        ValueError: it does.
    """
    if not isinstance(dht, bool) and dht.network is not network and not network.is_default:
        raise ValueError("the DHT goes past the proxy or interface of the client: make both with the same network=")


def listen_beside(dht: DHT | None, host: str, listen: Callable[[tuple[str, int]], PeerServer]) -> PeerServer:
    """Listen on a port, where any will do: on that of a node of the DHT which is handed in, if it is free, so that all
    protocols have one.

    Args:
        dht: the node, or None.
        host: the address to listen on.
        listen: called with (host, port).

    Raises:
        OSError: nothing can listen at the address.
    """
    if dht is not None and dht.port and dht.udp.hosts == UdpPort.at(dht.network, host, 0).hosts:
        with suppress(OSError):
            return listen((host, dht.port))
    return listen((host, 0))


def open_utp(port: UdpPort) -> tuple[UdpPort, UtpPorts]:
    """uTP on a port, or on another one where another client of the same node of the DHT has it; and the port."""
    try:
        return port, UtpPorts(port)
    except OSError:
        other = UdpPort.at(port.network, "", 0)
        return other, UtpPorts(other)


def open_dht(host: str, port: UdpPort, *, listens: bool) -> DHT:
    """A node of the DHT for a client: on its UDP port, if that is free.

    Args:
        host: the address that the client listens on.
        port: the UDP port that its protocols share.
        listens: whether it takes connections; else its node only asks (BEP 43).
    """
    # Only now: it is a fifth of what a client imports.
    from geventbt.discovery.dht.dht import DHT

    try:
        return DHT(port, read_only=not listens)
    except OSError:
        return DHT(0, host, read_only=not listens, network=port.network)


def open_lsd(host: str, ports: Ports, network: Network) -> LocalDiscovery | None:
    """Local discovery for a client; None where no other machine could connect, or no interface takes multicast."""
    if scope_of(host) is Scope.LOOPBACK:
        return None
    from geventbt.discovery.local import LocalDiscovery

    device = network.interface.device if network.interface is not None else None
    try:
        return LocalDiscovery(ports, host, interfaces=None if device is None else [device])
    except OSError as error:
        _log.info("%s", error)
        return None


def open_mapper(context: ClientContext, host: str, *, takes_utp: bool) -> PortMapper | None:
    """Have the router let peers through to a client that listens on an address; None where none is to be asked."""
    # Only now: HTTP and XML come with it.
    from geventbt.net.mapping.mapper import open_port_mapper

    def wanted(port: int | None) -> list[Wanted]:
        if port is None:
            return []
        found: list[Wanted] = [("tcp", port), ("udp", port)] if takes_utp else [("tcp", port)]
        if context.dht is not None and ("udp", context.dht.port) not in found:
            found.append(("udp", context.dht.port))
        return found

    ports = context.ports
    return open_port_mapper(context.network, host, wanted(ports.ipv4), wanted(ports.ipv6), context)
