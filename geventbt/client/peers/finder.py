"""The peers of a torrent, found by its user and its `PeerSource`s. The one place that knows which sources a private
torrent may use (BEP 27), and what each has brought."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

import gevent

from geventbt import limits
from geventbt.client.peers.known_peers import KnownPeers, Source
from geventbt.concurrency.greenlets import spawn
from geventbt.concurrency.turns import let_others_run
from geventbt.discovery.source import PeerSource, SourceStatus
from geventbt.errors import GeventBTError
from geventbt.net.addresses import Address, is_host_name
from geventbt.net.network import DIRECT, Network

_log = logging.getLogger("geventbt")

PEX = "pex"
_BATCH = 100
"""Addresses added before other greenlets run: *measured*, a thousand hold the hub up for 70 ms."""


class FoundListener(Protocol):
    """Uses the addresses that are found: a `Dialer`."""

    def wake(self) -> None:
        """There are new addresses."""


@dataclass(frozen=True, slots=True)
class ExchangeStatus:
    """A `SourceStatus`: the other peers, which send their lists by themselves (BEP 11).

    Attributes:
        peers: addresses that were not known before.
        last_announce: when the last list came, on the clock of `time.monotonic`; None before the first.
    """

    peers: int = 0
    last_announce: float | None = None
    next_announce: float | None = None
    error: str | None = None


class Finder:
    """Finds the peers of one torrent.

    Args:
        known: takes their addresses.
        network: looks up names.

    Attributes:
        listener: is woken when there are new ones, or None.
    """

    def __init__(self, known: KnownPeers, network: Network = DIRECT) -> None:
        self._network = network
        self.listener: FoundListener | None = None
        self._known = known
        self._sources: list[PeerSource] = []
        self._suffixes: dict[PeerSource, str] = {}
        self._is_private = False
        self._is_started = False
        self._resolving: set[gevent.Greenlet] = set()
        self._exchange = ExchangeStatus()

    # ------------------------------------------------------------------ sources

    def use(self, source: PeerSource, suffix: str = "") -> None:
        """Use one more source.

        Args:
            source: the source.
            suffix: what is added to its names in `status`.
        """
        self._sources.append(source)
        self._suffixes[source] = suffix
        if self._is_started and self._allows(source):
            source.start()

    def set_private(self, private: bool) -> None:
        """Note whether the torrent is private; sources that must not know it are stopped, and not started again."""
        self._is_private = private
        for source in self._sources:
            if not self._allows(source):
                source.stop(0)

    @property
    def allows_exchange(self) -> bool:
        """Whether peers may tell each other of peers (BEP 11, 27)."""
        return not self._is_private

    @property
    def status(self) -> dict[str, SourceStatus]:
        """The state of each source in use by its name: the URL of a tracker, "dht", "lsd" or "pex". Of a hybrid those
        for its second info hash have names that end in " (version 2)"."""
        found: dict[str, SourceStatus] = {}
        for source in self._allowed():
            suffix = self._suffixes[source]
            found.update({f"{name}{suffix}": status for name, status in source.status.items()})
        if self.allows_exchange:
            found[PEX] = self._exchange
        return found

    def sources_of(self, address: Address | None) -> tuple[str, ...]:
        """The kinds of sources that have named a peer: see `PeerStatus.sources`."""
        return tuple(source.name.lower() for source in reversed(self._known.sources_of(address)))

    @property
    def can_find_more(self) -> bool:
        """Whether any source may ever find another peer."""
        return any(source.can_find_more for source in self._allowed())

    @property
    def is_started(self) -> bool:
        """Whether it looks for peers, between `start` and `stop`."""
        return self._is_started

    def start(self) -> None:
        """Look for peers, unless that has begun already."""
        self._is_started = True
        for source in self._allowed():
            source.start()

    def need_more(self) -> None:
        """Look for more peers, as soon as the sources allow it."""
        for source in self._allowed():
            source.need_more()

    def completed(self) -> None:
        """Tell the sources that the download is complete."""
        for source in self._allowed():
            source.completed()

    def moved(self) -> None:
        """Tell the sources that peers reach us at another port or address."""
        for source in self._allowed():
            source.moved()

    def stop(self, timeout: float) -> None:
        """Stop all sources, side by side; blocks for at most `timeout` seconds."""
        self._is_started = False
        gevent.killall(list(self._resolving), block=False)
        gevent.joinall(
            [spawn(f"stopping {type(source).__name__}", source.stop, timeout) for source in self._sources], timeout
        )

    def _allows(self, source: PeerSource) -> bool:
        return source.allowed_for_private or not self._is_private

    def _allowed(self) -> list[PeerSource]:
        return [source for source in self._sources if self._allows(source)]

    # ------------------------------------------------------------------ addresses

    def add_by_user(self, peers: Iterable[Address]) -> None:
        """Add peers that the user names, by address or by name; blocks until names are resolved."""
        self.add(resolved(peers, self._network), Source.USER)

    def add(
        self,
        addresses: Iterable[Address],
        source: Source,
        reported_by: str = "",
        *,
        info_hash: bytes | None = None,
        seeds: Container[Address] = (),
    ) -> None:
        """Add peers that were found.

        Args:
            addresses: (host, port) of each; a tracker may give names (BEP 3), which are resolved in the background.
            source: what found them.
            reported_by: the IP address of the tracker, node or peer that named them.
            info_hash: the one that was asked for, where a torrent has two (BEP 52).
            seeds: those of them that are said to have everything.
        """
        addresses = list(addresses)
        if source is Source.PEX:
            new = sum(address not in self._known for address in addresses)
            self._exchange = ExchangeStatus(self._exchange.peers + new, monotonic())
        if source is Source.TRACKER:
            names = [address for address in addresses if is_host_name(address[0])]
            self._resolve_soon(names, reported_by, info_hash)
        for start in range(0, len(addresses), _BATCH):
            if start:
                let_others_run()
            now = monotonic()
            for address in addresses[start : start + _BATCH]:
                is_seed = address in seeds
                self._known.add(address, source, now, reported_by=reported_by, info_hash=info_hash, is_seed=is_seed)
            if self.listener is not None:
                self.listener.wake()

    def _resolve_soon(self, names: list[Address], reported_by: str, info_hash: bytes | None) -> None:
        """Add the addresses behind names of a tracker, one after the other; a list of names at a time."""
        if names and not self._resolving:
            greenlet = gevent.spawn(self._add_names, names[: limits.TRACKER_NAMES], reported_by, info_hash)
            self._resolving.add(greenlet)
            greenlet.rawlink(self._resolving.discard)

    def _add_names(self, names: list[Address], reported_by: str, info_hash: bytes | None) -> None:
        for host, port in names:
            with suppress(GeventBTError):
                addresses = [endpoint.address for endpoint in self._network.resolve(host, port)]
                self.add(addresses, Source.TRACKER, reported_by, info_hash=info_hash)


def resolved(peers: Iterable[Address], network: Network) -> list[Address]:
    """All IP addresses behind names that the user gave; a name that cannot be resolved, or that only a proxy could
    resolve, is logged and left out."""
    addresses: list[Address] = []
    for host, port in peers:
        try:
            endpoints = network.resolve(host, port)
            if any(endpoint.is_name for endpoint in endpoints):
                _log.warning("the peer %s:%s is left out: with a proxy, peers are named by IP address", host, port)
            addresses += [endpoint.address for endpoint in endpoints if not endpoint.is_name]
        except GeventBTError as error:
            _log.warning("the peer %s:%s cannot be resolved: %s", host, port, error)
    return addresses
