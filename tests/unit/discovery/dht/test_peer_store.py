"""The peers that are stored for others."""

from __future__ import annotations

import random

import pytest

from geventbt import limits
from geventbt.discovery.dht.peer_store import PeerStore

HASH = b"h" * 20


def address(number: int) -> tuple[str, int]:
    return f"8.{number >> 16}.{number >> 8 & 255}.{number & 255}", 6881


@pytest.fixture
def store() -> PeerStore:
    return PeerStore(random.Random(1), info_hashes=3, peers=5)


def test_what_was_announced_is_given(store: PeerStore) -> None:
    assert store.add(HASH, address(1), 0.0, is_seed=False)
    assert store.peers(HASH, 10) == [address(1)]
    assert store.peers(b"o" * 20, 10) == []


def test_a_host_of_the_internet_counts_once(store: PeerStore) -> None:
    store.add(HASH, ("8.8.8.8", 1), 0.0, is_seed=False)
    store.add(HASH, ("8.8.8.8", 2), 0.0, is_seed=True)
    assert store.peers(HASH, 10) == [("8.8.8.8", 2)]


def test_the_ports_of_a_local_host_are_peers_of_their_own(store: PeerStore) -> None:
    store.add(HASH, ("127.0.0.1", 1), 0.0, is_seed=False)
    store.add(HASH, ("127.0.0.1", 2), 0.0, is_seed=False)
    assert len(store.peers(HASH, 10)) == 2


def test_a_full_torrent_takes_only_those_that_it_knows(store: PeerStore) -> None:
    for number in range(5):
        assert store.add(HASH, address(number), 0.0, is_seed=False)
    assert not store.has_room(HASH, address(9)[0])
    assert store.has_room(HASH, address(0)[0])
    assert not store.add(HASH, address(9), 0.0, is_seed=False)
    assert store.add(HASH, address(0), 0.0, is_seed=False)


def test_the_torrent_that_was_not_announced_for_longest_goes(store: PeerStore) -> None:
    first, second, third, fourth = (bytes([number]) * 20 for number in range(4))
    for info_hash in (first, second, third, first, fourth):
        store.add(info_hash, address(1), 0.0, is_seed=False)
    assert second not in store
    assert all(info_hash in store for info_hash in (first, third, fourth))


def test_peers_are_forgotten_after_their_time(store: PeerStore) -> None:
    store.add(HASH, address(1), 0.0, is_seed=False)
    store.add(HASH, address(2), 10.0, is_seed=False)
    store.expire(limits.DHT_PEER_TIME)
    assert store.peers(HASH, 10) == [address(2)]
    store.expire(limits.DHT_PEER_TIME + 10)
    assert len(store) == 0


def test_seeds_can_be_left_out(store: PeerStore) -> None:
    store.add(HASH, address(1), 0.0, is_seed=True)
    store.add(HASH, address(2), 0.0, is_seed=False)
    assert store.peers(HASH, 10, without_seeds=True) == [address(2)]


def test_more_peers_than_wanted_are_chosen_at_random(store: PeerStore) -> None:
    for number in range(5):
        store.add(HASH, address(number), 0.0, is_seed=False)
    assert len({tuple(store.peers(HASH, 2)) for _ in range(50)}) > 5


def test_the_filters_count_seeds_and_others_apart(store: PeerStore) -> None:
    for number in range(4):
        store.add(HASH, address(number), 0.0, is_seed=number < 1)
    seeds, others = store.filters(HASH)
    assert (round(seeds.estimate()), round(others.estimate())) == (1, 3)


def test_a_large_sample_stays_the_same_for_hours() -> None:
    store = PeerStore(random.Random(1))
    for number in range(100):
        store.add(bytes([number]) * 20, address(1), 0.0, is_seed=False)
    sample, interval = store.sample(0.0)
    assert len(set(sample)) == limits.DHT_SAMPLES
    assert interval == limits.DHT_SAMPLE_INTERVAL
    assert store.sample(interval - 1) == (sample, 1.0)
    assert store.sample(interval)[0] != sample


def test_a_small_sample_is_all_there_is(store: PeerStore) -> None:
    store.add(HASH, address(1), 0.0, is_seed=False)
    assert store.sample(0.0) == ((HASH,), 0.0)
