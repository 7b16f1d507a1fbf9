"""One request to one tracker over HTTP, HTTPS or UDP: `announce` and `scrape`, which block for the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from gevent.socket import AF_INET6

from geventbt import limits
from geventbt.arguments import check_instances, check_seconds, check_texts, several
from geventbt.concurrency.hubs import whole_call
from geventbt.discovery.trackers import udp
from geventbt.discovery.trackers.announce import (
    AnnounceRequest,
    AnnounceResponse,
    ScrapeResult,
    announce_url,
    merged,
    parse_announce,
    parse_scrape,
    scrape_url,
)
from geventbt.discovery.trackers.families import over_families
from geventbt.errors import FetchError, TrackerError
from geventbt.net.addresses import Scope, scope_of
from geventbt.net.datagrams import DatagramConnector
from geventbt.net.deadline import deadline
from geventbt.net.http.fetch import fetch
from geventbt.net.http.policy import AddressPolicy
from geventbt.net.network import DIRECT, Network
from geventbt.net.resolve import Endpoint
from geventbt.net.text import clean_text
from geventbt.peer_id import hash_or_id

T = TypeVar("T")

_PORTS = {"http": 80, "https": 443, "udp": 0}
"""The schemes, and the port where the URL gives none: UDP has none of its own."""


def announce(
    url: str, request: AnnounceRequest, *, timeout: float = limits.TRACKER_TIMEOUT, network: Network = DIRECT
) -> AnnounceResponse:
    """Announce to a tracker over HTTP, HTTPS or UDP, and block for its answer (BEP 3, 15).

    A tracker that has IPv4 and IPv6 addresses is asked over both, and the answers are merged (BEP 7). On this machine
    itself an HTTP tracker is only asked if its path begins with "/announce", since a torrent is untrusted, and other
    services of this machine may trust every local client.

    Args:
        url: the tracker's, from the torrent.
        request: what to say; see also `announcer.Announcer`, which says it at the right times.
        timeout: seconds for everything.
        network: opens the sockets: through a proxy, or from an interface.

    Raises:
        TrackerError: the tracker refuses, with its reason; cannot be reached; does not answer in time; or its answer is
            invalid. Or the URL has another scheme.
    """
    _check_question(url, timeout, network)
    check_instances(AnnounceRequest, request=request)
    return announce_from(network, url, request, timeout=timeout, network=network)


@whole_call
def announce_from(
    udp_connector: DatagramConnector,
    url: str,
    request: AnnounceRequest,
    *,
    timeout: float = limits.TRACKER_TIMEOUT,
    network: Network = DIRECT,
    source: str | None = None,
) -> AnnounceResponse:
    """Announce as `announce` does, but from where we listen: trackers take our address from the connection.

    Args:
        udp_connector: opens the connections to UDP trackers.
        url, request, timeout, network: see `announce`.
        source: the IP address that we listen on, to ask HTTP trackers from which it can reach; None for any.
    """
    parts = _split(url)

    def over_http(endpoints: Sequence[Endpoint]) -> AnnounceResponse:
        endpoint = endpoints[0]
        said = _over_family(request, endpoint)
        policy = AddressPolicy(endpoint.family, loopback_paths=("/announce",), source=_reaching(source, endpoint))
        response = parse_announce(_fetch(announce_url(url, said), policy, timeout, network))
        return replace(response, address=endpoint.host)

    def over_udp(endpoints: Sequence[Endpoint]) -> AnnounceResponse:
        return udp.announce(endpoints, _over_family(request, endpoints[0]), timeout=timeout, udp=udp_connector)

    return merged(_ask(parts, over_udp if parts.scheme == "udp" else over_http, timeout, network))


def _check_question(url: str, timeout: float, network: Network) -> None:
    check_texts(url=url)
    check_seconds(timeout=timeout)
    check_instances(Network, network=network)


def _over_family(request: AnnounceRequest, endpoint: Endpoint) -> AnnounceRequest:
    """The announce for one address family.

    The tracker takes our address from the connection, as libtorrent does it for torrents that are not private; `ipv4`
    and `ipv6` of BEP 7 would only tell it an address of ours that it has no need of.
    """
    return request.over_ipv6() if endpoint.family == AF_INET6 else request


@whole_call
def scrape(
    url: str,
    info_hashes: Iterable[bytes | str],
    *,
    timeout: float = limits.TRACKER_TIMEOUT,
    network: Network = DIRECT,
) -> dict[bytes, ScrapeResult]:
    """Ask a tracker for the number of peers in some swarms, and block for the answer (BEP 15, 48).

    Args:
        url: the tracker's for announces; over HTTP, "announce" in its path becomes "scrape".
        info_hashes: of the torrents, each 20 bytes or 40 hex characters; more than `limits.SCRAPE_HASHES` are asked for
            in several steps.
        timeout: seconds for everything.
        network: opens the sockets.

    Returns:
        What the tracker says of the torrents that it knows. Over UDP those it does not know have zeros.

    Raises:
        TrackerError: as for `announce`; or the tracker cannot be scraped.
    """
    _check_question(url, timeout, network)
    hashes = list(
        dict.fromkeys(hash_or_id(info_hash, "info hash") for info_hash in several(info_hashes, "info_hashes"))
    )
    results: dict[bytes, ScrapeResult] = {}
    with _tracker_errors(), deadline(timeout, _no_answer(_split(url), timeout)):
        for at in range(0, len(hashes), limits.SCRAPE_HASHES):
            results |= _scrape(url, hashes[at : at + limits.SCRAPE_HASHES], timeout, network)
    return results


def _scrape(url: str, hashes: Sequence[bytes], timeout: float, network: Network) -> dict[bytes, ScrapeResult]:
    parts = _split(url)

    def over_http(endpoints: Sequence[Endpoint]) -> dict[bytes, ScrapeResult]:
        policy = AddressPolicy(endpoints[0].family, loopback_paths=("/scrape",))
        return parse_scrape(_fetch(scrape_url(url, hashes), policy, timeout, network), hashes)

    def over_udp(endpoints: Sequence[Endpoint]) -> dict[bytes, ScrapeResult]:
        return udp.scrape(endpoints, hashes, timeout=timeout, udp=network)

    return _ask(parts, over_udp if parts.scheme == "udp" else over_http, timeout, network)[0]


def _split(url: str) -> SplitResult:
    """Take a tracker's URL apart.

    Raises:
        TrackerError: it is not the URL of a tracker.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise TrackerError(f"not a URL: {clean_text(str(error))}") from None
    if parts.scheme not in _PORTS:
        raise TrackerError(
            f"cannot announce to a URL with the scheme {clean_text(parts.scheme)!r}: only http, https and udp"
        )
    if not parts.hostname or not (port or _PORTS[parts.scheme]):
        raise TrackerError("not the URL of a tracker: it has no host, or no port")
    return parts


def _ask(parts: SplitResult, ask: Callable[[Sequence[Endpoint]], T], timeout: float, network: Network) -> list[T]:
    """Ask over each address family that the tracker has, with all its addresses there."""
    with _tracker_errors(), deadline(timeout, _no_answer(parts, timeout)):
        port = parts.port or _PORTS[parts.scheme]
        found = network.resolve(str(parts.hostname), port, datagram=parts.scheme == "udp")
        of_family: dict[int, list[Endpoint]] = {}
        for endpoint in found:
            of_family.setdefault(endpoint.family, []).append(endpoint)
        return over_families(sorted(of_family), lambda family: ask(of_family[family]))


def _reaching(source: str | None, endpoint: Endpoint) -> str | None:
    """An address of ours, if what is sent from it gets to an endpoint."""
    if source is None or endpoint.is_name or (":" in source) != (endpoint.family == AF_INET6):
        return None
    return source if scope_of(source) is not Scope.LOOPBACK or scope_of(endpoint.host) is Scope.LOOPBACK else None


def _fetch(url: str, policy: AddressPolicy, timeout: float, network: Network) -> bytes:
    with _tracker_errors():
        return fetch(url, timeout=timeout, policy=policy, network=network)


@contextmanager
def _tracker_errors() -> Iterator[None]:
    """Turn a FetchError into a TrackerError."""
    try:
        yield
    except FetchError as error:
        # "Retry-After: 0" or a year does not make us ask at once, or never again.
        bounds = limits.MIN_ANNOUNCE_INTERVAL, limits.MAX_ANNOUNCE_INTERVAL
        retry_in = None if error.retry_after is None else min(max(error.retry_after, bounds[0]), bounds[1])
        raise TrackerError(str(error), retry_in=retry_in, status=error.status) from error


def _no_answer(parts: SplitResult, timeout: float) -> str:
    return f"{parts.hostname}: no answer within {timeout:g} seconds"
