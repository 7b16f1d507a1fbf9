"""All web seeds of a torrent: when they are asked, beside the peers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Literal, Protocol

import gevent
from gevent.event import Event

from geventbt import limits
from geventbt.client.peers.host_connections import HostConnections
from geventbt.client.status import WebSeedStatus
from geventbt.client.swarm.web_seed import WebSeed
from geventbt.client.swarm.web_seed_connection import WebSeedSwarm
from geventbt.concurrency.greenlets import spawn
from geventbt.concurrency.threads import in_thread
from geventbt.errors import FetchError
from geventbt.metainfo import Torrent
from geventbt.metainfo.web_seed_urls import fetchable
from geventbt.net.network import Network
from geventbt.storage import Layout

_log = logging.getLogger("geventbt")

_TICK = 0.25
"""Seconds between two looks at what each should do."""


class SeededSwarm(WebSeedSwarm, Protocol):
    """The swarm that web seeds are started for."""

    @property
    def expects_peers(self) -> bool:
        """Whether a peer may connect, or be connected to, before long."""

    @property
    def peer_speed(self) -> float:
        """Bytes a second that come from all peers."""


class WebSeeds:
    """The web seeds of one torrent. They outlive its swarms.

    They begin when there are no peers, nor any to be expected, or when the peers are slower than they are; and always
    for what a reader waits for.

    Args:
        hosts: bounds the connections to one host.
        now: the clock, in seconds.
        network: opens the sockets.
        news: is set when none of them can be counted on any more.
    """

    def __init__(self, hosts: HostConnections, now: Callable[[], float], network: Network, news: Event) -> None:
        self._hosts = hosts
        self._network = network
        self._now = now
        self._news = news
        self._was_hopeless = False
        self._seeds: dict[str, WebSeed] = {}
        self._swarm: SeededSwarm | None = None
        self._ticks: gevent.Greenlet | None = None
        self._started_at = 0.0
        self._best_speed = 0.0

    def __iter__(self) -> Iterator[WebSeed]:
        return iter(self._seeds.values())

    def __bool__(self) -> bool:
        return bool(self._seeds)

    def use(self, torrent: Torrent, named: Collection[str] | Literal[False]) -> None:
        """Use the web seeds of a torrent, and others.

        Args:
            torrent: the torrent.
            named: URLs that the user names, and so vouches for; False for no web seeds at all.
        """
        if named is False:
            return
        scripts = fetchable(torrent.http_seeds) if torrent.info_hash is not None else ()
        if not (named or scripts or torrent.web_seeds):
            return
        # In a thread: a torrent may have hundreds of thousands of files.
        layout = in_thread(Layout, torrent.files, torrent.geometry)
        self._add((url for url in named if url not in scripts), torrent, layout, is_users=True)
        self._add((url for url in scripts if url in named), torrent, layout, is_script=True, is_users=True)
        self._add(fetchable(torrent.web_seeds), torrent, layout)
        self._add(scripts, torrent, layout, is_script=True)

    def _add(
        self,
        urls: Iterable[str],
        torrent: Torrent,
        layout: Layout,
        *,
        is_script: bool = False,
        is_users: bool = False,
    ) -> None:
        """Add web seeds, see `WebSeed`; what is not a URL that can be fetched is left out."""
        for url in urls:
            if url in self._seeds or len(self._seeds) >= limits.WEB_SEEDS:
                continue
            try:
                self._seeds[url] = WebSeed(
                    url, torrent, layout, self._hosts, self._now, self._network, is_script=is_script, is_users=is_users
                )
            except FetchError as error:
                _log.info("a web seed is not used: %s", error)

    # ------------------------------------------------------------------ running

    def start(self, swarm: SeededSwarm) -> None:
        """Become sources of a swarm."""
        if not self._seeds:
            return
        self._swarm = swarm
        self._started_at = self._now()
        for seed in self:
            seed.start(swarm)
        self._ticks = spawn("web seeds", self._run)

    def stop(self) -> None:
        """Close all connections."""
        ticks, self._ticks = self._ticks, None
        if ticks is not None:
            ticks.kill()
        for seed in self:
            seed.is_wanted = False
            seed.stop()
        self._swarm = None

    def _run(self) -> None:
        while self._swarm is not None:
            self._tick(self._swarm, self._now())
            gevent.sleep(_TICK)

    def _tick(self, swarm: SeededSwarm, now: float) -> None:
        self._best_speed = max(self._best_speed, self.speed)
        is_wanted, is_hopeless = self._are_wanted(swarm, now), self.is_hopeless
        if is_hopeless and not self._was_hopeless:
            self._news.set()
        self._was_hopeless = is_hopeless
        swarm.picker.fills_from_end = is_wanted and not is_hopeless
        active = self._chosen(now) if is_wanted else []
        for seed in self:
            seed.is_wanted = seed in active
            seed.has_others = any(other.is_active for other in active if other is not seed)
            seed.tick(now)

    def _chosen(self, now: float) -> Sequence[WebSeed]:
        """Those that are to be asked: those that are being fetched from already, and then others in their order."""
        candidates = [seed for seed in self if seed.is_active or seed.may_be_asked(now)]
        candidates.sort(key=lambda seed: not seed.is_active)
        return candidates[: limits.WEB_SEEDS_ACTIVE]

    def _are_wanted(self, swarm: SeededSwarm, now: float) -> bool:
        if swarm.picker.done:
            return False
        if any(swarm.picker.reservations.is_urgent(seed) for seed in self if not seed.closed):
            return True
        if not swarm.has_peers and not swarm.expects_peers:
            return True
        is_slower = not self._best_speed or swarm.peer_speed < self._best_speed
        return now - self._started_at >= limits.WEB_SEED_DELAY and is_slower

    # ------------------------------------------------------------------ state

    @property
    def speed(self) -> float:
        """Bytes a second of all of them."""
        return sum(seed.speed for seed in self)

    @property
    def received(self) -> int:
        """Bytes of data that all of them sent."""
        return sum(seed.received for seed in self)

    @property
    def skipped(self) -> int:
        """Bytes that they sent and that were of no use."""
        return sum(seed.skipped for seed in self)

    @property
    def is_hopeless(self) -> bool:
        """Whether a download cannot count on any of them."""
        return all(seed.is_hopeless for seed in self)

    @property
    def errors(self) -> Sequence[str]:
        """What has failed at each that has failed."""
        return [f"{seed.url}: {seed.error}" for seed in self.status if seed.error]

    @property
    def status(self) -> Sequence[WebSeedStatus]:
        """Each of them, for the user."""
        now = self._now()
        return [seed.status(now) for seed in self]
