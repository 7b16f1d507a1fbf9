"""All that finds peers of one torrent: its user, trackers, the DHT and the local network."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from geventbt import limits
from geventbt.client.peers.finder import Finder
from geventbt.client.peers.known_peers import KnownPeers, Source
from geventbt.client.status import TorrentState
from geventbt.client.torrent.context import TorrentContext
from geventbt.client.torrent.data import TorrentData
from geventbt.client.torrent.totals import Totals
from geventbt.concurrency.greenlets import spawn
from geventbt.discovery.trackers.announce import PAUSED, REGULAR, AnnounceRequest
from geventbt.discovery.trackers.source import TrackerSource
from geventbt.net.addresses import Address

if TYPE_CHECKING:
    from geventbt.discovery.dht.dht import DHT
    from geventbt.discovery.dht.source import DHTSource

_FIRST_RETRY = 0.5
"""Seconds before the first retry of a peer, for a download that fails without peers."""
_VERSION_2 = " (version 2)"
_NO_PORT = 1
"""The port in announces where we do not listen: some trackers refuse 0, and nothing listens on this one."""


class PeerSources:
    """Finds the peers of one torrent, and tells trackers and DHT how far it is.

    Args:
        context: the torrent.
        data: its data.
        totals: what it has transferred.

    Attributes:
        known: the addresses of peers.
        finder: adds to them.
        dht: the DHT, asked for the first info hash; or None.
    """

    def __init__(
        self,
        context: TorrentContext,
        data: TorrentData,
        totals: Totals,
    ) -> None:
        self._client = client = context.client
        self._identity = context.identity
        self._options = context.options
        self._life = context.life
        self._data = data
        self._totals = totals
        first_retry = _FIRST_RETRY if self._options.fail_without_peers else limits.FIRST_RETRY
        self.known = KnownPeers(rng=client.rng, retry=first_retry, hosts=client.network, news=self._life.news)
        self.finder = Finder(self.known, client.network)
        client.port_users.add(self.finder)
        self._own_tiers: list[list[str]] | None = None
        self._tracker_sources: dict[bytes, TrackerSource] = {}
        self.dht: DHTSource | None = None
        self.update()

    @property
    def trackers(self) -> TrackerSource:
        """The trackers, asked for the first info hash."""
        return self._tracker_sources[self._identity.info_hash]

    def update(self) -> None:
        """Take over what is known: the info hashes, the trackers, and whether the torrent is private (BEP 27)."""
        if self._identity.metainfo is not None:
            self.finder.set_private(self._identity.metainfo.private)
        self.update_trackers()
        for info_hash in self._identity.swarm_hashes:
            if info_hash not in self._tracker_sources:
                self._use_info_hash(info_hash)

    def update_trackers(self) -> None:
        """Announce to the trackers that are known now, in the background."""
        for source in self._tracker_sources.values():
            if source.tiers != self._all_tiers:
                spawn(f"changing the trackers of {self._identity.name!r}", source.change, self._all_tiers)

    @property
    def tiers(self) -> list[list[str]]:
        """The announce URLs of the torrent in tiers."""
        if self._own_tiers is not None:
            return self._own_tiers
        return self._identity.trackers + ([list(self._options.trackers)] if self._options.trackers else [])

    @property
    def _all_tiers(self) -> list[list[str]]:
        """Those and the client's, which a private torrent must not use (BEP 27)."""
        return self.tiers + (self._client.default_trackers if self.finder.allows_exchange else [])

    def set_trackers(self, tiers: list[list[str]]) -> None:
        """Announce to these trackers in place of the torrent's own; see `ActiveTorrent.set_trackers`."""
        self._own_tiers = tiers
        for source in self._tracker_sources.values():
            source.change(self._all_tiers)

    def add_by_user(self) -> None:
        """Add the peers that the user and the magnet link name; blocks until names are resolved."""
        self.finder.add_by_user(self._options.peers)
        self.finder.add_by_user(self._identity.peers)

    @property
    def has_named_peers(self) -> bool:
        """Whether the user or the magnet link names any peer."""
        return bool(self._options.peers or self._identity.peers)

    def _add(self, source: Source, info_hash: bytes, peers: list[Address], reported_by: str) -> None:
        self.finder.add(peers, source, reported_by, info_hash=info_hash)

    def _use_info_hash(self, info_hash: bytes) -> None:
        """Look for the peers that know the torrent by an info hash: a hybrid is in two swarms (BEP 52)."""
        suffix = "" if info_hash == self._identity.info_hash else _VERSION_2
        trackers = TrackerSource(
            partial(self._make_announce, info_hash),
            partial(self._add, Source.TRACKER, info_hash),
            self._client.network,
            self._client.udp,
            self._client.listens_at,
            self._client.announces,
        )
        trackers.tiers = self._all_tiers
        self._tracker_sources[info_hash] = trackers
        self.finder.use(trackers, suffix)
        if self._client.dht is not None:
            dht = self._make_dht(self._client.dht, info_hash)
            self.dht = self.dht or dht
            self.finder.use(dht, suffix)
        if self._client.lsd is not None:
            from geventbt.discovery.local import LocalSource

            add = partial(self._add, Source.LSD, info_hash)
            self.finder.use(LocalSource(self._client.lsd, info_hash, add), suffix)

    def _make_dht(self, dht: DHT, info_hash: bytes) -> DHTSource:
        from geventbt.discovery.dht.source import DHTSource

        source = DHTSource(
            dht,
            info_hash,
            partial(self._add, Source.DHT, info_hash),
            port=lambda: self._client.public_ports,
            is_seed=lambda: self._data.is_complete,
            rng=self._client.rng,
            delay=limits.DHT_SOURCE_DELAY if self._options.peers or self.trackers.can_find_more else 0.0,
        )
        metainfo = self._identity.metainfo
        for node in metainfo.nodes if metainfo and not metainfo.private else ():
            dht.add_node(node)
        return source

    def _make_announce(self, info_hash: bytes, event: str) -> AnnounceRequest:
        ports = self._client.public_ports
        if event == REGULAR and self._life.phase is TorrentState.SEEDING and self._data.left:
            event = PAUSED
        return AnnounceRequest(
            info_hash,
            self._client.peer_id,
            ports.ipv4 or _NO_PORT,
            uploaded=self._totals.session_uploaded,
            downloaded=self._totals.session_downloaded,
            left=self._data.left,
            event=event,
            port6=ports.ipv6 or _NO_PORT,
        )
