"""The DHT as a source of a torrent's peers: searches and announces while the torrent runs (BEP 5)."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING

from geventbt import limits
from geventbt.concurrency.routine import Routine
from geventbt.discovery.periodic import AskAgain
from geventbt.errors import GeventBTError
from geventbt.net.addresses import Address, Ports

if TYPE_CHECKING:
    from geventbt.discovery.dht.dht import DHT

_log = logging.getLogger("geventbt")

NAME = "dht"
_SEARCH_TIMEOUT = 60.0
_FIRST_LOOK, _LONGEST_LOOK = 0.1, 10.0
"""Seconds between two looks whether the DHT has nodes: a thousand torrents may wait for a network that is not there."""


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
        port: returns where we take connections, over both address families or each; None if we do not, so that nothing
            is announced.
        is_seed: returns whether we have all of the torrent.
        rng: varies the interval.
        delay: seconds before the first search.
    """

    allowed_for_private = False

    def __init__(
        self,
        dht: DHT,
        info_hash: bytes,
        on_peers: Callable[[list[Address], str], None],
        *,
        port: Callable[[], int | Ports | None],
        is_seed: Callable[[], bool],
        rng: random.Random,
        delay: float = 0.0,
    ) -> None:
        self._dht = dht
        self._info_hash = info_hash
        self._on_peers = on_peers
        self._port = port
        self._is_seed = is_seed
        self._delay = delay
        self._again = AskAgain(limits.DHT_ANNOUNCE_INTERVAL, limits.DHT_MIN_ANNOUNCE_INTERVAL, rng)
        self._routine = Routine("DHT peers", self._search_if_due)
        self._pause = 0.0
        self._has_place = False
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
        self._routine.start(self._delay)

    def need_more(self) -> None:
        """Search sooner, as soon as that makes sense."""
        if self._again.need_more():
            self._routine.wake()

    def completed(self) -> None:
        """Announce soon that we have all of the torrent (BEP 33)."""
        self._again.ask_soon()
        self._routine.wake()

    def moved(self) -> None:
        """Announce soon where we are reached now."""
        self._again.ask_soon()
        self._routine.wake()

    def stop(self, timeout: float) -> None:
        """Search no more. The DHT has no way to say that we leave."""
        self._routine.stop(timeout)
        self._leave_queue()

    def _search_if_due(self) -> float | None:
        """Search when it is due and our turn. Returns the seconds until the next look; None while others have turns."""
        wait = self._again.due - monotonic()
        if wait > 0:
            return wait
        if self._pause and not self._dht.status().is_ready:
            self._pause = min(1.5 * self._pause, _LONGEST_LOOK)
            return self._pause
        if self._is_seed() and not self._has_place:
            self._has_place = self._dht.unhurried.enter(self._routine.wake)
            if not self._has_place:
                return None
        self._search()
        if self._pause:
            # With its place, if it has one: the others need not look as well.
            return self._pause
        self._leave_queue()
        return self._again.due - monotonic()

    def _leave_queue(self) -> None:
        has_place, self._has_place = self._has_place, False
        if has_place:
            self._dht.unhurried.leave()
        else:
            self._dht.unhurried.withdraw(self._routine.wake)

    def _search(self) -> None:
        self._pause = 0.0
        self._again.begin()
        try:
            self._search_once()
        except GeventBTError as error:
            self._note(0, 0, str(error))
        except Exception as error:
            _log.exception("a search in the DHT failed")
            self._note(0, 0, str(error))

    def _search_once(self) -> None:
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
        finally:
            peers.close()
        if peers.answers:
            self._note(count, peers.stored, None)
        else:
            self._status = replace(self._status, error="no node of the DHT answers")
            self._pause = _FIRST_LOOK

    def _note(self, peers: int, stored: int, error: str | None) -> None:
        now = monotonic()
        self._again.asked(now, found=len(self._known) > self._before)
        self._before = len(self._known)
        self._status = DHTSourceStatus(0, peers, stored, now, self._again.due, error)
