"""`PmpRouter`: asks the gateway for ports by PCP, or over IPv4 by NAT-PMP where it knows no PCP."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from socket import if_nametoindex
from time import monotonic
from typing import TypeVar

from gevent.socket import AF_INET, AF_INET6

from geventbt import limits
from geventbt.concurrency.turns import let_others_run
from geventbt.net.addresses import Address
from geventbt.net.datagrams import DatagramConnection
from geventbt.net.mapping import nat_pmp, pcp
from geventbt.net.mapping.base import OUTSIDE_IPV6, MappingFailed, PortMapping, Transport
from geventbt.net.network import Network
from geventbt.net.resolve import Endpoint

_MAX_ANSWER = 1100
"""Bytes of the longest answer of PCP (RFC 6887, 7)."""

T = TypeVar("T")


class PmpRouter:
    """A gateway that speaks PCP or NAT-PMP: a `Router`.

    Args:
        network: opens the sockets.
        gateway: its IP address; one of an IPv6 link has its device as well, as in "fe80::1%eth0".
        port: on which it is asked.
    """

    def __init__(self, network: Network, gateway: str, *, port: int = nat_pmp.PORT) -> None:
        self._network = network
        self._is_ipv6 = ":" in gateway
        self._endpoint = _endpoint(gateway, port)
        self._outside = _endpoint(OUTSIDE_IPV6, port) if "%" in gateway else self._endpoint
        self._nonces: dict[tuple[Transport, int], bytes] = {}
        self._knows_pcp = True

    @property
    def name(self) -> str:
        return "pcp" if self._knows_pcp else "nat-pmp"

    def map(self, transport: Transport, port: int, external_port: int) -> PortMapping:
        if self._knows_pcp:
            try:
                return self._map_by_pcp(transport, port, external_port, limits.MAPPING_LIFETIME)
            except pcp.VersionRefused:
                if self._is_ipv6:
                    raise
                self._knows_pcp = False
        return self._map_by_nat_pmp(transport, port, external_port, limits.MAPPING_LIFETIME)

    def unmap(self, mapping: PortMapping) -> None:
        if mapping.protocol == "pcp":
            self._map_by_pcp(mapping.transport, mapping.port, mapping.external_port, 0)
        else:
            self._map_by_nat_pmp(mapping.transport, mapping.port, 0, 0)

    def _map_by_pcp(self, transport: Transport, port: int, external_port: int, lifetime: int) -> PortMapping:
        nonce = self._nonces.setdefault((transport, port), secrets.token_bytes(pcp.NONCE))
        try:
            own_host = self._network.source_host(self._outside)
        except OSError as error:
            raise MappingFailed(f"it cannot be reached: {error.strerror or error}") from None
        request = pcp.pack_map_request(nonce, transport, port, external_port, lifetime, own_host)
        source = (own_host, 0) if self._is_ipv6 else None
        mapped = self._ask(request, lambda data: pcp.parse_mapped(data, nonce, transport, port), source)
        if lifetime and not (mapped.external_port and mapped.lifetime):
            raise MappingFailed("it gives no port")
        return PortMapping("pcp", transport, port, mapped.external_port, mapped.external_host, mapped.lifetime)

    def _map_by_nat_pmp(self, transport: Transport, port: int, external_port: int, lifetime: int) -> PortMapping:
        request = nat_pmp.pack_map_request(transport, port, external_port, lifetime)
        mapped = self._ask(request, lambda data: nat_pmp.parse_mapped(data, transport, port))
        if lifetime and not (mapped.external_port and mapped.lifetime):
            raise MappingFailed("it gives no port")
        host = self._ask(nat_pmp.pack_address_request(), nat_pmp.parse_address) if lifetime else None
        return PortMapping("nat-pmp", transport, port, mapped.external_port, host, mapped.lifetime)

    def _ask(self, request: bytes, parse: Callable[[bytes], T | None], source: Address | None = None) -> T:
        """Send a request until its answer has come: after a quarter of a second, and then after twice as long each
        time (RFC 6886, 3.1)."""
        sock: DatagramConnection | None = None
        try:
            sock = self._network.connect_udp(self._endpoint, limits.MAPPING_TIMEOUT, source)
            for attempt in range(limits.PMP_ATTEMPTS):
                sock.send(request)
                answer = _receive(sock, parse, limits.PMP_FIRST_WAIT * 2**attempt)
                if answer is not None:
                    return answer
        except OSError as error:
            raise MappingFailed(f"it does not answer: {error.strerror or error}") from None
        finally:
            if sock is not None:
                sock.close()
        raise MappingFailed("it does not answer")


def _endpoint(host: str, port: int) -> Endpoint:
    if ":" not in host:
        return Endpoint(AF_INET, (host, port))
    address, _, device = host.partition("%")
    return Endpoint(AF_INET6, (address, port, 0, if_nametoindex(device) if device else 0))


def _receive(sock: DatagramConnection, parse: Callable[[bytes], T | None], seconds: float) -> T | None:
    """The answer, if it comes in time; other datagrams are left out."""
    ends = monotonic() + seconds
    while (now := monotonic()) < ends:
        sock.settimeout(ends - now)
        try:
            answer = parse(sock.recv(_MAX_ANSWER + 1))
        except TimeoutError:
            return None
        if answer is not None:
            return answer
        # A flood of others must not keep other greenlets from running.
        let_others_run()
    return None
