"""Room for the connections of a client: how many there may be, and which gives its place up to a better one. Pure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from geventbt import limits
from geventbt.client.peers.eviction import Place, least_useful

_log = logging.getLogger("geventbt")


class Evictable(Protocol):
    """A peer that can be left."""

    def close(self) -> None:
        """Leave it at once."""


class ConnectionHolder(Protocol):
    """Holds connections: a swarm."""

    @property
    def places(self) -> Sequence[Place[Evictable]]:
        """The connections that it has."""

    @property
    def inbound(self) -> int:
        """How many of them were opened by the peer."""

    @property
    def keeps_outbound(self) -> bool:
        """Whether places are to be kept for peers that it connects to: something is missing."""


class ConnectionRoom:
    """Bounds the connections of all torrents of one client.

    Args:
        max_connections: of all torrents together.
        count_connections: returns how many they have.
    """

    def __init__(self, max_connections: int, count_connections: Callable[[], int]) -> None:
        self._max_connections = max_connections
        self._count_connections = count_connections
        # Connections that may be begun before they are counted again: it takes 2 ms with a thousand torrents.
        self._room = 0
        self._holders: set[ConnectionHolder] = set()
        self._evicted_at = float("-inf")

    @property
    def max_connections(self) -> int:
        """Connections of all torrents together."""
        return self._max_connections

    @max_connections.setter
    def max_connections(self, value: int) -> None:
        self._max_connections, self._room = value, 0

    def enter(self, holder: ConnectionHolder) -> None:
        """Count the peers of a swarm among those that may have to give their places up."""
        self._holders.add(holder)

    def leave(self, holder: ConnectionHolder) -> None:
        """Count them no longer."""
        self._holders.discard(holder)

    def has_room(self, *, inbound: bool = False) -> bool:
        """Whether there may be one more connection, which is counted then. Some places are not for inbound ones, while
        any torrent lacks something."""
        if inbound and sum(holder.inbound for holder in self._holders) >= self._max_connections - self._kept:
            return False
        if self._room <= 0:
            self._room = self._max_connections - self._count_connections()
        self._room -= 1
        return self._room >= 0

    @property
    def _kept(self) -> int:
        is_downloading = any(holder.keeps_outbound for holder in self._holders)
        return self._max_connections // limits.OUTBOUND_SHARE if is_downloading else 0

    def make_room(self, now: float, holder: ConnectionHolder | None = None) -> bool:
        """Leave the peer that is of least use, if there is one and the last was not left just now.

        Args:
            now: the time.
            holder: only a peer of this swarm; None for one of any torrent.

        Returns:
            Whether there is a place now.
        """
        if now < self._evicted_at + limits.EVICTION_INTERVAL:
            return False
        holders = self._holders if holder is None else [holder]
        place = least_useful((place for each in holders for place in each.places), now)
        if place is None:
            return False
        self._evicted_at = now
        _log.info("%s gives its place up to another peer", place.peer)
        place.peer.close()
        return True
