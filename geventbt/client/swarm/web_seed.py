"""A web server that has the data of a torrent (BEP 17, 19), as a source of blocks beside the peers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import gevent

from geventbt import limits
from geventbt.client.peers.host_connections import HostConnections
from geventbt.client.status import WebSeedState, WebSeedStatus
from geventbt.client.swarm.source import BlockSource
from geventbt.client.swarm.web_seed_connection import WebSeedConnection, WebSeedSwarm
from geventbt.client.swarm.web_seed_contents import WebSeedContents
from geventbt.client.swarm.web_seed_parts import FileParts, Parts, PieceParts
from geventbt.client.swarm.web_seed_policy import Backoff, ConnectionCount, RunLength, refuses
from geventbt.client.swarm.web_seed_reader import FileUnusable, RangesUnsupported, WebSeedReader
from geventbt.concurrency.greenlets import spawn
from geventbt.errors import FetchError
from geventbt.metainfo import Torrent
from geventbt.net.addresses import Address
from geventbt.net.http.client import HTTPClient
from geventbt.net.http.connector import TooManyConnections
from geventbt.net.http.policy import ANY, UNTRUSTED
from geventbt.net.http.redirects import RedirectMemory
from geventbt.net.http.url import parse_url
from geventbt.net.network import Network
from geventbt.rates.speed import SpeedMeter
from geventbt.storage import Layout

_log = logging.getLogger("geventbt")

_SHORT_PAUSE = 1.0
"""Seconds that a connection waits to go on after a failure; for longer pauses it is closed."""
_IDLE = 5.0
"""Seconds without anything to fetch after which a connection is closed."""


class WebSeed:
    """A web seed of a torrent: a `BlockSource`.

    It outlives the swarms of its torrent, between which it is stopped: what is known of it is kept.

    Args:
        url: of the seed; may have a login, which is never shown.
        torrent: whose data it has.
        layout: of the torrent's files.
        hosts: bounds the connections to one host.
        now: the clock, in seconds.
        network: opens the sockets.
        is_script: whether it is a script of BEP 17, for a torrent of version 1, not a folder or file of BEP 19.
        is_users: whether the user named it, so that it may be at any address.

    Raises:
        FetchError: not a URL that can be fetched.

    Attributes:
        url: without a login.
        received: bytes of data that it sent.
        skipped: bytes that it sent and that were of no use.
        trust: credit for good pieces.
        address: None, as for all sources that are not peers.
        is_wanted: whether it is to fetch anything now: set by `WebSeeds`.
        has_others: whether another web seed is being fetched from: likewise.
    """

    address: Address | None = None

    def __init__(
        self,
        url: str,
        torrent: Torrent,
        layout: Layout,
        hosts: HostConnections,
        now: Callable[[], float],
        network: Network,
        *,
        is_script: bool = False,
        is_users: bool = False,
    ) -> None:
        parsed = parse_url(url)
        self.url = str(parsed)
        self.received = self.skipped = 0
        self.trust = 0
        self.is_wanted = self.has_others = False
        self._host = parsed.origin.host
        self._torrent = torrent
        self._hosts = hosts
        self._now = now
        self._network = network
        self._parts: Parts = FileParts(url, torrent, layout)
        if is_script and torrent.info_hash is not None:
            self._parts = PieceParts(url, torrent.info_hash, torrent.geometry)
        self._policy = ANY if is_users else UNTRUSTED
        self._redirects = RedirectMemory()
        self._backoff = Backoff()
        self._runs = RunLength()
        self._connections = ConnectionCount()
        self._meter = SpeedMeter()
        self._contents = WebSeedContents(torrent, layout)
        self._had_data = False
        self._sends_whole_files = False
        self._off_because: str | None = None
        self._error: str | None = None
        self._swarm: WebSeedSwarm | None = None
        self._lanes: dict[WebSeedConnection, gevent.Greenlet] = {}
        self._sample_ends = 0.0
        self._sampled = 0
        self._is_held_back = False

    def __repr__(self) -> str:
        return self.url

    # ------------------------------------------------------------------ start and end

    def start(self, swarm: WebSeedSwarm) -> None:
        """Become a source of a swarm; it begins to fetch when it `is_wanted`."""
        self._swarm = swarm
        if not self.closed:
            swarm.picker.add_peer(self, self._contents.pieces, streams=True)

    def stop(self) -> None:
        """Give back what it was asked for, and close its connections."""
        lanes, self._lanes = self._lanes, {}
        gevent.killall(list(lanes.values()))
        if self._swarm is not None:
            self._swarm.picker.remove_peer(self)
            self._swarm = None

    def tick(self, now: float) -> None:
        """Open connections, as many as there should be, and give up one that is silent while all wait for it."""
        if self._swarm is None or self.closed:
            return
        self._take_sample(now)
        if self.is_wanted and self.may_be_asked(now):
            while len(self._lanes) < self._connections.count and self._hosts.has_room(self._host):
                self._open_lane()
        self.check_timeouts(now)

    def _may_skip(self) -> bool:
        """Whether what it would send in vain, if it sends whole files only, is worth it."""
        return not self._sends_whole_files or self._swarm is None or not self._swarm.has_peers

    def _turn_off(self, reason: str) -> None:
        _log.warning("web seed %s is not used any more: %s", self, reason)
        self._off_because = reason
        self.close()

    # ------------------------------------------------------------------ as a source of blocks

    @property
    def source(self) -> BlockSource:
        """Itself; see `ConnectionOwner`."""
        return self

    @property
    def remote_address(self) -> Address | None:
        """None: it is not a peer."""
        return None

    @property
    def peer_id(self) -> bytes | None:
        """None: it is not a peer."""
        return None

    @property
    def closed(self) -> bool:
        """Whether it is not used any more."""
        return self._off_because is not None

    @property
    def is_hopeless(self) -> bool:
        """Whether a download cannot count on it: it is off, or has only failed of late."""
        return self.closed or self._backoff.failures >= limits.WEB_SEED_FAILURES

    def may_be_asked(self, now: float) -> bool:
        """Whether it is neither off, nor to be left alone for a while after a failure."""
        return not self.closed and now >= self._backoff.until and self._may_skip()

    @property
    def is_active(self) -> bool:
        """Whether it is being fetched from."""
        return bool(self._lanes)

    @property
    def has_all(self) -> bool:
        """Whether it has every piece, for all that is known."""
        return bool(self._contents.pieces.all())

    def has(self, piece: int) -> bool:
        """Whether it has a piece, for all that is known."""
        return bool(self._contents.pieces[piece])

    def fill(self, now: float | None = None) -> None:
        """Its connections wait for news by themselves."""

    def cancel(self, piece: int, offset: int, length: int) -> None:
        """A block comes all the same, and is thrown away."""

    def withdraw(self) -> None:
        """Give back all that it was asked for, and close its connections."""
        for lane in list(self._lanes):
            lane.abort()

    def check_timeouts(self, now: float) -> None:
        """Give up connections that are slow while nothing else is left to fetch: others may be asked for it."""
        if self._swarm is None or not self._swarm.picker.in_endgame:
            return
        if not (self._swarm.has_peers or self.has_others):
            return
        for lane in list(self._lanes):
            since = lane.receiving_since
            if since is not None and now - since >= limits.WEB_SEED_PATIENCE:
                lane.abort()

    def convict(self, piece: int) -> None:
        """A piece that it had a part in was wrong: it is not asked for that piece again, nor for the file if the piece
        is all in one of several files, and after `limits.WEB_SEED_BAD_PIECES` not at all."""
        if self.closed:
            return
        self._error = f"wrong data in piece {piece}"
        self._lose(self._contents.convict(piece), self._error)
        wrong = len(self._contents.wrong)
        if wrong >= limits.WEB_SEED_BAD_PIECES:
            self._turn_off(f"{wrong} pieces were wrong")

    def close(self) -> None:
        """Use it no more."""
        self._off_because = self._off_because or "closed"
        if self._swarm is not None:
            self._swarm.picker.remove_peer(self)
        self.withdraw()

    def _lose(self, pieces: Sequence[int], reason: str) -> None:
        """It is not asked for pieces any more."""
        _log.info("web seed %s is not asked for %d pieces any more: %s", self, len(pieces), reason)
        for piece in pieces:
            if self._swarm is not None and not self.closed:
                self._swarm.picker.peer_lost(self, piece)
        if not self._contents.pieces.any() and not self.closed:
            self._turn_off(reason)

    # ------------------------------------------------------------------ connections

    @property
    def speed(self) -> float:
        """Bytes a second, over the last few seconds."""
        return self._meter.speed(self._now())

    @property
    def run_length(self) -> int:
        """The bytes of the next run; see `ConnectionOwner`."""
        return self._runs.size(self.speed / max(1, len(self._lanes)))

    def on_bytes(self, count: int, now: float) -> None:
        """See `ConnectionOwner`."""
        self.received += count
        self._meter.add(count, now)
        self._sampled += count
        if not self._had_data:
            self._had_data = True
            self._backoff.on_data()
            self._error = None

    def on_held_back(self) -> None:
        """See `ConnectionOwner`."""
        self._is_held_back = True

    def on_run_received(self) -> None:
        """See `ConnectionOwner`."""
        self._runs.on_received()

    def may_go_on(self, connection: WebSeedConnection) -> bool:
        """See `ConnectionOwner`. Of one connection too many the slowest is left."""
        if not self.is_wanted or self.closed:
            return False
        now = self._now()
        is_one_too_many = len(self._lanes) > self._connections.count
        return not is_one_too_many or connection is not min(self._lanes, key=lambda lane: lane.meter.speed(now))

    def _take_sample(self, now: float) -> None:
        """Learn whether another connection would be worth it, or the last one was."""
        if now < self._sample_ends:
            return
        seconds = now - self._sample_ends + limits.WEB_SEED_SAMPLE
        if self._lanes and self._sampled and self._sample_ends and not self._is_held_back:
            self._connections.on_sample(self._sampled / seconds)
        self._sample_ends, self._sampled, self._is_held_back = now + limits.WEB_SEED_SAMPLE, 0, False

    def _open_lane(self) -> None:
        assert self._swarm is not None
        client = HTTPClient(policy=self._policy, redirects=self._redirects, network=self._network, limit=self._hosts)
        reader = WebSeedReader(client, self._parts)
        reader.skips = self._sends_whole_files
        lane = WebSeedConnection(self, self._swarm, reader)
        self._lanes[lane] = spawn(f"web seed {self}", self._run, lane, reader)

    def _run(self, lane: WebSeedConnection, reader: WebSeedReader) -> None:
        try:
            while self._fetch(lane):
                pass
        except Exception as bug:
            _log.exception("web seed %s failed", self)
            self._turn_off(repr(bug))
        finally:
            self.skipped += reader.skipped
            reader.close()
            self._lanes.pop(lane, None)

    def _fetch(self, lane: WebSeedConnection) -> bool:
        """Fetch until there is nothing more, or a request fails. Returns whether to go on over the same connection."""
        try:
            lane.fetch_all(_IDLE)
            return False
        except FetchError as error:
            self._on_failure(error, self._now())
        pause = self._backoff.until - self._now()
        if self.closed or pause > _SHORT_PAUSE or not self._may_skip():
            return False
        gevent.sleep(max(0.0, pause))
        return True

    def _on_failure(self, error: FetchError, now: float) -> None:
        if self.closed:
            return
        self._error = str(error)
        self._connections.on_failure()
        if refuses(error.status):
            self._turn_off(str(error))
        elif isinstance(error, FileUnusable) and error.file >= 0:
            path = "/".join(self._torrent.files[error.file].path)
            self._lose(self._contents.lose_file(error.file), f"{path!r}: {error}")
        elif isinstance(error, RangesUnsupported):
            self._sends_whole_files = True
        elif isinstance(error, TooManyConnections):
            self._backoff.postpone(now)
        else:
            self._runs.on_failure()
            pause = self._backoff.on_failure(now, error.status, error.retry_after, had_data=self._had_data)
            _log.info("web seed %s is asked again in %g s: %s", self, pause, error)
        self._had_data = False

    # ------------------------------------------------------------------ status

    def status(self, now: float) -> WebSeedStatus:
        """Its state for the user."""
        waits = max(0.0, self._backoff.until - now)
        if self.closed:
            state = WebSeedState.OFF
        elif self._lanes:
            state = WebSeedState.DOWNLOADING
        else:
            state = WebSeedState.WAITING if waits else WebSeedState.IDLE
        return WebSeedStatus(
            url=self.url,
            state=state,
            downloaded=self.received,
            download_speed=self.speed,
            connections=len(self._lanes),
            wrong_pieces=len(self._contents.wrong),
            next_try=waits if state is WebSeedState.WAITING else None,
            error=self._off_because or self._error,
        )
