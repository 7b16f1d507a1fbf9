"""The peers that others have announced to us (BEP 5, 33, 51). Pure."""

from __future__ import annotations

import random
from collections.abc import Hashable
from typing import NamedTuple

from geventbt import limits
from geventbt.discovery.dht.contacts import host_of
from geventbt.discovery.dht.peer_filter import PeerFilter
from geventbt.net.addresses import Address


class _Peer(NamedTuple):
    address: Address
    is_seed: bool
    announced_at: float


class PeerStore:
    """Peers by info hash: bounded in both, and forgotten after 45 minutes.

    When there are too many torrents, the one goes that was not announced for the longest time.

    Args:
        rng: chooses among more peers or torrents than an answer has room for.
        info_hashes: how many torrents are kept.
        peers: how many peers of each.
    """

    def __init__(
        self,
        rng: random.Random,
        *,
        info_hashes: int = limits.DHT_INFO_HASHES,
        peers: int = limits.DHT_SWARM_PEERS,
    ) -> None:
        self._rng = rng
        self._most_info_hashes = info_hashes
        self._most_peers = peers
        self._swarms: dict[bytes, dict[Hashable, _Peer]] = {}
        self._sample: tuple[bytes, ...] = ()
        self._sampled_at = float("-inf")

    def __len__(self) -> int:
        return len(self._swarms)

    def __contains__(self, info_hash: bytes) -> bool:
        return info_hash in self._swarms

    def has_room(self, info_hash: bytes, host: str) -> bool:
        """Whether an announce of this host would be stored (BEP 33: no token is given for one that would not)."""
        swarm = self._swarms.get(info_hash, {})
        return len(swarm) < self._most_peers or any(peer.address[0] == host for peer in swarm.values())

    def add(self, info_hash: bytes, address: Address, now: float, *, is_seed: bool) -> bool:
        """Store an announce. A host of the internet counts once, whatever its ports (BEP 33).

        Returns:
            Whether there was room.
        """
        swarm = self._swarms.pop(info_hash, {})
        key = address[0] if host_of(address[0]).is_global else address
        has_room = key in swarm or len(swarm) < self._most_peers
        if has_room:
            swarm[key] = _Peer(address, is_seed, now)
        if len(self._swarms) >= self._most_info_hashes:
            del self._swarms[next(iter(self._swarms))]
        # To the end of the order, by which the next one to go is found.
        self._swarms[info_hash] = swarm
        return has_room

    def peers(self, info_hash: bytes, count: int, *, without_seeds: bool = False) -> list[Address]:
        """At most `count` peers of a torrent, chosen at random where there are more."""
        swarm = self._swarms.get(info_hash, {})
        found = [peer.address for peer in swarm.values() if not (without_seeds and peer.is_seed)]
        return self._rng.sample(found, count) if len(found) > count else found

    def filters(self, info_hash: bytes) -> tuple[PeerFilter, PeerFilter]:
        """The seeds of a torrent, and its other peers (BEP 33)."""
        seeds, others = PeerFilter(), PeerFilter()
        for peer in self._swarms.get(info_hash, {}).values():
            (seeds if peer.is_seed else others).add(host_of(peer.address[0]).packed)
        return seeds, others

    def sample(self, now: float) -> tuple[tuple[bytes, ...], float]:
        """Some of the info hashes, and for how many seconds there will be no others (BEP 51).

        Where there are more than fit into an answer, the same ones are given for six hours, so that it is of no use to
        ask again and again.
        """
        if len(self._swarms) <= limits.DHT_SAMPLES:
            return tuple(self._swarms), 0.0
        if now - self._sampled_at >= limits.DHT_SAMPLE_INTERVAL:
            self._sample = tuple(self._rng.sample(list(self._swarms), limits.DHT_SAMPLES))
            self._sampled_at = now
        return self._sample, self._sampled_at + limits.DHT_SAMPLE_INTERVAL - now

    def expire(self, now: float) -> None:
        """Forget what was announced too long ago."""
        for info_hash, swarm in list(self._swarms.items()):
            for key in [key for key, peer in swarm.items() if now - peer.announced_at >= limits.DHT_PEER_TIME]:
                del swarm[key]
            if not swarm:
                del self._swarms[info_hash]
