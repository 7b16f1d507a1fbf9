"""`OwnPort`: where peers reach a client: what listens, and all that has the same number or tells it to others."""

from __future__ import annotations

import logging
from collections.abc import Callable

from geventbt import limits
from geventbt.client.context import ClientContext
from geventbt.client.services import listen_beside, open_dht, open_lsd, open_mapper, open_utp
from geventbt.discovery.trackers.udp_port import TrackerPort
from geventbt.net.udp_port import UdpPort
from geventbt.wire.listeners import ListenAddress, ListeningSocket
from geventbt.wire.server import PeerServer
from geventbt.wire.transports.base import TCP
from geventbt.wire.transports.utp_ports import OwnPorts, UtpPorts

_log = logging.getLogger("geventbt")

_LEAVE_TIMEOUT = 1.0
"""Seconds for the peers of a port that is left."""


class OwnPort:
    """The port of a client. It tells the `ClientContext` what there is.

    Args:
        context: of the client; its DHT is the one that is handed in, or None.
        open_server: makes what listens.
        port: to listen on; 0 for a free one, None to not listen. Or a socket that listens.
        host: the IP address to listen on; "" for all.
        dht: whether to open a node of the DHT.
        lsd: whether to find peers in the local network.
        port_mapping: whether to have the router let peers through.

    Attributes:
        server: what listens, or None.

    Raises:
        OSError: the port is taken.
    """

    def __init__(
        self,
        context: ClientContext,
        open_server: Callable[[ListenAddress], PeerServer],
        port: int | ListeningSocket | None,
        host: str,
        *,
        dht: bool,
        lsd: bool,
        port_mapping: bool,
    ) -> None:
        self._context = context
        self._open_server = open_server
        self._host = host
        self._maps = port_mapping
        self._utp: UtpPorts | None = None
        self.server: PeerServer | None = None
        if port is not None:
            self._use(self._open(port))
        udp = self._open_udp()
        context.udp = self._trackers = TrackerPort(udp)
        has_own_dht = dht and context.network.carries_udp
        self._own_dht = open_dht(self._host, udp, listens=context.port is not None) if has_own_dht else None
        context.dht = self._own_dht or context.dht
        if lsd and context.port is not None:
            context.lsd = open_lsd(self._host, context.ports, context.network)
        self._map()

    def _open(self, port: int | ListeningSocket) -> PeerServer:
        if not isinstance(port, int):
            server = self._open_server(port)
            self._host = _host_of(server)
            return server
        if port:
            return self._open_server((self._host, port))
        return listen_beside(self._context.dht, self._host, self._open_server)

    def _use(self, server: PeerServer) -> None:
        context, host = self._context, _host_of(server)
        self.server = server
        context.ports = server.ports
        context.port = server.ports.ipv4 or server.ports.ipv6
        context.listens_at = None if host in ("", "0.0.0.0", "::") else host
        context.listens_for_utp = server.utp is not None
        context.utp = server.utp or OwnPorts(network=context.network)

    def _open_udp(self) -> UdpPort:
        """The UDP port that DHT, uTP and trackers share."""
        context = self._context
        if self.server is not None and self.server.udp.families:
            udp = self.server.udp
        elif context.dht is None:
            udp = UdpPort.at(context.network, self._host, 0)
        else:
            udp = context.dht.udp
        if context.network.is_proxied and context.transport != TCP:
            udp, self._utp = open_utp(udp)
            context.utp = self._utp
        return udp

    def _map(self) -> None:
        context = self._context
        if self._maps and context.port is not None:
            context.mapper = open_mapper(context, self._host, takes_utp=context.listens_for_utp)

    def move(self, port: int) -> None:
        """Listen on another port, with all that shares it; see `Client.listen_on`."""
        before = self.server
        if before is None or self._context.port is None:
            raise ValueError(f"cannot listen on port {port}: the client does not listen")
        server = self._open_server((self._host, port))
        dht = self._context.dht
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
        """Listen no more, and give back what was opened.

        Args:
            timeout: seconds for the peers, and for the router.
        """
        self._unmap(min(timeout, limits.MAPPING_STOP_TIMEOUT))
        if self.server is not None:
            self.server.stop(timeout)
        if self._utp is not None:
            self._utp.close()
        if self._own_dht is not None:
            self._own_dht.close()
        if self._context.lsd is not None:
            self._context.lsd.close()


def _host_of(server: PeerServer) -> str:
    """The host that a server listens on, as `listen` takes it: "" for both families, and for a Unix socket."""
    is_of_one_family = (server.ports.ipv4 is None) != (server.ports.ipv6 is None)
    return str(server.server_host) if is_of_one_family else ""
