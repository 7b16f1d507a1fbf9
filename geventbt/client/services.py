"""What a client opens beside its port: its network, a node of the DHT, local discovery, port mapping."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from geventbt.client.context import ClientContext
from geventbt.net.addresses import Ports, Scope, scope_of
from geventbt.net.ip_ranges import IPRanges
from geventbt.net.network import DIRECT, Network

if TYPE_CHECKING:
    from geventbt.discovery.dht.dht import DHT
    from geventbt.discovery.local import LocalDiscovery
    from geventbt.net.mapping.base import Transport
    from geventbt.net.mapping.mapper import PortMapper

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


def open_dht(host: str = "", port: int | None = None, network: Network = DIRECT) -> DHT:
    """A node of the DHT for a client: on the UDP port with the number of its TCP port, if that is free.

    Args:
        host: the address that the client listens on.
        port: its port; None if it does not listen, so that its node only asks (BEP 43).
        network: opens its sockets.
    """
    # Only now: it is a fifth of what a client imports.
    from geventbt.discovery.dht.dht import DHT

    try:
        return DHT(port or 0, host, read_only=port is None, network=network)
    except OSError:
        return DHT(0, host, read_only=port is None, network=network)


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

    wanted: list[tuple[Transport, int]] = []
    if context.ports.ipv4 is not None:
        wanted.append(("tcp", context.ports.ipv4))
        if takes_utp:
            wanted.append(("udp", context.ports.ipv4))
    if context.dht is not None and ("udp", context.dht.port) not in wanted:
        wanted.append(("udp", context.dht.port))
    return open_port_mapper(context.network, host, wanted, context)
