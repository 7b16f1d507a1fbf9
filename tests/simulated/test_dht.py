"""The DHT in a network of a thousand nodes, in virtual time: what it finds, how soon, and with how many packets."""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import partial
from statistics import mean, median, quantiles
from typing import NamedTuple

import pytest

from geventbt import bencoding
from geventbt.discovery.dht import messages as m
from geventbt.discovery.dht.contacts import Contact, pack_contacts
from geventbt.discovery.dht.goals import Announce, FindItem, FindPeers, StoreMutable
from geventbt.discovery.dht.search import Search
from geventbt.net.addresses import Address
from tests.simulated.dht_network import Network

NODES, FEWER_NODES, SEARCHES = 1000, 500, 100


class Outcome(NamedTuple):
    """What came of many searches."""

    found: int
    first: list[float]
    finished: list[float]
    queries: list[int]


def announce_many(network: Network, count: int, *, seconds: float = 10.0) -> list[bytes]:
    """Announce a peer of each of many torrents, all within some seconds, each from a node of its own."""
    hashes = [network.rng.randbytes(20) for _ in range(count)]
    addresses = network.rng.sample(network.living(), count)
    searches = []
    for info_hash, address in zip(hashes, addresses, strict=True):
        searches.append(network.search(address, FindPeers(info_hash, Announce(6881))))
        network.run(seconds / count)
    network.run(30.0, until=lambda: all(search.is_over for search in searches))
    assert mean(search.stored for search in searches) >= 6.5
    return hashes


def search_many(network: Network, hashes: list[bytes], *, seconds: float = 10.0) -> Outcome:
    """Look for the peers of each torrent, each from a node of its own."""
    first: dict[bytes, float] = {}
    finished: dict[bytes, float] = {}
    searches: list[Search] = []
    for info_hash, address in zip(hashes, network.rng.sample(network.living(), len(hashes)), strict=True):
        started, goal = network.now, FindPeers(info_hash)

        def note(started: float = started, goal: FindPeers = goal) -> None:
            if goal.found:
                first.setdefault(goal.target, network.now - started)
            if any(search.goal is goal and search.is_over for search in searches):
                finished.setdefault(goal.target, network.now - started)

        searches.append(network.search(address, goal, note))
        network.run(seconds / len(hashes))
    network.run(60.0, until=lambda: all(search.is_over for search in searches))
    assert len(finished) == len(hashes)
    return Outcome(len(first), list(first.values()), list(finished.values()), [search.queries for search in searches])


def test_lookups_in_a_network_with_dead_nodes_and_losses() -> None:
    network = Network(3, loss=0.05)
    network.fill(NODES)
    hashes = announce_many(network, SEARCHES)
    network.kill(network.rng.sample(network.living(), 3 * NODES // 10))
    outcome = search_many(network, hashes)
    assert outcome.found >= 0.99 * SEARCHES
    assert median(outcome.first) <= 0.5
    assert quantiles(outcome.finished, n=20)[-1] <= 2.5
    assert mean(outcome.queries) <= 20


def test_lookups_where_half_of_the_nodes_are_dead() -> None:
    network = Network(2, loss=0.05)
    network.fill(NODES)
    hashes = announce_many(network, SEARCHES)
    network.kill(network.rng.sample(network.living(), NODES // 2))
    assert search_many(network, hashes).found >= 0.99 * SEARCHES


def test_the_closest_nodes_are_found_nearly_all() -> None:
    network = Network(3)
    network.fill(FEWER_NODES)
    recalls = []
    for _ in range(20):
        search = network.run_search(network.rng.choice(network.living()), FindPeers(network.rng.randbytes(20)))
        closest = {contact.address for contact in search.lookup.answers()[:8]}
        recalls.append(len(closest & set(network.true_closest(search.goal.target))) / 8)
    assert mean(recalls) > 0.9


def liars_near(network: Network, target: bytes, hosts: Iterable[str]) -> list[Contact]:
    """Nodes whose ids are as close to a target as can be; they know only each other, and no peers."""
    liars = [Contact(target[:18] + number.to_bytes(2, "big"), (host, 6881)) for number, host in enumerate(hosts)]
    packed = pack_contacts(random.Random(1).sample(liars, 8))

    def lie(own_id: bytes, data: bytes, source: Address) -> list[tuple[bytes, Address]]:
        transaction_id = bencoding.decode(data)[b"t"]
        values = {b"nodes": m.string(packed), b"token": m.string(b"token")}
        return [(m.write_reply(transaction_id, own_id, values, source), source)]

    for liar in liars:
        network.add_handler(liar.address, partial(lie, liar.id))
    return liars


@pytest.mark.parametrize("spread", [False, True], ids=["in one network", "each in a network of its own"])
def test_a_hundred_liars_close_to_the_target_do_not_hide_it(spread: bool) -> None:
    network = Network(4, loss=0.05)
    network.fill(FEWER_NODES)
    (info_hash,) = announce_many(network, 1)
    hosts = [f"150.{number}.7.1" if spread else f"150.1.7.{number + 1}" for number in range(100)]
    liars = liars_near(network, info_hash, hosts)
    for address in network.living():
        for liar in network.rng.sample(liars, 8):
            network.nodes[address].table.answered(liar, network.now)
    found = 0
    for address in network.rng.sample(network.living(), 20):
        goal = FindPeers(info_hash)
        network.run_search(address, goal)
        found += bool(goal.found)
    assert found == 20


def test_a_network_grows_from_one_node_and_knows_itself() -> None:
    network = Network(5, loss=0.05)
    nodes = network.grow(60, seconds=20.0)
    assert min(len(network.nodes[address].table) for address in nodes) >= 16
    hashes = announce_many(network, 20)
    assert search_many(network, hashes).found == 20


def test_to_begin_costs_few_packets() -> None:
    network = Network(6)
    nodes = network.fill(300)
    newcomer = network.new_address()
    node = network.add_node(newcomer)
    node.upkeep.begin([Contact(network.nodes[other].node_id, other) for other in nodes[:3]], network.now)
    network.flush(newcomer)
    network.run(60.0)
    assert node.upkeep.is_ready(network.now)
    assert node.counters.queries <= 150
    assert len(node.table) >= 60


def test_a_mutable_item_is_updated_and_the_newest_is_found() -> None:
    network = Network(7, loss=0.05)
    nodes = network.fill(200)
    target = b""
    for number in range(3):
        goal = StoreMutable(b"value %d" % number, b"s" * 32, b"salt")
        assert network.run_search(nodes[number], goal).stored >= 6
        target = goal.target
    found = FindItem(target, b"salt")
    network.run_search(nodes[50], found)
    assert found.item is not None
    assert (found.item.value, found.item.seq) == (b"value 2", 3)


def test_a_node_without_a_network_keeps_its_table() -> None:
    network = Network(8)
    nodes = network.fill(100)
    before = len(network.nodes[nodes[0]].table)
    network.kill(nodes[1:])
    search = network.search(nodes[0], FindPeers(b"x" * 20))
    network.run(30.0)
    network.flush(nodes[0])
    search = network.run_search(nodes[0], FindPeers(b"y" * 20))
    network.run(30.0)
    assert not search.lookup.answers()
    assert len(network.nodes[nodes[0]].table) >= before - 40


def test_never_more_queries_a_second_than_allowed() -> None:
    network = Network(9)
    nodes = network.fill(300)
    for _ in range(40):
        network.search(nodes[0], FindPeers(network.rng.randbytes(20)))
    started, before = network.now, network.nodes[nodes[0]].counters.queries
    for _ in range(10):
        network.run(1.0)
        sent = network.nodes[nodes[0]].counters.queries - before
        assert sent <= 100 + 50 * (network.now - started)
