"""`UpnpRouter`: finds a router of UPnP in the local network, and asks it for ports.

Of the libraries for it, miniupnpc blocks in C, for seconds and in a native thread of its own, and the others need
asyncio or requests. What a client needs of UPnP is three actions.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import closing
from time import monotonic

from gevent.queue import Empty, Full, Queue
from gevent.socket import AF_INET

from geventbt import limits
from geventbt.errors import FetchError
from geventbt.net.addresses import Address, is_ip_address
from geventbt.net.deadline import deadline
from geventbt.net.http.connection import HTTPConnection
from geventbt.net.http.url import URL
from geventbt.net.mapping import igd, ssdp
from geventbt.net.mapping.base import MappingFailed, PortMapping, Transport
from geventbt.net.network import Network
from geventbt.net.resolve import Endpoint

_DESCRIPTION = "geventbt"
_FIRST_OTHER_PORT, _OTHER_PORTS = 40000, 10000
"""Where a port is looked for in the place of one that is taken (libtorrent)."""


class UpnpRouter:
    """A router that is found by UPnP: a `Router`.

    Args:
        network: opens the sockets.
        gateway: the IPv4 address of our gateway, if it is known.
        group: where routers are looked for.
        host: our IPv4 address in the network of the router; "" for any.
    """

    name = "upnp"

    def __init__(
        self, network: Network, gateway: str | None = None, *, group: Address = ssdp.GROUP, host: str = ""
    ) -> None:
        self._network = network
        self._gateway = gateway
        self._group = group
        self._host = host
        self._service: igd.Service | None = None
        self._holds_for_ever = False
        self._rng = random.Random()

    def map(self, transport: Transport, port: int, external_port: int) -> PortMapping:
        """See `Router`."""
        if self._service is not None:
            try:
                return self._map_at(self._service, transport, port, external_port)
            except MappingFailed:
                # It may have another address by now.
                self._service = None
        failure = MappingFailed("no router answers")
        with closing(self._locations()) as locations:
            for url in locations:
                try:
                    for service in self._services(url):
                        mapping = self._map_at(service, transport, port, external_port)
                        self._service = service
                        return mapping
                except MappingFailed as error:
                    failure = error
        raise failure

    def unmap(self, mapping: PortMapping) -> None:
        """See `Router`."""
        if self._service is not None:
            self._act(self._service, "DeletePortMapping", _key(mapping.external_port, mapping.transport))

    # ------------------------------------------------------------------ finding

    def _locations(self) -> Generator[URL, None, None]:
        """The descriptions of routers, as they answer."""
        inbox = _Inbox()
        try:
            socket = self._network.open_udp((self._host or "0.0.0.0", 0))
            socket.set_receiver(inbox)
        except OSError as error:
            raise MappingFailed(f"no router can be looked for: {error.strerror or error}") from None
        seen: set[URL] = set()
        try:
            for search in ssdp.pack_searches() * 2:
                socket.send(search, self._group)
            ends = monotonic() + ssdp.MX + limits.UPNP_SLACK
            while len(seen) < limits.UPNP_ROUTERS and (answer := inbox.get(ends)):
                url = ssdp.parse_answer(answer[0], answer[1][0], self._gateway)
                if url is not None and url not in seen:
                    seen.add(url)
                    yield url
        finally:
            socket.leave(inbox)

    def _services(self, url: URL) -> list[igd.Service]:
        data = self._ask(url, None, {})
        services = igd.parse_description(data, url)
        if not services:
            raise MappingFailed("it is not a router that maps ports")
        return services[: limits.UPNP_ROUTERS]

    # ------------------------------------------------------------------ actions

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
            self._act(service, "AddPortMapping", arguments)
        except igd.ActionFailed as error:
            if error.code == igd.CONFLICT or not lifetime:
                raise
            # Some say so (725), and others just refuse.
            self._act(service, "AddPortMapping", arguments | {"NewLeaseDuration": 0})
            self._holds_for_ever = True
            return 0
        return lifetime

    def _own_host(self, service: igd.Service) -> str:
        """Our IP address, as the router sees it."""
        try:
            return self._network.source_host(_endpoint(service.control))
        except OSError as error:
            raise MappingFailed(f"it cannot be reached: {error.strerror or error}") from None

    def _external_host(self, service: igd.Service) -> str | None:
        try:
            host = igd.parse_result(self._act(service, "GetExternalIPAddress", {}), "NewExternalIPAddress")
        except MappingFailed:
            return None
        # It maps ports of IPv4 alone.
        return host if is_ip_address(host) and ":" not in host else None

    def _act(self, service: igd.Service, action: str, arguments: dict[str, object]) -> bytes:
        body, headers = igd.pack_action(service, action, arguments)
        return self._ask(service.control, body, headers)

    def _ask(self, url: URL, body: bytes | None, headers: dict[str, str]) -> bytes:
        """Get what is at a URL, or what comes when a body is posted there. Redirects are not followed."""
        seconds = limits.MAPPING_TIMEOUT
        try:
            with (
                deadline(seconds, f"no answer within {seconds:g} seconds"),
                HTTPConnection(
                    url.origin, connect_timeout=seconds, timeout=seconds, network=self._network
                ) as connection,
            ):
                headers = headers | {"Connection": "close"}
                response = connection.get(url, headers) if body is None else connection.post(url, body, headers)
                data = response.read(limits.UPNP_ANSWER)
        except FetchError as error:
            raise MappingFailed(str(error)) from None
        if response.is_success:
            return data
        raise igd.parse_fault(data, response.status)


class _Inbox:
    """Keeps the first datagrams; a `DatagramReceiver`."""

    def __init__(self) -> None:
        self._queue: Queue = Queue(limits.UPNP_ANSWERS)

    def receive(self, data: bytes, address: Address) -> None:
        """See `DatagramReceiver`."""
        try:
            self._queue.put_nowait((data, address))
        except Full:
            return

    def drained(self) -> None:
        """See `DatagramReceiver`."""

    def get(self, ends: float) -> tuple[bytes, Address] | None:
        """Block for the next datagram; None if none comes in time."""
        try:
            item: tuple[bytes, Address] = self._queue.get(timeout=max(0.0, ends - monotonic()))
        except Empty:
            return None
        return item


def _key(external_port: int, transport: Transport) -> dict[str, object]:
    return {"NewRemoteHost": "", "NewExternalPort": external_port, "NewProtocol": transport.upper()}


def _endpoint(url: URL) -> Endpoint:
    return Endpoint(AF_INET, (url.origin.host, url.origin.port))
