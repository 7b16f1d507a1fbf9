"""The connections below HTTP: TCP, TLS where it is wanted, and how many there are to one host."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from geventbt import limits
from geventbt.concurrency.greenlets import spawn
from geventbt.errors import FetchError
from geventbt.net.deadline import deadline
from geventbt.net.http.policy import AddressPolicy
from geventbt.net.http.stream import Stream, reason_of
from geventbt.net.http.url import Origin
from geventbt.net.network import Network
from geventbt.net.resolve import Endpoint
from geventbt.net.tcp import connect_first, interleaved

if TYPE_CHECKING:
    from gevent import ssl


class TooManyConnections(FetchError):
    """As many connections to a host are open already as may be."""


class ConnectionLimit(Protocol):
    """Bounds the connections to each host."""

    def take(self, host: str) -> bool:
        """Count one more connection. Returns False if there are too many already."""

    def give_back(self, host: str) -> None:
        """Count one less."""


class Unlimited:
    """A `ConnectionLimit` that counts nothing."""

    def take(self, host: str) -> bool:
        return True

    def give_back(self, host: str) -> None:
        return


UNLIMITED = Unlimited()


class Link(NamedTuple):
    """An open connection to a server.

    Attributes:
        stream: its bytes; counted by the limit until it is closed.
        address: the server's IP address; None where a proxy has looked it up.
    """

    stream: Stream
    address: str | None


@dataclass(frozen=True)
class Connector:
    """Opens connections to one server.

    Attributes:
        origin: the server.
        policy: which addresses it may have.
        connect_timeout: seconds to look up the name, connect, and agree on TLS.
        timeout: seconds for each read.
        network: opens the sockets.
        limit: bounds the connections to the host.
    """

    origin: Origin
    policy: AddressPolicy
    connect_timeout: float
    timeout: float
    network: Network
    limit: ConnectionLimit

    def open(self) -> Link:
        """Connect to the server.

        Raises:
            TooManyConnections: the limit is reached.
            FetchError: it cannot be reached in time, or its certificate is not valid.
        """
        host = self.origin.host
        if not self.limit.take(host):
            raise TooManyConnections(f"{host}: as many connections are open as may be")
        try:
            sock, address = self._connected(host)
        except BaseException:
            self.limit.give_back(host)
            raise
        return Link(Stream(sock, host, self.timeout, partial(self.limit.give_back, host)), address)

    def _connected(self, host: str) -> tuple[Any, str | None]:
        """A socket that is ready for requests, and the server's IP address."""
        with deadline(self.connect_timeout, f"{host}: no connection within {self.connect_timeout:g} seconds"):
            try:
                sock, address = _connect(self.origin, self.policy, self.network)
                return self._secured(sock), address
            except FetchError:
                raise
            except (OSError, ValueError) as error:
                # A ValueError of TLS, for a name that no certificate can have.
                raise FetchError(f"{host}: {reason_of(error)}") from None

    def _secured(self, sock: Any) -> Any:
        """The socket, with TLS where the origin wants it."""
        if self.origin.scheme != "https":
            return sock
        try:
            sock = tls_context().wrap_socket(sock, server_hostname=self.origin.host, do_handshake_on_connect=False)
            sock.do_handshake()
        except BaseException:
            sock.close()
            raise
        return sock


class OpenedAhead:
    """A connection that is opened on a greenlet of its own before it is needed.

    Args:
        connector: opens it.
    """

    def __init__(self, connector: Connector) -> None:
        self._link: Link | None = None
        self._greenlet = spawn(f"connection to {connector.origin.host}", self._open, connector)

    def wait(self) -> Link | None:
        """Block until it is open; None if that failed. It is the caller's then."""
        self._greenlet.join()
        link, self._link = self._link, None
        return link

    def close(self) -> None:
        """Close it, or end the attempt to open it."""
        self._greenlet.kill()
        if self._link is not None:
            self._link.stream.close()

    def _open(self, connector: Connector) -> None:
        # What failed is found again by the request that needs a connection.
        with suppress(FetchError):
            self._link = connector.open()


def _connect(origin: Origin, policy: AddressPolicy, network: Network) -> tuple[Any, str | None]:
    """Connect to a server: to IPv6 and IPv4 addresses in turns, those that failed last time at the end. The caller has
    set a deadline.

    Returns:
        The socket of gevent, and the server's IP address; None where a proxy has looked it up.

    Raises:
        FetchError: there is no such name, or none of its addresses is allowed.
        OSError: no address can be connected to.
    """
    found = network.resolve(origin.host, origin.port, family=policy.family)
    allowed = [endpoint for endpoint in found if _is_allowed(endpoint, policy)]
    if not allowed:
        raise policy.refusal(origin.host)
    failed = network.failed
    endpoints = sorted(interleaved(allowed), key=failed.__contains__)
    # Until one of them answers, all of them have failed: also where the deadline passes.
    if len(failed) > limits.HTTP_FAILED_ADDRESSES:
        failed.clear()
    failed.update(endpoints)
    source = None if policy.source is None else (policy.source, 0)
    sock, endpoint = connect_first(endpoints, limits.HTTP_NEXT_ADDRESS, network, source)
    failed.difference_update(endpoints[endpoints.index(endpoint) :])
    return sock, None if endpoint.is_name else endpoint.host


def _is_allowed(endpoint: Endpoint, policy: AddressPolicy) -> bool:
    return policy.allows_name if endpoint.is_name else policy.allows(endpoint.host)


@cache
def tls_context() -> ssl.SSLContext:
    """The settings of every TLS connection: certificates and names are verified against those that the system trusts,
    or SSL_CERT_FILE says.

    It is made by hand, for `gevent.ssl.create_default_context` gives a context whose sockets block the hub wherever
    the program is not patched.
    """
    # Only now: TLS is not needed for most transfers.
    from gevent import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    return context
