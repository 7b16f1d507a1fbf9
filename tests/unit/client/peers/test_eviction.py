"""Whose place goes to another peer."""

from __future__ import annotations

import pytest

from geventbt import limits
from geventbt.client.peers.eviction import Place, least_useful

NOW = 10_000.0
YOUNG, OLD, ANCIENT = 1.0, limits.USELESS_PEER + 1, limits.USELESS_PEER + 1000


def place(name: str, idle: float, *, wants: bool = False, wanted: bool = False, choked: bool = True) -> Place[str]:
    """A peer: whether it is interested in us, we in it, and whether we choke it."""
    return Place(name, NOW - idle, am_interested=wanted, peer_interested=wants, am_choking=choked)


def evicted(*places: Place[str]) -> str | None:
    found = least_useful(places, NOW)
    return found.peer if found else None


def test_nobody_goes_where_nobody_is():
    assert evicted() is None


@pytest.mark.parametrize("wants", [False, True])
@pytest.mark.parametrize("wanted", [False, True])
def test_a_new_peer_has_time_to_become_of_use(wants, wanted):
    assert evicted(place("new", YOUNG, wants=wants, wanted=wanted)) is None


def test_a_peer_without_interest_on_either_side_goes_before_one_that_chokes_us_for_longer():
    assert evicted(place("chokes", ANCIENT, wanted=True), place("idle", limits.POINTLESS_PEER)) == "idle"


def test_of_those_that_give_nothing_the_one_that_has_for_longest_goes():
    assert evicted(place("a", OLD, wanted=True), place("b", ANCIENT, wanted=True), place("c", YOUNG)) == "b"
    assert evicted(place("a", OLD), place("b", ANCIENT), place("c", OLD)) == "b"


def test_a_peer_that_waits_until_we_unchoke_it_stays():
    assert evicted(place("waits", ANCIENT, wants=True)) is None


def test_a_peer_that_is_unchoked_and_takes_nothing_goes():
    assert evicted(place("idle", OLD, wants=True, choked=False)) == "idle"


def test_a_peer_that_chokes_us_goes_although_it_waits_for_us_too():
    assert evicted(place("mutual", OLD, wants=True, wanted=True)) == "mutual"
