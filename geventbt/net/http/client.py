"""GETs that follow redirects, over connections that are kept, for one greenlet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from http import HTTPStatus
from time import monotonic

from geventbt import limits
from geventbt.errors import FetchError
from geventbt.net.http.connection import HTTPConnection, Response
from geventbt.net.http.connector import UNLIMITED, ConnectionLimit, TooManyConnections
from geventbt.net.http.policy import ANY, AddressPolicy
from geventbt.net.http.redirects import Destination, RedirectMemory
from geventbt.net.http.url import URL, Origin, parse_url, redirected
from geventbt.net.network import DIRECT, Network

_PERMANENT = (HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.PERMANENT_REDIRECT)
_SKIPPED_BODY = 16 * limits.KIB
"""Bytes of the body of a redirect that are read to keep the connection."""


class HTTPClient:
    """Fetches one URL after another, and follows at most `limits.REDIRECTS` redirects of each.

    A redirect never leads from HTTPS to HTTP, nor to another kind of address than it comes from: not from the internet
    to this machine or its network. A login, and a Cookie, go along to the same
    origin only. Where redirects have led is remembered,
    so that the next range of the same file is asked for there.

    Args:
        policy: which addresses the URLs may lead to.
        connect_timeout, timeout, network, limit: see `HTTPConnection`.
        redirects: where redirects have led; to be shared by the clients of one web seed. None for a new memory.
    """

    def __init__(
        self,
        *,
        policy: AddressPolicy = ANY,
        connect_timeout: float = limits.CONNECT_TIMEOUT,
        timeout: float = limits.HTTP_TIMEOUT,
        network: Network = DIRECT,
        limit: ConnectionLimit = UNLIMITED,
        redirects: RedirectMemory | None = None,
    ) -> None:
        self._policy = policy
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._network = network
        self._limit = limit
        self._last: HTTPConnection | None = None
        self._redirects = RedirectMemory() if redirects is None else redirects
        self._connections: OrderedDict[tuple[Origin, AddressPolicy], HTTPConnection] = OrderedDict()

    def get(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        range: tuple[int, int] | None = None,
    ) -> Response:
        """Ask for a URL, and block until the head of the answer is here that is not a redirect.

        Args:
            url: http or https.
            headers, range: see `HTTPConnection.get`.

        Returns:
            The answer, whatever its status otherwise. Its body is to be read before the next request.

        Raises:
            FetchError: see `HTTPConnection.get`; or the redirects are too many or lead where they must not.
        """
        wanted = parse_url(url)
        known = self._redirects.find(wanted, monotonic())
        if known is None:
            return self._follow(wanted, Destination(wanted, self._policy), headers, range)
        try:
            response = self._follow(wanted, known, headers, range)
        except TooManyConnections:
            raise
        except FetchError:
            if not self._redirects.failed(wanted):
                raise
        else:
            if response.status < HTTPStatus.BAD_REQUEST or not self._redirects.failed(wanted):
                return response
            response.discard(_SKIPPED_BODY)
        return self._follow(wanted, Destination(wanted, self._policy), headers, range)

    def open_ahead(self) -> None:
        """Begin to open a connection for the next request to the server of the last answer, if that ends its own."""
        if self._last is not None:
            self._last.open_ahead()

    def close(self) -> None:
        """Close the connections. The next request opens others."""
        for connection in self._connections.values():
            connection.close()

    def __enter__(self) -> HTTPClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _follow(
        self,
        wanted: URL,
        destination: Destination,
        headers: Mapping[str, str] | None,
        wanted_range: tuple[int, int] | None,
    ) -> Response:
        """Ask at a destination, and wherever the answers lead from there."""
        is_permanent = True
        for followed in range(1 + limits.REDIRECTS):
            connection = self._connection_to(destination)
            is_elsewhere = destination.url.origin != wanted.origin
            response = connection.get(
                destination.url, _without_cookies(headers) if is_elsewhere else headers, wanted_range
            )
            if not response.is_redirect:
                self._last = connection
                if followed:
                    self._redirects.remember(wanted, destination, monotonic(), is_permanent=is_permanent)
                return response
            is_permanent = is_permanent and response.status in _PERMANENT
            destination = _next(destination, response)
            response.discard(_SKIPPED_BODY)
        raise FetchError(f"{wanted.origin.host}: more than {limits.REDIRECTS} redirects")

    def _connection_to(self, destination: Destination) -> HTTPConnection:
        key = destination.url.origin, destination.policy
        connection = self._connections.get(key)
        if connection is None:
            connection = self._connections[key] = HTTPConnection(
                destination.url.origin,
                policy=destination.policy,
                connect_timeout=self._connect_timeout,
                timeout=self._timeout,
                network=self._network,
                limit=self._limit,
            )
        self._connections.move_to_end(key)
        if len(self._connections) > limits.HTTP_CONNECTIONS:
            self._connections.popitem(last=False)[1].close()
        return connection


def _without_cookies(headers: Mapping[str, str] | None) -> Mapping[str, str]:
    return {name: value for name, value in (headers or {}).items() if name.lower() != "cookie"}


def _next(destination: Destination, response: Response) -> Destination:
    url = redirected(destination.url, response.headers.get("location", ""))
    return Destination(url, destination.policy.after(response.address))
