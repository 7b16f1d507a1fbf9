"""The routing table: which nodes come in, which go, and which are closest."""

from __future__ import annotations

import random

import pytest

from geventbt import limits
from geventbt.discovery.dht.contacts import Contact
from geventbt.discovery.dht.node_id import number_of, random_id, random_id_near, secure_id, shared_bits
from geventbt.discovery.dht.routing_table import RoutingTable

RNG = random.Random(5)
OWN = bytes(20)
LATER = limits.DHT_GOOD_TIME


def local(bits: int, port: int = 0) -> Contact:
    """A node of the local network that shares `bits` bits with us."""
    return Contact(random_id_near(OWN, bits, RNG), ("127.0.0.1", port or RNG.randrange(1, 65536)))


def public(bits: int, *, network: int | None = None, secure: bool = False) -> Contact:
    """A node of the internet."""
    host = f"9.{RNG.randrange(256)}.{RNG.randrange(256) if network is None else network}.{RNG.randrange(1, 255)}"
    if network is not None:
        host = f"9.9.{network}.{RNG.randrange(1, 255)}"
    while True:
        node_id = secure_id(host, RNG) if secure else random_id_near(OWN, bits, RNG)
        if shared_bits(OWN, node_id) == bits:
            return Contact(node_id, (host, 6881))
        host = f"9.{RNG.randrange(256)}.{RNG.randrange(256)}.1"


@pytest.fixture
def table() -> RoutingTable:
    return RoutingTable(OWN, 0.0)


def fill(table: RoutingTable, bits: int, now: float = 0.0) -> list[Contact]:
    """Fill a bucket."""
    size = max(limits.DHT_K, limits.DHT_FIRST_BUCKET >> bits)
    contacts = [local(bits, 1000 * (bits + 1) + number) for number in range(size)]
    assert all(table.answered(contact, now) for contact in contacts)
    return contacts


def test_a_node_comes_in_when_it_has_answered(table: RoutingTable) -> None:
    contact = local(0)
    table.heard_of(contact, 0.0)
    table.asked_us(contact, 0.0)
    assert len(table) == 0
    assert table.answered(contact, 0.0)
    assert contact.address in table
    assert table.closest(b"t" * 20) == [contact]


def test_our_own_id_stays_out(table: RoutingTable) -> None:
    assert not table.answered(Contact(OWN, ("127.0.0.1", 1)), 0.0)


@pytest.mark.parametrize(("bits", "size"), [(0, 128), (1, 64), (2, 32), (3, 16), (4, 8), (30, 8)])
def test_the_far_buckets_are_larger(table: RoutingTable, bits: int, size: int) -> None:
    for port in range(1, 200):
        table.answered(local(bits, port), 0.0)
    assert len(table) == size


def test_a_full_bucket_of_good_nodes_takes_no_other(table: RoutingTable) -> None:
    fill(table, 5)
    assert not table.answered(local(5, 99), 1.0)
    assert table.to_ping(1.0, urgent=False) is None


def test_a_questionable_node_is_pinged_when_another_could_take_its_place(table: RoutingTable) -> None:
    contacts = fill(table, 5)
    for contact in contacts[1:]:
        table.answered(contact, 100.0)
    newcomer = local(5, 99)
    assert not table.answered(newcomer, LATER)
    table.heard_of(local(5, 98), LATER)
    assert table.to_ping(LATER, urgent=False) == contacts[0]
    for _ in range(limits.DHT_MAX_FAILURES):
        table.failed(contacts[0].address, LATER)
    assert contacts[0].address not in table
    assert newcomer.address in table, "it had answered before, so it has the place at once"


def test_a_node_that_leaves_queries_unanswered_goes(table: RoutingTable) -> None:
    contact = local(2)
    table.answered(contact, 0.0)
    table.failed(contact.address, 1.0)
    assert table.closest(OWN) == [], "it is not given to others"
    table.answered(contact, 2.0)
    assert table.closest(OWN) == [contact]
    for _ in range(limits.DHT_MAX_FAILURES):
        table.failed(contact.address, 3.0)
    assert len(table) == 0


def test_a_node_that_asks_us_stays_good(table: RoutingTable) -> None:
    contact = local(2)
    table.answered(contact, 0.0)
    assert table.good_count(LATER) == 0
    table.asked_us(contact, LATER)
    assert table.good_count(LATER) == 1


def test_one_node_of_a_network_of_the_internet_is_enough(table: RoutingTable) -> None:
    assert table.answered(public(0, network=1), 0.0)
    assert not table.answered(public(0, network=1), 0.0)
    assert table.answered(public(0, network=2), 0.0)


def test_an_address_is_one_node(table: RoutingTable) -> None:
    old, new = local(0, 5), local(1, 5)
    table.answered(old, 0.0)
    assert table.answered(new, 1.0)
    assert [node.contact for node in table] == [new]


def test_an_id_does_not_move_while_its_node_is_good(table: RoutingTable) -> None:
    contact = local(0, 5)
    table.answered(contact, 0.0)
    moved = Contact(contact.id, ("127.0.0.1", 6))
    assert not table.answered(moved, 1.0)
    assert table.answered(moved, LATER + 1)
    assert [node.contact for node in table] == [moved]


def test_a_node_whose_id_fits_replaces_one_whose_does_not(table: RoutingTable) -> None:
    while table.answered(public(4), 0.0) or len(table) < limits.DHT_K:
        pass
    newcomer = public(4, secure=True)
    assert table.answered(newcomer, 1.0)
    assert len(table) == limits.DHT_K
    assert newcomer.address in table


@pytest.mark.parametrize("seed", range(20))
def test_the_closest_are_those_that_a_full_search_finds(seed: int) -> None:
    rng = random.Random(seed)
    table = RoutingTable(random_id(rng), 0.0)
    for port in range(1, 400):
        node_id = random_id_near(table.node_id, rng.randrange(12), rng) if port % 2 else random_id(rng)
        table.answered(Contact(node_id, ("127.0.0.1", port)), 0.0)
    targets = [random_id(rng), random_id_near(table.node_id, rng.randrange(20), rng), table.node_id]
    for target in targets:
        expected = sorted((node.contact for node in table), key=lambda c: number_of(c.id) ^ number_of(target))
        for count in (1, 8, 30, 1000):
            assert table.closest(target, count) == expected[:count]


def test_what_was_heard_of_is_pinged_once_where_there_is_room(table: RoutingTable) -> None:
    contacts = [local(6), local(7)]
    for contact in contacts:
        table.heard_of(contact, 0.0)
    pinged = {table.to_ping(0.0, urgent=True), table.to_ping(0.0, urgent=True)}
    assert pinged == set(contacts)
    assert table.to_ping(0.0, urgent=True) is None


def test_what_was_heard_of_and_is_not_there_is_forgotten(table: RoutingTable) -> None:
    contact = local(6)
    table.heard_of(contact, 0.0)
    table.forget(contact, 1.0)
    assert table.to_ping(1.0, urgent=True) is None


def test_replacements_are_bounded(table: RoutingTable) -> None:
    for port in range(1, 1000):
        table.heard_of(local(3, port), 0.0)
    pinged = 0
    while table.to_ping(0.0, urgent=False):
        pinged += 1
    assert pinged == limits.DHT_REPLACEMENTS


def test_a_bucket_without_a_change_is_refreshed_once_in_its_time(table: RoutingTable) -> None:
    fill(table, 1)
    fill(table, 0, now=10.0)
    assert table.stale_target(LATER - 1, RNG) is None
    target = table.stale_target(LATER, RNG)
    assert target is not None
    assert shared_bits(OWN, target) == 1
    assert table.stale_target(LATER, RNG) is None


def test_another_id_of_ours_keeps_the_nodes(table: RoutingTable) -> None:
    contacts = [local(bits) for bits in (0, 1, 2, 3, 9)]
    for contact in contacts:
        table.answered(contact, 5.0)
    other = table.change_id(b"\xff" * 20, 6.0)
    assert {node.contact for node in other} == set(contacts)
    assert other.node_id == b"\xff" * 20
    assert other.good_count(6.0) == 5
