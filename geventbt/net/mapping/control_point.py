"""`ControlPoint`: finds routers of UPnP in the local network, and has them act.

Of the libraries for it, miniupnpc blocks in C, for seconds and in a native thread of its own, and the others need
asyncio or requests. What a client needs of UPnP is six actions.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from socket import IPPROTO_IPV6, IPV6_MULTICAST_IF, if_nametoindex
from time import monotonic
from typing import TypeVar

from gevent.queue import Empty, Full, Queue

from geventbt import limits
from geventbt.errors import FetchError
from geventbt.net.addresses import Address
from geventbt.net.datagrams import DatagramReceiver
from geventbt.net.deadline import deadline
from geventbt.net.http.connection import HTTPConnection
from geventbt.net.http.policy import AddressPolicy
from geventbt.net.http.url import URL
from geventbt.net.mapping import igd, ssdp
from geventbt.net.mapping.base import MappingFailed
from geventbt.net.network import Network
from geventbt.net.udp_socket import UdpSocket

T = TypeVar("T")


class ControlPoint:
    """Finds the routers that have a service, and has them act.

    Args:
        network: opens the sockets.
        search: finds them.
        kinds: the names of the services.
        device: where they are looked for over IPv6; "" for where the system does.

    Attributes:
        host: our IP address in the network of the routers; "" for any.
        near: see `ssdp.Search.parse_answer`.
    """

    def __init__(self, network: Network, search: ssdp.Search, kinds: tuple[str, ...], device: str = "") -> None:
        self.host = self.near = ""
        self._network = network
        self._search = search
        self._kinds = kinds
        self._device = device
        self._service: igd.Service | None = None

    def use(self, action: Callable[[igd.Service], T]) -> T:
        """Do something by the service that did it the last time, or else by the first that is found and does it.

        Raises:
            MappingFailed: none does it.
        """
        if self._service is not None:
            try:
                return action(self._service)
            except MappingFailed:
                # It may have another address by now.
                self._service = None
        failure = MappingFailed("no router answers")
        with closing(self._locations()) as locations:
            for url in locations:
                try:
                    return self._use_router(url, action)
                except MappingFailed as error:
                    failure = error
        raise failure

    def _use_router(self, url: URL, action: Callable[[igd.Service], T]) -> T:
        """Do something by the first service of a router that does it: of its connections perhaps only one is in use."""
        failure = MappingFailed("it is not a router that maps ports")
        for service in self._services(url):
            try:
                done = action(service)
            except MappingFailed as error:
                failure = error
            else:
                self._service = service
                return done
        raise failure

    def use_known(self, action: Callable[[igd.Service], object]) -> bool:
        """Do something by the service that did it the last time. Returns whether there is one.

        Raises:
            MappingFailed: it does not do it.
        """
        if self._service is None:
            return False
        action(self._service)
        return True

    def act(self, service: igd.Service, action: str, arguments: Mapping[str, object]) -> bytes:
        """Invoke an action.

        Returns:
            The answer; see `igd.parse_result`.

        Raises:
            igd.ActionFailed: the router refuses.
            MappingFailed: it does not answer.
        """
        body, headers = igd.pack_action(service, action, arguments)
        return self._ask(service.control, body, headers)

    def _locations(self) -> Generator[URL, None, None]:
        """The descriptions of routers, as they answer."""
        inbox = _Inbox()
        try:
            socket = self._open(inbox)
        except OSError as error:
            raise MappingFailed(f"no router can be looked for: {error.strerror or error}") from None
        seen: set[URL] = set()
        try:
            for question in self._search.pack() * 2:
                socket.send(question, self._search.group)
            ends = monotonic() + ssdp.MX + limits.UPNP_SLACK
            while len(seen) < limits.UPNP_ROUTERS and (answer := inbox.get(ends)):
                url = self._search.parse_answer(answer[0], answer[1][0], self.near)
                if url is not None and url not in seen:
                    seen.add(url)
                    yield url
        finally:
            socket.close()

    def _open(self, inbox: _Inbox) -> UdpSocket:
        any_host = "::" if ":" in self._search.group[0] else "0.0.0.0"
        socket = UdpSocket((self.host or any_host, 0), inbox, interface=self._network.interface)
        if self._device:
            try:
                index = struct.pack("@I", if_nametoindex(self._device))
                socket.set_option(IPPROTO_IPV6, IPV6_MULTICAST_IF, index)
            except OSError:
                socket.close()
                raise
        return socket

    def _services(self, url: URL) -> list[igd.Service]:
        return igd.parse_description(self._ask(url, None, {}), url, self._kinds)[: limits.UPNP_ROUTERS]

    def _ask(self, url: URL, body: bytes | None, headers: dict[str, str]) -> bytes:
        """Get what is at a URL, or what comes when a body is posted there. Redirects are not followed."""
        seconds, policy = limits.MAPPING_TIMEOUT, AddressPolicy(source=self.host or None)
        try:
            with (
                deadline(seconds, f"no answer within {seconds:g} seconds"),
                HTTPConnection(
                    url.origin, policy=policy, connect_timeout=seconds, timeout=seconds, network=self._network
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


class _Inbox(DatagramReceiver):
    """Keeps the first datagrams; a `DatagramReceiver`."""

    def __init__(self) -> None:
        self._queue: Queue = Queue(limits.UPNP_ANSWERS)

    def receive(self, data: bytes, address: Address) -> None:
        try:
            self._queue.put_nowait((data, address))
        except Full:
            return

    def get(self, ends: float) -> tuple[bytes, Address] | None:
        """Block for the next datagram; None if none comes in time."""
        try:
            item: tuple[bytes, Address] = self._queue.get(timeout=max(0.0, ends - monotonic()))
        except Empty:
            return None
        return item
