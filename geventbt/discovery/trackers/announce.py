"""Requests to a tracker and its answers, without a socket: dataclasses, query strings, bencoded answers.

An announce registers us with a tracker and returns the peers it knows (BEP 3); a scrape only counts them (BEP 48). A
tracker is untrusted: its peers, counts and times are used where they are valid and left out where they are not; only an
answer that cannot be read at all is an error.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from math import inf
from typing import Any
from urllib.parse import SplitResult, quote_from_bytes, urlsplit, urlunsplit

from geventbt import bencoding, limits
from geventbt.errors import BencodeError, TrackerError
from geventbt.net.addresses import (
    IPV4_BYTES,
    IPV6_BYTES,
    Address,
    is_host_name,
    is_port,
    normalise,
    scope_of,
    unique,
    unpack_addresses,
)
from geventbt.net.text import clean_text

STARTED = "started"
COMPLETED = "completed"
STOPPED = "stopped"
REGULAR = ""
PAUSED = "paused"
"""Instead of REGULAR: we have all that we want, and not all that there is (BEP 21)."""
EVENTS = (REGULAR, COMPLETED, STARTED, STOPPED)
"""The events of an announce; their places here are their numbers in BEP 15."""

_HASH = 20
_COUNT_END = 1 << 63


@dataclass(frozen=True, slots=True)
class AnnounceRequest:
    """An announce (BEP 3).

    Args:
        info_hash: of the torrent, 20 bytes.
        peer_id: ours, 20 bytes.
        port: on which we take peers; over IPv4 only, where `port6` is given.
        uploaded: bytes sent since "started".
        downloaded: bytes received since "started".
        left: bytes of the torrent that we do not have.
        event: "started", "completed", "stopped", or for an announce between them "", or "paused" (BEP 21).
        numwant: how many peers to give us.
        key: 32 random bits that stay the same for the session, by which a tracker knows us at another address (BEP 7).
        trackerid: what the tracker asked us to say again, or None.
        port6: on which we take peers over IPv6, or None for the same.

    Raises:
        ValueError: a value is out of its range.
    """

    info_hash: bytes
    peer_id: bytes
    port: int
    uploaded: int = 0
    downloaded: int = 0
    left: int = 0
    event: str = REGULAR
    numwant: int = limits.NUMWANT
    key: int | None = None
    trackerid: bytes | None = None
    port6: int | None = None

    def __post_init__(self) -> None:
        if len(self.info_hash) != _HASH or len(self.peer_id) != _HASH:
            raise ValueError(f"an info hash and a peer id have {_HASH} bytes")
        for port in (self.port, self.port6 or 0):
            if not is_port(port, least=0):
                raise ValueError(f"{port} is not a port: must be 0 to 65535")
        if any(not 0 <= count < _COUNT_END for count in (self.uploaded, self.downloaded, self.left)):
            raise ValueError("uploaded, downloaded and left must be 0 or more bytes, within 63 bits")
        if self.event not in (*EVENTS, PAUSED):
            raise ValueError(f"{self.event!r} is not an event of an announce")
        if not 0 <= self.numwant < 1 << 31 or not 0 <= (self.key or 0) < 1 << 32:
            raise ValueError("numwant has 31 bits and the key 32")

    def over_ipv6(self) -> AnnounceRequest:
        """The same announce as it is sent over IPv6: with our port there."""
        return self if self.port6 is None else replace(self, port=self.port6)


@dataclass(frozen=True, slots=True)
class AnnounceResponse:
    """What a tracker answers to an announce (BEP 3, 7, 15, 23, 24).

    Attributes:
        interval: seconds to wait before the next announce.
        min_interval: seconds that must pass before it, or None if the tracker does not say.
        seeders: peers that have everything, or None.
        leechers: peers that have not, or None.
        peers: (host, port) of each, without repetition, at most `limits.TRACKER_PEERS`; untrusted.
        warning: a text for the user, printable and bounded, or None.
        trackerid: what to say to this tracker next time, or None.
        external_ip: our address as the tracker sees it, or None (BEP 24).
        address: the IP address of the tracker that answered, or None.
    """

    interval: float
    min_interval: float | None = None
    seeders: int | None = None
    leechers: int | None = None
    peers: tuple[Address, ...] = ()
    warning: str | None = None
    trackerid: bytes | None = None
    external_ip: str | None = None
    address: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ScrapeResult:
    """What a tracker counts in one swarm (BEP 15, 48).

    Attributes:
        seeders: peers that have everything.
        leechers: peers that have not.
        completed: how many times a peer has announced that it completed the download.
    """

    seeders: int
    leechers: int
    completed: int


def announce_url(url: str, request: AnnounceRequest) -> str:
    """The URL of an announce over HTTP: the tracker's own, its query kept, and ours (BEP 3, 7, 23)."""
    fields = {
        "info_hash": quote_from_bytes(request.info_hash, safe=""),
        "peer_id": quote_from_bytes(request.peer_id, safe=""),
        "port": request.port,
        "uploaded": request.uploaded,
        "downloaded": request.downloaded,
        "left": request.left,
        "compact": 1,
        "numwant": request.numwant,
    }
    if request.event:
        fields["event"] = request.event
    if request.key is not None:
        fields["key"] = f"{request.key:08X}"
    if request.trackerid is not None:
        fields["trackerid"] = quote_from_bytes(request.trackerid, safe="")
    return _with_query(url, "&".join(f"{name}={value}" for name, value in fields.items()))


def scrape_url(url: str, info_hashes: Iterable[bytes]) -> str:
    """The URL of a scrape over HTTP: "announce" in the path of the tracker's URL becomes "scrape" (BEP 48).

    Raises:
        TrackerError: there is no "announce" in it, so the tracker cannot be scraped.
    """
    parts = _split(url)
    before, announce, after = parts.path.rpartition("announce")
    if not announce:
        raise TrackerError('this tracker cannot be scraped: there is no "announce" in its path')
    query = "&".join(f"info_hash={quote_from_bytes(info_hash, safe='')}" for info_hash in info_hashes)
    return _with_query(urlunsplit(parts._replace(path=f"{before}scrape{after}")), query)


def _with_query(url: str, query: str) -> str:
    parts = _split(url)
    joined = f"{parts.query}&{query}" if parts.query else query
    return urlunsplit(parts._replace(query=joined, fragment=""))


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise TrackerError(f"not a URL: {clean_text(str(error))}") from None


def parse_announce(data: bytes) -> AnnounceResponse:
    """Read the bencoded answer to an announce (BEP 3, 7, 23, 24).

    Raises:
        TrackerError: the tracker gives a failure reason, or the bytes are not an answer.
    """
    answer = _answer(data)
    min_interval = answer.get(b"min interval")
    return AnnounceResponse(
        interval=bounded_interval(answer.get(b"interval")),
        # One of 0 is none.
        min_interval=bounded_interval(min_interval) if _count(min_interval) else None,
        seeders=_count(answer.get(b"complete")),
        leechers=_count(answer.get(b"incomplete")),
        peers=unique(
            chain(_peers(answer.get(b"peers"), IPV4_BYTES), _peers(answer.get(b"peers6"), IPV6_BYTES)),
            limits.TRACKER_PEERS,
        ),
        warning=_text(answer.get(b"warning message")),
        trackerid=_tracker_id(answer.get(b"tracker id")),
        external_ip=_external_ip(answer.get(b"external ip")),
    )


def parse_scrape(data: bytes, info_hashes: Iterable[bytes]) -> dict[bytes, ScrapeResult]:
    """Read the bencoded answer to a scrape (BEP 48): those of the torrents that the tracker knows.

    Raises:
        TrackerError: the tracker gives a failure reason, or the bytes are not an answer.
    """
    files = _answer(data).get(b"files")
    if not isinstance(files, dict):
        raise TrackerError("the answer to the scrape has no files")
    found = ((info_hash, files.get(info_hash)) for info_hash in info_hashes)
    return {info_hash: _scrape_result(counts) for info_hash, counts in found if isinstance(counts, dict)}


def _scrape_result(counts: Mapping[bytes, Any]) -> ScrapeResult:
    names = (b"complete", b"incomplete", b"downloaded")
    return ScrapeResult(*(_count(counts.get(name)) or 0 for name in names))


def _answer(data: bytes) -> dict[bytes, Any]:
    try:
        answer, _ = bencoding.decode_prefix(data, max_tokens=limits.TRACKER_TOKENS)
    except BencodeError as error:
        raise TrackerError(f"not the answer of a tracker: {error}") from None
    if not isinstance(answer, dict):
        raise TrackerError("not the answer of a tracker: it is not a dictionary")
    if b"failure reason" in answer:
        raise _failure(answer)
    return answer


def _failure(answer: Mapping[bytes, Any]) -> TrackerError:
    reason = _text(answer[b"failure reason"]) or "the tracker gives no reason"
    return TrackerError(reason, retry_in=_retry_in(answer.get(b"retry in")))


def _retry_in(value: Any) -> float | None:
    """Seconds: the field has minutes, as a number or its digits, or "never" (BEP 31)."""
    if value == b"never":
        return inf
    if isinstance(value, bytes) and re.fullmatch(rb"[0-9]{1,9}", value):
        value = int(value)
    if not isinstance(value, int) or value <= 0:
        return None
    return min(value * 60.0, limits.MAX_ANNOUNCE_INTERVAL)


def bounded_interval(value: Any) -> float:
    """An interval of a tracker, in seconds, within what is good for both; the usual one if it is none."""
    seconds = _count(value)
    if not seconds:
        return limits.ANNOUNCE_INTERVAL
    return min(max(float(seconds), limits.MIN_ANNOUNCE_INTERVAL), limits.MAX_ANNOUNCE_INTERVAL)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value < _COUNT_END else None


def _text(value: Any) -> str | None:
    return clean_text(value) if isinstance(value, bytes) and value else None


def _tracker_id(value: Any) -> bytes | None:
    return value if isinstance(value, bytes) and 0 < len(value) <= limits.TRACKER_ID else None


def _external_ip(value: Any) -> str | None:
    if not isinstance(value, bytes) or len(value) not in (IPV4_BYTES, IPV6_BYTES):
        return None
    known = normalise((str(ipaddress.ip_address(value)), 1))
    return known[0] if known else None


def _peers(value: Any, address_size: int) -> Iterable[Address | None]:
    """The peers of an answer, compact (BEP 7, 23) or as dictionaries (BEP 3)."""
    if isinstance(value, bytes):
        return compact_peers(value, address_size)
    return map(_dictionary_peer, value) if isinstance(value, list) else ()


def compact_peers(data: bytes, address_size: int) -> Iterable[Address | None]:
    """The first `limits.TRACKER_PEERS` of a compact list, None where no peer can have an address."""
    return islice(unpack_addresses(data, address_size), limits.TRACKER_PEERS)


def _dictionary_peer(value: Any) -> Address | None:
    """A peer as a dictionary, whose "ip" is an address or a name (BEP 3)."""
    if not isinstance(value, dict) or not isinstance(value.get(b"ip"), bytes):
        return None
    host, port = value[b"ip"].decode("ascii", "replace"), value.get(b"port")
    if is_host_name(host):
        return (host, port) if is_port(port) else None
    # A scope, as in fe80::1%eth0, means something on the tracker's machine only.
    return None if "%" in host else normalise((host, port))


def merged(responses: Sequence[AnnounceResponse]) -> AnnounceResponse:
    """One response of those that a tracker gave over IPv4 and IPv6 (BEP 7): the peers of all, the longest intervals,
    and the first of everything else."""
    first = responses[0]
    least = [response.min_interval for response in responses if response.min_interval is not None]
    return replace(
        first,
        interval=max(response.interval for response in responses),
        min_interval=max(least) if least else None,
        peers=unique((peer for response in responses for peer in response.peers), limits.TRACKER_PEERS),
        warning=next((response.warning for response in responses if response.warning), None),
        external_ip=next((response.external_ip for response in responses if response.external_ip), None),
        # The one from which the fewest peers may be named: see `may_connect`.
        address=max((response.address for response in responses if response.address), key=scope_of, default=None),
    )
