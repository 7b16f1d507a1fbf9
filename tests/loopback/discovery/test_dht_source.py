"""The DHT as a source of a torrent's peers: whose turn it is to search, with many torrents."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from gevent.event import Event

from geventbt.discovery.announce_queue import AnnounceQueue
from geventbt.discovery.dht.source import DHTSource
from geventbt.net.addresses import Address
from tests.loopback.harness import eventually

PEER = ("198.51.100.1", 6881)


class Search:
    """A search that goes on until it is ended, and finds one peer where there are nodes."""

    stored = 1

    def __init__(self, dht: DHT, name: bytes) -> None:
        self._dht = dht
        self._name = name
        self.answers = int(dht.has_nodes)

    def __iter__(self) -> Iterator[tuple[Address, str]]:
        self._dht.searching.append(self._name)
        if self._dht.has_nodes:
            self._dht.ends.wait()
            yield PEER, "198.51.100.2"

    def close(self) -> None:
        """It is over."""
        self._dht.searching.remove(self._name)
        self._dht.searched.append(self._name)


class DHT:
    """A DHT with places for two, or one without nodes."""

    def __init__(self) -> None:
        self.unhurried = AnnounceQueue(2, 2)
        self.has_nodes = True
        self.has_prospects = True
        self.searching: list[bytes] = []
        self.searched: list[bytes] = []
        self.ends = Event()

    def status(self) -> Any:
        """What it has."""
        return SimpleNamespace(is_ready=self.has_nodes, nodes=int(self.has_nodes), nodes_ipv6=0)

    def find_peers(self, info_hash: bytes, **options: Any) -> Any:
        """Begin a search."""
        return Search(self, info_hash)


Make = Callable[..., DHTSource]


@pytest.fixture
def dht() -> DHT:
    return DHT()


@pytest.fixture
def source(dht: Any) -> Iterator[Make]:
    made: list[DHTSource] = []

    def make(name: bytes, *, is_seed: bool = True) -> DHTSource:
        each = DHTSource(
            dht, name, lambda peers, node: None, port=lambda: 1, is_seed=lambda: is_seed, rng=random.Random(1)
        )
        each.start()
        made.append(each)
        return each

    yield make
    for each in made:
        each.stop(1)


def test_seeds_search_in_turn_and_who_lacks_something_at_once(dht: DHT, source: Make) -> None:
    for name in (b"a", b"b", b"c", b"d"):
        source(name)
    eventually(lambda: dht.searching == [b"a", b"b"])
    source(b"e", is_seed=False)
    eventually(lambda: dht.searching == [b"a", b"b", b"e"])
    dht.ends.set()
    eventually(lambda: sorted(dht.searched) == [b"a", b"b", b"c", b"d", b"e"])


def test_a_torrent_that_leaves_gives_its_turn_to_the_next(dht: DHT, source: Make) -> None:
    first, second, third = (source(name) for name in (b"a", b"b", b"c"))
    source(b"d")
    eventually(lambda: dht.searching == [b"a", b"b"])
    third.stop(1)
    first.stop(1)
    eventually(lambda: dht.searching == [b"b", b"d"])
    second.stop(1)
    assert b"c" not in dht.searched


def test_without_nodes_only_those_in_turn_look_for_them(dht: DHT, source: Make) -> None:
    dht.has_nodes = False
    sources = [source(name) for name in (b"a", b"b", b"c")]
    eventually(lambda: dht.searched == [b"a", b"b"])
    (status,) = sources[0].status.values()
    assert status.error == "no node of the DHT answers"
    dht.has_nodes = True
    dht.ends.set()
    eventually(lambda: sorted(dht.searched[2:]) == [b"a", b"b", b"c"])
    (status,) = sources[0].status.values()
    assert (status.error, status.peers, status.nodes) == (None, 1, 1)
