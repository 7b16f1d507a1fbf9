"""Lookups: whom they ask, and when they are over."""

from __future__ import annotations

import random

import pytest

from geventbt import limits
from geventbt.discovery.dht.contacts import Contact
from geventbt.discovery.dht.lookup import Lookup
from geventbt.discovery.dht.node_id import secure_id

TARGET = bytes(20)
OWN = b"\xff" * 20


def at(distance: int) -> Contact:
    """A local node so far from the target."""
    return Contact(distance.to_bytes(20, "big"), ("127.0.0.1", distance & 0xFFFF))


@pytest.fixture
def lookup() -> Lookup:
    return Lookup(TARGET, OWN, width=3)


def ask_all(lookup: Lookup, now: float = 0.0) -> list[Contact]:
    asked = []
    while (node := lookup.next(now)) is not None:
        asked.append(node)
    return asked  # type: ignore[return-value]


def answer(lookup: Lookup, contact: Contact, *, was_slow: bool = False) -> None:
    lookup.answered(contact, b"token", was_slow=was_slow)


def test_the_closest_are_asked_first_and_a_few_at_a_time(lookup: Lookup) -> None:
    lookup.add([at(5), at(2), at(9), at(1), at(7)])
    assert ask_all(lookup) == [at(1), at(2), at(5)]
    answer(lookup, at(2))
    assert ask_all(lookup) == [at(7)]


def test_closer_nodes_that_are_heard_of_are_next(lookup: Lookup) -> None:
    lookup.add([at(50), at(60), at(70), at(80)])
    ask_all(lookup)
    lookup.add([at(3)])
    answer(lookup, at(50))
    assert ask_all(lookup) == [at(3)]


def test_a_slow_node_gives_its_turn_to_the_next(lookup: Lookup) -> None:
    lookup.add([at(n) for n in range(1, 6)])
    ask_all(lookup)
    lookup.slow(at(1).address)
    assert ask_all(lookup) == [at(4)]


def test_it_converges_when_eight_have_answered_that_are_closer_than_all_others(lookup: Lookup) -> None:
    lookup.add([at(n) for n in range(1, 20)])
    for n in range(1, limits.DHT_K + 1):
        assert not lookup.has_converged(0.0)
        lookup.next(0.0)
        answer(lookup, at(n))
    assert lookup.has_converged(0.0)
    assert ask_all(lookup) == []
    assert lookup.answers() == [at(n) for n in range(1, 9)]


def test_slow_and_farther_nodes_do_not_hold_it_up(lookup: Lookup) -> None:
    lookup.add([at(n) for n in range(1, 11)])
    for n in range(1, 11):
        if lookup.next(0.0) is None:
            break
        if n in (2, 4):
            lookup.slow(at(n).address)
        else:
            answer(lookup, at(n))
    assert lookup.has_converged(0.0)


def test_a_closer_node_that_was_just_asked_holds_it_up(lookup: Lookup) -> None:
    lookup.add([at(n) for n in range(2, 10)])
    for n in range(2, 10):
        lookup.next(0.0)
        answer(lookup, at(n))
    lookup.add([at(1)])
    lookup.next(0.0)
    assert not lookup.has_converged(0.0)
    lookup.slow(at(1).address)
    assert lookup.has_converged(0.0)


def test_with_too_few_nodes_the_slow_ones_are_waited_for_a_while(lookup: Lookup) -> None:
    lookup.add([at(1), at(2)])
    ask_all(lookup)
    answer(lookup, at(1))
    lookup.slow(at(2).address)
    assert not lookup.has_converged(limits.DHT_LAST_PATIENCE - 0.1)
    assert lookup.has_converged(limits.DHT_LAST_PATIENCE)


def test_where_none_answers_the_slow_ones_are_waited_for_to_the_end(lookup: Lookup) -> None:
    lookup.add([at(1)])
    ask_all(lookup)
    lookup.slow(at(1).address)
    assert not lookup.has_converged(limits.DHT_ANSWER_TIMEOUT - 1)
    lookup.failed(at(1).address, was_slow=True)
    assert lookup.has_converged(limits.DHT_ANSWER_TIMEOUT)


def test_a_late_answer_counts(lookup: Lookup) -> None:
    lookup.add([at(1)])
    ask_all(lookup)
    lookup.slow(at(1).address)
    answer(lookup, at(1), was_slow=True)
    assert lookup.answers() == [at(1)]


def test_without_nodes_it_is_over_at_once(lookup: Lookup) -> None:
    assert lookup.has_converged(0.0)
    assert lookup.is_starving


def test_one_node_of_a_network_is_enough_unless_it_is_in_our_own_table(lookup: Lookup) -> None:
    lookup.add([Contact(bytes([n]) * 20, (f"9.9.9.{n}", 1)) for n in range(1, 5)])
    assert len(ask_all(lookup)) == 1
    lookup.add([Contact(bytes([n]) * 20, (f"9.9.9.{n}", 1)) for n in range(5, 7)], trusted=True)
    assert len(ask_all(lookup)) == 2


def test_nodes_whose_id_does_not_fit_neither_end_it_nor_store_anything() -> None:
    rng = random.Random(1)
    lookup = Lookup(TARGET, OWN, width=100)
    liars = [Contact(bytes(19) + bytes([n]), (f"9.{n}.1.1", 1)) for n in range(1, 12)]
    honest = [Contact(secure_id(f"8.{n}.1.1", rng), (f"8.{n}.1.1", 1)) for n in range(8)]
    lookup.add([*liars, *honest])
    ask_all(lookup)
    for contact in liars:
        answer(lookup, contact)
    assert not lookup.has_converged(0.0)
    for contact in honest:
        answer(lookup, contact)
    assert {candidate.contact for candidate in lookup.closest()} == set(honest)


def test_a_node_that_answers_with_another_id_does_not_count(lookup: Lookup) -> None:
    lookup.add([at(1)])
    ask_all(lookup)
    answer(lookup, Contact(b"x" * 20, at(1).address))
    assert lookup.answers() == []


def test_nothing_is_stored_on_nodes_without_a_token(lookup: Lookup) -> None:
    lookup.add([at(1), at(2)])
    ask_all(lookup)
    lookup.answered(at(1), None, was_slow=False)
    answer(lookup, at(2))
    assert [candidate.contact for candidate in lookup.closest()] == [at(2)]


def test_addresses_alone_are_asked_where_no_nodes_are_known(lookup: Lookup) -> None:
    lookup.add_addresses([("127.0.0.1", 7), ("127.0.0.1", 8)])
    assert ask_all(lookup) == [("127.0.0.1", 7), ("127.0.0.1", 8)]
    answer(lookup, at(7))
    assert lookup.answers() == [at(7)]
    assert not lookup.has_converged(0.0)
    lookup.failed(("127.0.0.1", 8), was_slow=False)
    assert lookup.has_converged(0.0)


def test_our_own_id_is_never_asked(lookup: Lookup) -> None:
    lookup.add([Contact(OWN, ("127.0.0.1", 1))])
    assert ask_all(lookup) == []


def test_candidates_are_bounded() -> None:
    lookup = Lookup(TARGET, OWN, width=10_000)
    lookup.add([at(n) for n in range(1, 1000)])
    assert len(ask_all(lookup)) == limits.DHT_LOOKUP_CANDIDATES


def test_a_lookup_ends_although_each_node_names_others_that_are_closer(lookup: Lookup) -> None:
    last = 1 << 100
    lookup.add([at(2 * last)], trusted=True)
    asked = 0
    while (node := lookup.next(0.0)) is not None:
        assert isinstance(node, Contact)
        asked += 1
        answer(lookup, node)
        last -= 50
        lookup.add([Contact((last + n).to_bytes(20, "big"), ("127.0.0.1", 1 + asked * 50 + n)) for n in range(50)])
        assert asked <= limits.DHT_LOOKUP_CANDIDATES
    assert lookup.has_converged(0.0)
    assert len(lookup.answers()) <= limits.DHT_LOOKUP_CANDIDATES


def test_a_node_that_could_not_be_asked_is_asked_later(lookup: Lookup) -> None:
    lookup.add([at(1)])
    assert lookup.next(0.0) == at(1)
    lookup.put_back(at(1))
    assert lookup.next(1.0) == at(1)
