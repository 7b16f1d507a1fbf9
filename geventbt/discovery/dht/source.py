"""The DHT as a source of a torrent's peers: searches and announces while the torrent runs (BEP 5)."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event

from geventbt import limits
from geventbt.concurrency.greenlets import spawn
from geventbt.discovery.periodic import AskAgain
from geventbt.errors import DHTTimeout, GeventBTError
from geventbt.net.addresses import Address

if TYPE_CHECKING:
    from geventbt.discovery.dht.dht import DHT

_log = logging.getLogger("geventbt")

NAME = "dht"
_SEARCH_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class DHTSourceStatus:
    """A `SourceStatus`: the searches and announces of one torrent in the DHT.

    Attributes:
        nodes: good nodes that the DHT has.
        peers: how many the last search found.
        stored: how many nodes have stored the last announce.
        last_announce: when the last search ended, on the clock of `time.monotonic`; None before it.
        next_announce: when the next one begins, on the same clock.
        error: why the last search failed, or None.
    """

    nodes: int = 0
    peers: int = 0
    stored: int = 0
    last_announce: float | None = None
    next_announce: float | None = None
    error: str | None = None


class DHTSource:
    """A `PeerSource`: the DHT, for one torrent.

    Args:
        dht: the node, which others may share.
        info_hash: of the torrent.
        on_peers: called with addresses, and the IP address of the node that named them.
        port: returns where we take connections; None if we do not, so that nothing is announced.
        is_seed: returns whether we have all of the torrent.
        delay: seconds before the first search.
    """

    allowed_for_private = False

    def __init__(
        self,
        dht: DHT,
        info_hash: bytes,
        on_peers: Callable[[list[Address], str], None],
        *,
        port: Callable[[], int | None],
        is_seed: Callable[[], bool],
        delay: float = 0.0,
    ) -> None:
        self._dht = dht
        self._info_hash = info_hash
        self._on_peers = on_peers
        self._port = port
        self._is_seed = is_seed
        self._delay = delay
        self._again = AskAgain(limits.DHT_ANNOUNCE_INTERVAL, limits.DHT_MIN_ANNOUNCE_INTERVAL, random.Random())
        self._wake = Event()
        self._greenlet: gevent.Greenlet | None = None
        self._status = DHTSourceStatus()
        self._known: set[Address] = set()
        self._before = 0

    @property
    def can_find_more(self) -> bool:
        """Whether it may ever find another peer; see `PeerSource`."""
        return self._dht.has_prospects

    @property
    def status(self) -> Mapping[str, DHTSourceStatus]:
        """The status, under its name."""
        nodes = self._dht.status()
        return {NAME: replace(self._status, nodes=nodes.nodes + nodes.nodes_ipv6)}

    def start(self) -> None:
        """Search and announce, now and from then on, in the background."""
        if self._greenlet is None:
            self._greenlet = spawn("DHT peers", self._run)

    def need_more(self) -> None:
        """Search sooner, as soon as that makes sense."""
        self._again.need_more()
        self._wake.set()

    def completed(self) -> None:
        """Announce soon that we have all of the torrent (BEP 33)."""
        self._again.ask_soon()
        self._wake.set()

    def moved(self) -> None:
        """Announce soon where we are reached now."""
        self._again.ask_soon()
        self._wake.set()

    def stop(self, timeout: float) -> None:
        """Search no more. The DHT has no way to say that we leave."""
        greenlet, self._greenlet = self._greenlet, None
        if greenlet is not None:
            greenlet.kill(timeout=timeout)

    def _run(self) -> None:
        gevent.sleep(self._delay)
        while True:
            self._wake.clear()
            wait = self._again.due - monotonic()
            if wait > 0:
                self._wake.wait(wait)
                continue
            try:
                self._search()
            except DHTTimeout:
                continue
            except GeventBTError as error:
                self._note(0, 0, str(error))
            except Exception as error:
                _log.exception("a search in the DHT failed")
                self._note(0, 0, str(error))

    def _search(self) -> None:
        self._again.begin()
        peers = self._dht.find_peers(
            self._info_hash, announce_port=self._port(), seed=self._is_seed(), timeout=_SEARCH_TIMEOUT
        )
        count = 0
        try:
            for address, node in peers:
                count += 1
                if len(self._known) < limits.DHT_PEERS_OF_SEARCH:
                    self._known.add(address)
                self._on_peers([address], node)
            if peers.answers:
                self._note(count, peers.stored, None)
            else:
                self._status = replace(self._status, error="no node of the DHT answers")
                self._dht.wait_ready(_SEARCH_TIMEOUT)
        finally:
            peers.close()

    def _note(self, peers: int, stored: int, error: str | None) -> None:
        now = monotonic()
        self._again.asked(now, found=len(self._known) > self._before)
        self._before = len(self._known)
        self._status = DHTSourceStatus(0, peers, stored, now, self._again.due, error)
