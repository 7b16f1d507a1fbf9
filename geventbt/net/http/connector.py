"""The sockets of HTTP connections."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from geventbt import limits
from geventbt.net.http.policy import AddressPolicy
from geventbt.net.http.url import Origin
from geventbt.net.network import Network
from geventbt.net.resolve import Endpoint
from geventbt.net.tcp import connect_first, interleaved

if TYPE_CHECKING:
    from gevent import ssl


class Connected(NamedTuple):
    """A TCP connection to a server.

    Attributes:
        sock: the socket of gevent.
        address: the server's IP address; None where a proxy has looked it up.
    """

    sock: Any
    address: str | None


def connect_to(origin: Origin, policy: AddressPolicy, network: Network) -> Connected:
    """Connect to a server: to IPv6 and IPv4 addresses in turns, those that failed last time at the end. The caller has
    set a deadline.

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
    sock, endpoint = connect_first(endpoints, limits.HTTP_NEXT_ADDRESS, network)
    failed.difference_update(endpoints[endpoints.index(endpoint) :])
    return Connected(sock, None if endpoint.is_name else endpoint.host)


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
