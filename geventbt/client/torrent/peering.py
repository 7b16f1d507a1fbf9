"""Joining and leaving the swarm of a torrent: pauses, limits, and the peers of a metadata search before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent
from gevent.lock import RLock

from geventbt import limits
from geventbt.client.rate_group import RateGroup
from geventbt.client.swarm.reputation import Reputation
from geventbt.client.swarm.swarm import Swarm, SwarmOwner
from geventbt.client.swarm.web_seeds import WebSeeds
from geventbt.client.torrent.context import TorrentContext
from geventbt.client.torrent.data import TorrentData
from geventbt.client.torrent.metadata import Metadata
from geventbt.client.torrent.peer_sources import PeerSources
from geventbt.client.torrent.readahead import Readahead
from geventbt.client.torrent.totals import Totals
from geventbt.concurrency.greenlets import spawn
from geventbt.rates.fair_rate import FairRate
from geventbt.rates.throttle import Throttle
from geventbt.wire.wire import Wire

if TYPE_CHECKING:
    from geventbt.client.torrent.metadata_search import MetadataSearch


class Peering:
    """The peers of one torrent: those of its swarm, or, while it has no metadata, those asked for it.

    Args:
        context: the torrent.
        data: its data.
        sources: find peers.
        readahead: the pieces that readers need.
        totals: what it has transferred.
        owner: is called by the swarm.

    Attributes:
        reputation: of its peers.
        web_seeds: those that it uses.
        totals: see above.
    """

    def __init__(
        self,
        context: TorrentContext,
        data: TorrentData,
        sources: PeerSources,
        readahead: Readahead,
        totals: Totals,
        owner: SwarmOwner,
    ) -> None:
        self._client = client = context.client
        self._identity = context.identity
        self._options = options = context.options
        self._life = context.life
        self._data = data
        self._sources = sources
        self._readahead = readahead
        self._owner = owner
        self.reputation = Reputation(sources.known, now=client.now)
        self.web_seeds = WebSeeds(client.hosts, now=client.now, network=client.network, news=self._life.news)
        self.totals = totals
        self._search: MetadataSearch | None = None
        self._sequential = options.sequential
        self._max_peers = options.max_peers
        self._down = FairRate(options.limit_down, client.now(), client.down)
        self._up = Throttle(options.limit_up, client.up)
        self._rate_group: RateGroup | None = None
        # Joining and leaving block: each is done to its end before the next.
        self._joining = RLock()

    @property
    def swarm(self) -> Swarm | None:
        """The connected peers; None before the data is known, while paused, and after the end."""
        return self.totals.swarm

    @property
    def search(self) -> MetadataSearch | None:
        """The search for the metadata, while it runs."""
        return self._search

    @property
    def connections(self) -> int:
        """The number of peers that are connected, or being connected to."""
        active = self.swarm or self._search
        return active.connections if active is not None else 0

    def accept(self, wire: Wire) -> None:
        """Take a peer that has connected to the client and asks for this torrent. Blocks between the search for the
        metadata and the opening of the data: what is refused comes back only later."""
        if self._search is None:
            self._life.known.wait(limits.HANDSHAKE_TIMEOUT)
        if self.swarm is None:
            self._join_early()
        active = self.swarm or self._search
        if active is not None:
            active.accept(wire)
        else:
            wire.close(0)

    def fetch_metadata(self) -> Metadata:
        """Block until a peer or URL has given the metadata of a magnet link. Raises: see `MetadataSearch.run`."""
        # Only now: HTTP and TLS come with it, and few torrents begin as links.
        from geventbt.client.torrent.metadata_search import MetadataSearch

        search = self._search = MetadataSearch(
            self._client,
            self._identity.source,
            self._sources.known,
            self._sources.finder,
            self._life.news,
            max_peers=self._max_peers,
            fail_without_peers=self._options.fail_without_peers,
            files=self._options.files,
        )
        self.join()
        try:
            return search.run()
        finally:
            self._search = None
            search.stop()

    # ------------------------------------------------------------------ joining and leaving

    def join(self) -> None:
        """Look for peers and connect to them, unless the torrent is paused or over."""
        with self._joining:
            if self._life.is_paused or self._life.is_over:
                return
            if self._search is not None:
                self._search.start()
            if self._data.files is not None and self.swarm is None:
                swarm = self.totals.swarm = self._make_swarm()
                swarm.set_deadlines(self._readahead.deadlines(self._readahead))
                swarm.start()
            elif self.swarm is not None and self.swarm.is_checking:
                self.swarm.note_checked(self._data.priorities(fetches=not self._life.is_suspended))
            self._sources.finder.start()

    def _join_early(self) -> None:
        """Let peers in before `join`: checking the data may take minutes, and what is verified is served."""
        with self._joining:
            is_running = not self._life.is_paused and not self._life.is_over
            if is_running and self.swarm is None and self._data.storage is not None:
                swarm = self.totals.swarm = self._make_swarm()
                swarm.start(is_checking=True)

    def _make_swarm(self) -> Swarm:
        storage = self._data.storage
        assert storage is not None
        swarm = Swarm(
            self._client,
            storage,
            self._sources.known,
            self._sources.finder,
            self.reputation,
            self.web_seeds,
            self._owner,
            max_peers=self._max_peers,
            super_seeding=self._options.super_seeding,
            up=self._up,
            down=self._down,
        )
        swarm.picker.set_priorities(self._data.priorities(fetches=not self._life.is_suspended))
        swarm.picker.sequential = self._sequential
        return swarm

    def leave(self, timeout: float = limits.STOP_TIMEOUT) -> None:
        """Leave all peers, and stop looking for them; blocks for about `timeout` seconds at most."""
        with self._joining:
            stopping = self._stop_sources(timeout)
            if self._search is not None:
                self._search.stop()
            if self.swarm is not None:
                self.swarm.stop(timeout)
                self.totals.end_swarm()
                self._life.notify()
            stopping.join(timeout)
            self.totals.start_session()

    def _stop_sources(self, timeout: float) -> gevent.Greenlet:
        return spawn(f"leaving the trackers of {self._identity.name!r}", self._sources.finder.stop, timeout)

    def leave_soon(self) -> None:
        """Leave all peers in the background."""
        spawn(f"leaving {self._identity.name!r}", self.leave, limits.STOP_TIMEOUT)

    def pause(self) -> None:
        """Leave all peers until `resume`; blocks until they are left, trackers may take longer."""
        life = self._life
        if not life.is_paused and not life.is_over:
            life.is_paused = True
            if self.swarm is None and self._search is None and not self._sources.finder.is_started:
                return
            self.leave_soon()
            while life.is_paused and self.swarm is not None:
                life.changes.wait()

    def resume(self) -> None:
        """Join the swarm again after `pause`."""
        if self._life.is_paused:
            self._life.is_paused = False
            self.join()

    # ------------------------------------------------------------------ what is fetched, and how fast

    def fetch(self, wanted: bool) -> None:
        """Fetch what is missing, or nothing: then peers are only served."""
        if self.swarm is not None and self._data.files is not None:
            self.swarm.set_wanted(self._data.priorities(fetches=wanted))

    def update_priorities(self) -> None:
        """Follow a new choice of files, unless nothing is fetched for a fault of the disk."""
        swarm = self.swarm
        if swarm is not None and not self._life.is_suspended:
            swarm.picker.set_priorities(self._data.priorities(fetches=True))
            swarm.set_deadlines(self._readahead.deadlines(self._readahead))

    @property
    def sequential(self) -> bool:
        """Whether pieces are fetched in their order."""
        return self._sequential

    @sequential.setter
    def sequential(self, value: bool) -> None:
        self._sequential = value
        if self.swarm is not None:
            self.swarm.picker.sequential = value

    @property
    def max_peers(self) -> int:
        """Connections at one time."""
        return self._max_peers

    @max_peers.setter
    def max_peers(self, value: int) -> None:
        self._max_peers = value
        if self.swarm is not None:
            self.swarm.set_max_peers(value)

    @property
    def rate_group(self) -> RateGroup | None:
        """The rates that those of the torrent are a part of; None for those of the client."""
        return self._rate_group

    @rate_group.setter
    def rate_group(self, group: RateGroup | None) -> None:
        self._rate_group = group
        rates = self._client if group is None else group
        self._down.set_parent(rates.down)
        self._up.set_parent(rates.up)

    @property
    def rate_weight(self) -> float:
        """Its share of the rates that it has in common with other torrents, in proportion to theirs."""
        return self._up.weight

    @rate_weight.setter
    def rate_weight(self, weight: float) -> None:
        self._down.weight = self._up.weight = weight

    def set_limits(self, down: int | None, up: int | None) -> None:
        """Set the torrent's own rates, in bytes a second; None for no limit."""
        self._down.set_rate(down, self._client.now())
        self._up.rate = up
