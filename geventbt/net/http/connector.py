"""Where the sockets of HTTP connections come from: the one place to put a proxy, a limit or an interface into."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from geventbt import limits
from geventbt.net.http.policy import AddressPolicy
from geventbt.net.http.url import Origin
from geventbt.net.resolve import Endpoint, resolve
from geventbt.net.tcp import connect_first, interleaved

if TYPE_CHECKING:
    from gevent import ssl


class Connected(NamedTuple):
    """A TCP connection to a server.

    Attributes:
        sock: the socket of gevent.
        address: the server's IP address; None where a proxy looks it up.
    """

    sock: Any
    address: str | None


class Connector(Protocol):
    """Opens TCP connections."""

    def connect(self, origin: Origin, policy: AddressPolicy) -> Connected:
        """Connect to a server; the caller has set a deadline.

        Raises:
            FetchError: there is no such name, or none of its addresses is allowed.
            OSError: no address can be connected to.
        """


class DirectConnector:
    """Connects to the addresses of a name itself: IPv6 and IPv4 in turns, those that failed last time at the end."""

    def __init__(self) -> None:
        # Also used by several native threads at a time, each with its hub.
        self._failed: set[Endpoint] = set()

    def connect(self, origin: Origin, policy: AddressPolicy) -> Connected:
        found = resolve(origin.host, origin.port, family=policy.family)
        allowed = [endpoint for endpoint in found if policy.allows(endpoint.host)]
        if not allowed:
            raise policy.refusal(origin.host)
        endpoints = sorted(interleaved(allowed), key=self._failed.__contains__)
        # Until one of them answers, all of them have failed: also where the deadline passes.
        if len(self._failed) > limits.HTTP_FAILED_ADDRESSES:
            self._failed.clear()
        self._failed.update(endpoints)
        sock, endpoint = connect_first(endpoints, limits.HTTP_NEXT_ADDRESS)
        self._failed.difference_update(endpoints[endpoints.index(endpoint) :])
        return Connected(sock, endpoint.host)


DIRECT = DirectConnector()
"""Shared by all that fetch without a proxy."""


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
