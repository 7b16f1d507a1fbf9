"""State that all torrents of a client share: identity, limits and policy."""

from __future__ import annotations

import random
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING
from weakref import WeakSet

import gevent
from gevent.lock import BoundedSemaphore

from geventbt import limits
from geventbt.client.options import ClientOptions
from geventbt.client.peers.connect_limiter import ConnectLimiter
from geventbt.client.peers.connection_room import ConnectionRoom
from geventbt.client.peers.finder import Finder
from geventbt.client.peers.host_connections import HostConnections
from geventbt.client.peers.own_addresses import OwnAddresses
from geventbt.concurrency.hubs import is_current
from geventbt.discovery.announce_queue import AnnounceQueue
from geventbt.net.addresses import AddressKind, Ports, Scope, kind_of, scope_of
from geventbt.net.datagrams import DatagramConnector
from geventbt.peer_id import new_peer_id
from geventbt.rates.fair_rate import FairRate
from geventbt.rates.throttle import Throttle
from geventbt.rates.uplink_gate import UplinkGate
from geventbt.wire.transports.utp_ports import OwnPorts, UtpConnector

if TYPE_CHECKING:
    from geventbt.discovery.dht.dht import DHT
    from geventbt.discovery.local import LocalDiscovery
    from geventbt.net.mapping.base import PortMapping
    from geventbt.net.mapping.mapper import PortMapper


class ClientContext:
    """Identity, limits and policy of one client.

    Args:
        options: of the client.
        count_connections: returns the number of connections of all torrents.

    Attributes:
        now: the monotonic clock, in seconds.
        peer_id: our peer id, the same for all torrents.
        rng: chooses where nothing else does; one for all, since its state has 2.5 KiB.
        port: the port that we listen on, or None.
        ports: where we listen over each address family.
        listens_at: the one IP address that we listen on; None for all.
        mapper: maps our ports at the router, or None.
        encryption: see `ClientOptions`.
        network: opens all sockets.
        upload_slots: see `ClientOptions`.
        transport: see `ClientOptions`.
        utp: opens uTP connections: from the port that we listen on, if it takes them.
        listens_for_utp: whether it does.
        udp: opens connections to UDP trackers: from that port as well.
        limiter: bounds how many connections are opened at one time, and a second.
        hosts: bounds the connections to web seeds of one host.
        dht: the node by which peers are found, or None.
        lsd: finds peers in the local network, or None.
        down: the rate at which blocks are requested.
        up: the rate at which blocks are sent.
        uplink: has them wait while the uplink has a queue.
        connections: bounds how many there are.
        own_addresses: where we would connect to ourselves.
        announces: bounds how many announces to trackers are under way.
        default_trackers: announce URLs in tiers, to which torrents that are not private announce besides their own.
        port_users: tell others where we listen.
        checking: held while the data of a torrent is checked: one at a time, as the checks of several would take the
            native threads away from torrents that are being downloaded.
    """

    def __init__(self, options: ClientOptions, count_connections: Callable[[], int] = lambda: 0) -> None:
        self.now = monotonic
        self._hub = gevent.get_hub()
        self.peer_id = new_peer_id()
        self.rng = random.Random()
        self.port: int | None = None
        self.ports = Ports()
        self.listens_at: str | None = None
        self.mapper: PortMapper | None = None
        self.encryption = options.encryption
        self.network = options.network
        self.upload_slots = options.upload_slots
        self.transport = options.transport
        self.utp: UtpConnector = OwnPorts(network=options.network)
        self.listens_for_utp = False
        self.udp: DatagramConnector = options.network
        self.limiter = ConnectLimiter()
        self.hosts = HostConnections()
        self.dht: DHT | None = None
        self.lsd: LocalDiscovery | None = None
        self.down = FairRate(options.limit_down, monotonic())
        self.up = Throttle(options.limit_up)
        self.uplink = UplinkGate(monotonic)
        self.connections = ConnectionRoom(options.max_connections, count_connections)
        self.own_addresses = OwnAddresses()
        self.announces = AnnounceQueue(limits.TRACKER_ANNOUNCES, limits.ANNOUNCES)
        self.default_trackers: list[list[str]] = []
        self.port_users: WeakSet[Finder] = WeakSet()
        self.checking = BoundedSemaphore(1)
        self._places: dict[bool, tuple[int | None, str | None]] = {}

    def check_thread(self) -> None:
        """Raise RuntimeError in any native thread except the one that made the client, whose hub runs its greenlets."""
        if not is_current(self._hub):
            raise RuntimeError(
                "a client and its torrents can only be used in the native thread and process that made them"
            )

    @property
    def public_ports(self) -> Ports:
        """Where we can be reached from the internet over each address family: through the router, if it maps ports."""
        if self.mapper is None:
            return self.ports
        ports, ipv4, ipv6 = self.ports, self.mapper.find("tcp"), self.mapper.find("tcp", is_ipv6=True)
        return Ports(ipv4.external_port if ipv4 else ports.ipv4, ipv6.external_port if ipv6 else ports.ipv6)

    def port_for(self, host: str) -> int | None:
        """Where a peer at an IP address can reach us."""
        ports = self.public_ports if scope_of(host) is Scope.GLOBAL else self.ports
        return ports.over(host)

    def on_mapped(self, mapping: PortMapping) -> None:
        """See `MappingListener`: the router knows our address, and where it has changed all sources are informed."""
        host = mapping.external_host
        if self.dht is not None and host is not None and kind_of(host) is AddressKind.PUBLIC:
            self.dht.note_own_host(host)
        if self._has_moved(is_ipv6=mapping.is_ipv6):
            self.tell_port()

    def tell_port(self) -> None:
        """Have all sources told where peers reach us now."""
        for user in list(self.port_users):
            user.moved()

    def _has_moved(self, *, is_ipv6: bool) -> bool:
        """Whether peers reach us at another port or address than they did before."""
        mapping = None if self.mapper is None else self.mapper.find("tcp", is_ipv6=is_ipv6)
        if mapping is None:
            return False
        own = self.ports.ipv6 if is_ipv6 else self.ports.ipv4
        port, host = self._places.get(is_ipv6, (own, None))
        self._places[is_ipv6] = mapping.external_port, mapping.external_host
        return mapping.external_port != port or host not in (None, mapping.external_host)

    def set_limits(self, down: int | None, up: int | None) -> None:
        """Set the rates, in bytes a second; None for no limit."""
        self.down.set_rate(down, self.now())
        self.up.rate = up
