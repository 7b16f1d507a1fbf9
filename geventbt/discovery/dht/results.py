"""Results of the calls of a `DHT`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Put:
    """How it went with storing an item.

    Attributes:
        target: what the item is found by, 20 bytes.
        stored: how many nodes have it now.
        seq: of a mutable item; None for an immutable one.
    """

    target: bytes
    stored: int
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class SwarmEstimate:
    """About how many peers a torrent has (BEP 33).

    Attributes:
        seeds: those that have all of it.
        leechers: the others.
    """

    seeds: int
    leechers: int


@dataclass(frozen=True, slots=True)
class Sample:
    """Some of the torrents whose peers a node stores (BEP 51).

    Attributes:
        info_hashes: 20 bytes each.
        total: how many torrents the node knows.
        interval: seconds until it gives others.
    """

    info_hashes: tuple[bytes, ...]
    total: int
    interval: int


@dataclass(frozen=True, slots=True)
class DHTStatus:
    """The state of the DHT.

    Attributes:
        port: the UDP port.
        is_ready: there are nodes enough to find what there is.
        nodes: good nodes of IPv4.
        nodes_ipv6: good nodes of IPv6.
        external_host: our IPv4 address as others see it, or None.
        external_host_ipv6: our IPv6 address likewise.
        searches: how many go on.
        queries: sent.
        replies: received.
        answered: queries of others that were answered.
        dropped: packets that were over a limit, no messages, or answers to no question.
        torrents: whose peers are stored here for others.
        items: that are stored here for others.
    """

    port: int
    is_ready: bool
    nodes: int
    nodes_ipv6: int
    external_host: str | None
    external_host_ipv6: str | None
    searches: int
    queries: int
    replies: int
    answered: int
    dropped: int
    torrents: int
    items: int
