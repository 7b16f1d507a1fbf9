"""What a client opens beside its torrents: its port, uTP, a node of the DHT, local discovery, port mapping."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from geventbt import limits
from geventbt.client.context import ClientContext
from geventbt.client.options import ClientOptions
from geventbt.discovery.trackers.udp_port import TrackerPort
from geventbt.net.addresses import Ports, Scope, scope_of
from geventbt.net.network import Network
from geventbt.net.udp_port import UdpPort
from geventbt.wire.listeners import ListeningSocket
from geventbt.wire.server import PeerServer, listen
from geventbt.wire.torrent_lookup import TorrentLookup
from geventbt.wire.transports.base import TCP
from geventbt.wire.transports.encryption import EncryptionPolicy
from geventbt.wire.transports.utp_ports import OwnPorts, UtpPorts

if TYPE_CHECKING:
    from geventbt.discovery.dht.dht import DHT
    from geventbt.discovery.local import LocalDiscovery
    from geventbt.net.mapping.mapper import PortMapper, Wanted
    from geventbt.wire.server_signal_types import PeerHandler

_log = logging.getLogger("geventbt")

_LEAVE_TIMEOUT = 1.0
"""Seconds for the peers of a port that is left."""


class ClientServices:
    """The services of one client, opened together. What the torrents need of them is put into the context.

    Args:
        options: of the client.
        context: what all torrents of the client share.
        torrents: those that peers are taken for.
        accept: takes an inbound peer, on a greenlet of its own.

    Attributes:
        server: what listens, or None.

    Raises:
        OSError: the port is taken, or the address is not ours. Nothing stays open.
    """

    def __init__(
        self,
        options: ClientOptions,
        context: ClientContext,
        torrents: TorrentLookup,
        accept: PeerHandler,
    ) -> None:
        self._options = options
        self._context = context
        self._torrents = torrents
        self._accept = accept
        self._host = options.host
        self.server: PeerServer | None = None
        self._own_utp: UtpPorts | None = None
        self._own_dht: DHT | None = None
        try:
            self._open()
        except BaseException:
            self.close(0)
            raise

    def _open(self) -> None:
        options, context = self._options, self._context
        if options.port is not None:
            self._use(self._listen(options.port))
        udp = self._open_udp()
        context.udp = self._trackers = TrackerPort(udp)
        if options.dht is True and options.network.carries_udp:
            self._own_dht = _open_dht(self._host, udp, listens=context.port is not None)
        context.dht = self._own_dht if isinstance(options.dht, bool) else options.dht
        if options.lsd and context.port is not None:
            context.lsd = _open_lsd(self._host, context.ports, options.network)
        self._map()

    def _use(self, server: PeerServer) -> None:
        context, host = self._context, _host_of(server)
        self.server = server
        server.on("peer_connected", self._accept)
        if not isinstance(self._options.port, int):
            self._host = host
        context.ports = server.ports
        context.port = server.ports.ipv4 or server.ports.ipv6
        context.listens_at = None if host in ("", "0.0.0.0", "::") else host
        context.listens_for_utp = server.utp is not None
        context.utp = server.utp or OwnPorts(network=context.network)

    def _map(self) -> None:
        context = self._context
        if self._options.port_mapping and context.port is not None:
            context.mapper = _open_mapper(context, self._host, takes_utp=context.listens_for_utp)

    def listen_on(self, port: int) -> None:
        """Listen on another port, with all that shares it; see `Client.listen_on`."""
        before, dht = self.server, self._context.dht
        if before is None or self._context.port is None:
            raise ValueError(f"cannot listen on port {port}: the client does not listen")
        server = self._listen(port)
        moves_dht = dht is not None and dht.port == self._context.port and dht.udp.hosts == before.udp.hosts
        self._use(server)
        self._trackers.move(server.udp)
        if dht is not None and moves_dht:
            try:
                dht.move(server.udp)
            except OSError as error:
                _log.info("the DHT stays on port %d: %s", dht.port, error)
        if self._context.lsd is not None:
            self._context.lsd.ports = server.ports
        self._context.own_addresses.clear()
        before.stop(_LEAVE_TIMEOUT)
        self._unmap(limits.MAPPING_STOP_TIMEOUT)
        self._map()
        self._context.tell_port()
        _log.info("peers are taken on port %s now", self._context.port)

    def _unmap(self, timeout: float) -> None:
        mapper, self._context.mapper = self._context.mapper, None
        if mapper is not None:
            mapper.close(timeout)

    def close(self, timeout: float) -> None:
        """Close them all. Idempotent.

        Args:
            timeout: seconds for each of it.
        """
        self._unmap(min(timeout, limits.MAPPING_STOP_TIMEOUT))
        if self.server is not None:
            self.server.stop(timeout)
        if self._own_utp is not None:
            self._own_utp.close()
        if self._own_dht is not None:
            self._own_dht.close()
        if self._context.lsd is not None:
            self._context.lsd.close()

    def set_max_connections(self, connections: int) -> None:
        """Take more or fewer peers."""
        self._context.connections.max_connections = connections
        if self.server is not None:
            self.server.max_connections = connections + limits.PENDING_PEERS

    def set_encryption(self, policy: EncryptionPolicy) -> None:
        """Encrypt the connections that come later so."""
        self._context.encryption = policy
        if self.server is not None:
            self.server.encryption = policy

    def _listen(self, port: int | ListeningSocket) -> PeerServer:
        """Listen: where any port will do, on that of the node of the DHT that is handed in, if it is free, so that all
        protocols have one."""
        options, context = self._options, self._context
        open_server = partial(
            listen,
            reuse_port=options.reuse_port,
            info_hashes=self._torrents,
            encryption=context.encryption,
            # A peer that has shaken hands may take the place of another.
            max_connections=context.connections.max_connections + limits.PENDING_PEERS,
            max_per_address=options.max_per_address,
            exempt_loopback=options.exempt_loopback,
            network=options.network,
            transport=options.transport,
        )
        host, dht = self._host, options.dht
        if not isinstance(port, int):
            return open_server(port)
        if port == 0 and not isinstance(dht, bool) and _is_at(dht, host):
            with suppress(OSError):
                return open_server((host, dht.port))
        return open_server((host, port))

    def _open_udp(self) -> UdpPort:
        """The UDP port that DHT, uTP and trackers share."""
        options, server = self._options, self.server
        if server is not None and server.udp.families:
            udp = server.udp
        elif isinstance(options.dht, bool):
            udp = UdpPort.at(options.network, self._host, 0)
        else:
            udp = options.dht.udp
        if options.network.is_proxied and options.transport != TCP:
            udp, self._own_utp = _open_utp(udp)
            self._context.utp = self._own_utp
        return udp


def _is_at(dht: DHT, host: str) -> bool:
    """Whether a node of the DHT is bound to the address that a client is to listen on."""
    return bool(dht.port) and dht.udp.hosts == UdpPort.at(dht.network, host, 0).hosts


def _host_of(server: PeerServer) -> str:
    """The host that a server listens on, as `listen` takes it: "" for both families, and for a Unix socket."""
    is_of_one_family = (server.ports.ipv4 is None) != (server.ports.ipv6 is None)
    return str(server.server_host) if is_of_one_family else ""


def _open_utp(port: UdpPort) -> tuple[UdpPort, UtpPorts]:
    """uTP on a port, or on another one where another client of the same node of the DHT has it; and the port."""
    try:
        return port, UtpPorts(port)
    except OSError:
        other = UdpPort.at(port.network, "", 0)
        return other, UtpPorts(other)


def _open_dht(host: str, port: UdpPort, *, listens: bool) -> DHT:
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


def _open_lsd(host: str, ports: Ports, network: Network) -> LocalDiscovery | None:
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


def _open_mapper(context: ClientContext, host: str, *, takes_utp: bool) -> PortMapper | None:
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
