"""`Network`: the one way out. Whatever opens a socket or looks up a name does it through one."""

from __future__ import annotations

import errno
from typing import Any

from geventbt.arguments import check_texts, given
from geventbt.concurrency.threads import in_thread
from geventbt.net.addresses import Address
from geventbt.net.datagrams import DatagramConnection, DatagramSocket
from geventbt.net.interface import Interface
from geventbt.net.ip_filter import NO_FILTER, IPFilter
from geventbt.net.ip_ranges import IPRanges, read_ip_filter
from geventbt.net.opener import DirectOpener, Opener
from geventbt.net.proxy.url import SOCKS5, parse_proxy
from geventbt.net.resolve import Endpoint


class Network:
    """How the network is used: directly or through a proxy, over which interface, and which hosts are left alone.

    One may be shared by clients, nodes of the DHT and single connections. With a proxy nothing at all goes past it:
    names are looked up by the proxy, nothing listens, and what it cannot carry is not sent. SOCKS5 carries UDP, where
    the proxy offers it (UDP ASSOCIATE), and HTTP does not.

    Args:
        proxy: ``socks5://user:password@host:port`` or ``http://user:password@host:port``; None for none. The name of
            the proxy itself is looked up directly.
        interface: the name of a device, such as "tun0", or an IP address of this machine, which all sockets are bound
            to; None for any. Names are looked up by name servers that are asked over it.
        ip_filter: the path of a file of ranges (.p2p, .dat or CIDR, also packed by gzip), or ranges such as
            "10.0.0.0/8" or "10.0.0.0-10.0.0.255": what is in one of them is not connected to, accepted or asked. None
            for no filter.

    Raises:
        ValueError: not the URL of a proxy, or not ranges; or the environment names something that is not a name server.
        OSError: there is no such interface, or the file of ranges cannot be read.
        TypeError: an argument has another type.
    """

    def __init__(
        self, *, proxy: str | None = None, interface: str | None = None, ip_filter: IPRanges | None = None
    ) -> None:
        check_texts(**given(proxy=proxy, interface=interface))
        self.interface = None if interface is None else Interface(interface)
        self.failed: set[Endpoint] = set()
        """Those that could not be connected to the last time: of use where a server has others."""
        self._filter: IPFilter = NO_FILTER
        self._opener: Opener = DirectOpener(self.interface)
        self._proxy = None if proxy is None else parse_proxy(proxy)
        if self._proxy is not None:
            # Only now: most programs use none.
            from geventbt.net.proxy.opener import ProxyOpener

            self._opener = ProxyOpener(self._proxy, DirectOpener(self.interface))
        if ip_filter is not None:
            self.set_ip_filter(ip_filter)

    def __repr__(self) -> str:
        # Without the password of the proxy.
        interface = self.interface.name if self.interface else None
        return f"Network(proxy={str(self._proxy) if self._proxy else None!r}, interface={interface!r})"

    @property
    def is_proxied(self) -> bool:
        """Whether all goes through a proxy, so that nothing can listen."""
        return self._proxy is not None

    @property
    def carries_udp(self) -> bool:
        """Whether datagrams can be sent; a proxy that should carry them may refuse to."""
        return self._proxy is None or self._proxy.kind == SOCKS5

    @property
    def is_default(self) -> bool:
        """Whether sockets are opened as without a network: there is neither a proxy nor an interface."""
        return self._proxy is None and self.interface is None

    @property
    def host(self) -> str:
        """The IP address to listen on where no other is given: that of the interface; "" for all."""
        return self.interface.address or "" if self.interface is not None else ""

    def set_ip_filter(self, ip_filter: IPRanges) -> None:
        """Put another filter in the place of the one that holds, in one step, once all of it has been read.

        Blocks the greenlet, and not the hub, while a file is read.

        Args:
            ip_filter: see `Network`; ``()`` for none.

        Raises:
            ValueError: not ranges.
            OSError: the file cannot be read.
        """
        self._filter = in_thread(read_ip_filter, ip_filter)

    def blocks(self, host: str) -> bool:
        """Whether the filter blocks an IP address. It does not know names."""
        return self._filter is not NO_FILTER and self._filter.blocks(host)

    def resolve(self, host: str, port: int, *, family: int = 0, datagram: bool = False) -> list[Endpoint]:
        """Look up a name, or leave that to the proxy; see `geventbt.net.resolve.resolve`."""
        return self._opener.resolve(host, port, family=family, datagram=datagram)

    def connect(self, endpoint: Endpoint, timeout: float | None = None, source_address: Address | None = None) -> Any:
        """A TCP socket of gevent that is connected to an endpoint; see `Opener`."""
        self.check(endpoint)
        return self._opener.connect(endpoint, timeout, source_address)

    def connect_udp(
        self, endpoint: Endpoint, timeout: float, source_address: Address | None = None
    ) -> DatagramConnection:
        """A UDP socket that is connected to an endpoint; see `Opener`."""
        self.check(endpoint)
        return self._opener.connect_udp(endpoint, timeout, source_address)

    def open_udp(self, address: Address) -> DatagramSocket:
        """A UDP socket without a receiver; see `Opener`. The filter is the business of who uses it."""
        return self._opener.open_udp(address)

    def source_host(self, endpoint: Endpoint) -> str:
        """Our IP address in what goes to an endpoint, directly. Nothing is sent.

        Raises:
            OSError: it cannot be reached.
        """
        return DirectOpener(self.interface).source_host(endpoint)

    def bind(self, sock: Any, address: tuple[Any, ...]) -> None:
        """Bind a socket that is to listen.

        Raises:
            OSError: the address is taken or not ours; or there is a proxy.
        """
        if self.is_proxied:
            raise OSError(errno.EOPNOTSUPP, "cannot listen: all goes through a proxy")
        if self.interface is None:
            sock.bind(address)
        else:
            self.interface.bind(sock, address)

    def check(self, endpoint: Endpoint) -> None:
        """See that an endpoint is not blocked by the filter. Raises: ConnectionRefusedError."""
        if self.blocks(endpoint.host):
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"{endpoint.host} is blocked by the IP filter")


DIRECT = Network()
"""The network as it is, without a proxy, an interface or a filter."""
