"""Queries and their answers."""

from __future__ import annotations

import random

import pytest

from geventbt import limits
from geventbt.discovery.dht.transactions import Transactions

ADDRESS = ("1.2.3.4", 6881)


@pytest.fixture
def transactions() -> Transactions[str]:
    return Transactions(random.Random(1))


def test_an_answer_belongs_to_the_query_of_its_address_and_id(transactions: Transactions[str]) -> None:
    pending = transactions.open(ADDRESS, "query", 0.0)
    assert transactions.close(("1.2.3.4", 6882), pending.transaction_id, 0.1) is None
    assert transactions.close(ADDRESS, b"??", 0.1) is None
    assert transactions.close(ADDRESS, pending.transaction_id, 0.1) is pending
    assert transactions.close(ADDRESS, pending.transaction_id, 0.1) is None, "only once"


def test_ids_are_unique_for_an_address(transactions: Transactions[str]) -> None:
    ids = {transactions.open(ADDRESS, "query", 0.0).transaction_id for _ in range(1000)}
    assert len(ids) == 1000
    assert {len(known) for known in ids} == {2}


def test_a_query_is_slow_first_and_over_later(transactions: Transactions[str]) -> None:
    pending = transactions.open(ADDRESS, "query", 0.0)
    assert list(transactions.due(transactions.patience - 0.01)) == []
    assert list(transactions.due(transactions.patience)) == [pending]
    assert (pending.is_slow, pending.is_over) == (True, False)
    assert list(transactions.due(limits.DHT_ANSWER_TIMEOUT - 0.01)) == []
    assert transactions.next_due() == limits.DHT_ANSWER_TIMEOUT
    assert list(transactions.due(limits.DHT_ANSWER_TIMEOUT)) == [pending]
    assert pending.is_over
    assert len(transactions) == 0


def test_what_was_answered_is_never_due(transactions: Transactions[str]) -> None:
    pending = transactions.open(ADDRESS, "query", 0.0)
    transactions.close(ADDRESS, pending.transaction_id, 0.1)
    assert transactions.next_due() == float("inf")
    assert list(transactions.due(100.0)) == []


@pytest.mark.parametrize(("round_trip", "patience"), [(0.001, limits.DHT_MIN_PATIENCE), (5.0, limits.DHT_MAX_PATIENCE)])
def test_patience_follows_the_round_trips_within_bounds(
    transactions: Transactions[str], round_trip: float, patience: float
) -> None:
    assert transactions.patience == limits.DHT_MAX_PATIENCE
    for _ in range(50):
        pending = transactions.open(ADDRESS, "query", 0.0)
        transactions.close(ADDRESS, pending.transaction_id, round_trip)
    assert transactions.patience == patience


def test_an_address_that_we_wait_for_is_believed_for_a_few_packets(transactions: Transactions[str]) -> None:
    assert not transactions.expects(ADDRESS)
    transactions.open(ADDRESS, "query", 0.0)
    believed = sum(transactions.expects(ADDRESS) for _ in range(100))
    assert believed == limits.DHT_UNEXPECTED + 1
