"""`ProxyOpener`: every connection and datagram through a proxy, and nothing past it."""

from __future__ import annotations

from typing import Any

import gevent

from geventbt import limits
from geventbt.errors import FetchError, ProxyError
from geventbt.net.addresses import Address
from geventbt.net.datagrams import DatagramConnection, DatagramSocket
from geventbt.net.opener import DirectOpener
from geventbt.net.proxy.http_connect import tunnel
from geventbt.net.proxy.relay import Association, RelayConnection, RelaySocket
from geventbt.net.proxy.socks import ASSOCIATE, CONNECT, Steps, negotiate
from geventbt.net.proxy.url import SOCKS5, ProxyURL
from geventbt.net.resolve import Endpoint, resolve


class ProxyOpener:
    """Opens all sockets by way of a proxy: an `Opener`.

    Args:
        proxy: the proxy.
        direct: leads to the proxy, and nowhere else.
    """

    def __init__(self, proxy: ProxyURL, direct: DirectOpener) -> None:
        self._proxy = proxy
        self._direct = direct

    def resolve(self, host: str, port: int, *, family: int = 0, datagram: bool = False) -> list[Endpoint]:
        """See `Opener`. Names are left to the proxy."""
        return resolve(host, port, family=family, datagram=datagram, by_proxy=True)

    def connect(self, endpoint: Endpoint, timeout: float | None, source_address: Address | None) -> Any:
        with gevent.Timeout(timeout, TimeoutError(f"no connection through the proxy {self._proxy} in time")):
            return self._open(endpoint.address, timeout, source_address)

    def connect_udp(
        self, endpoint: Endpoint, timeout: float, source_address: Address | None = None
    ) -> DatagramConnection:
        """See `Opener`. The proxy sends from an address of its own."""
        with gevent.Timeout(timeout, TimeoutError(f"no datagrams through the proxy {self._proxy} in time")):
            association = self.associate()
            try:
                socket = self._direct.connect_udp(association.relay, limits.PROXY_TIMEOUT)
            except BaseException:
                association.close()
                raise
        return RelayConnection(association, socket, endpoint.address)

    def open_udp(self, address: Address) -> DatagramSocket:
        """See `Opener`. The address is not bound, and says the family only: the proxy has a port of its own."""
        if self._proxy.kind != SOCKS5:
            raise self._no_udp()
        return RelaySocket(self.associate, self._direct, is_ipv6=":" in address[0])

    def associate(self) -> Association:
        """Have the proxy relay datagrams; blocks until it does.

        Raises:
            OSError: it does not.
        """
        if self._proxy.kind != SOCKS5:
            raise self._no_udp()
        control = self._connect_to_proxy(None, None)
        try:
            # From any port of ours: that of the socket is not known to a proxy behind a router.
            _, port = _run(control, negotiate(self._proxy, ASSOCIATE, ("0.0.0.0", 0)), self._proxy)
            if not port:
                raise ProxyError(f"the proxy {self._proxy} names no port for datagrams")
            # At the proxy's own address, whatever it says: nothing is to go anywhere else.
            name = control.getpeername()
            return Association(control, Endpoint(control.family, (name[0], port, *name[2:])))
        except BaseException:
            control.close()
            raise

    def _open(self, target: Address, timeout: float | None, source_address: Address | None) -> Any:
        sock = self._connect_to_proxy(timeout, source_address)
        try:
            if self._proxy.kind == SOCKS5:
                _run(sock, negotiate(self._proxy, CONNECT, target), self._proxy)
            else:
                _run(sock, tunnel(self._proxy, target), self._proxy)
        except BaseException:
            sock.close()
            raise
        return sock

    def _connect_to_proxy(self, timeout: float | None, source_address: Address | None) -> Any:
        failure: OSError | None = None
        try:
            for endpoint in self._direct.resolve(self._proxy.host, self._proxy.port):
                try:
                    return self._direct.connect(endpoint, timeout, source_address)
                except OSError as error:
                    failure = failure or error
        except FetchError as error:
            failure = error
        assert failure is not None
        reason = failure.strerror or str(failure)
        raise ProxyError(f"the proxy {self._proxy} cannot be reached: {reason}") from failure

    def _no_udp(self) -> ProxyError:
        return ProxyError(f"the proxy {self._proxy} carries no UDP")


def _run(sock: Any, steps: Steps, proxy: ProxyURL) -> Address:
    """Have a conversation with the proxy over a socket, and return its outcome. Nothing behind it is read."""
    try:
        step = next(steps)
        while True:
            if isinstance(step, bytes):
                sock.sendall(step)
                step = next(steps)
            else:
                step = steps.send(_receive(sock, step, proxy))
    except StopIteration as end:
        result: Address = end.value
        return result


def _receive(sock: Any, count: int, proxy: ProxyURL) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise ProxyError(f"the proxy {proxy} closed the connection without an answer")
        data += part
    return bytes(data)
