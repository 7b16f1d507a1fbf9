"""The banned peers of a torrent, and the hosts of which too many were banned."""

from __future__ import annotations

import pytest

from geventbt import limits
from geventbt.client.peers.bans import Bans

A, B = ("93.184.216.1", 6881), ("93.184.216.2", 6881)


def public(number: int) -> tuple[str, int]:
    return f"93.0.{number >> 8 & 255}.{number & 255}", 6881


def ban_liars(bans: Bans, host: str, count: int) -> None:
    """Ban peers of a host, each under another port and peer id."""
    for number in range(count):
        bans.add((host, 40_000 + number), b"liar%d" % number)


def test_an_inbound_liar_is_known_again_by_its_peer_id_on_the_same_host_only() -> None:
    bans = Bans()
    bans.add(A, peer_id=b"liar")
    assert bans.has((A[0], 50000), peer_id=b"liar")
    assert not bans.has((A[0], 50000), peer_id=b"honest")
    assert not bans.has((B[0], 50000), peer_id=b"liar")


def test_a_ban_that_was_lifted_holds_no_more() -> None:
    bans = Bans()
    bans.add(A, peer_id=b"id")
    bans.lift(A, peer_id=b"id")
    assert not bans.has(A, peer_id=b"id")


def test_what_is_not_an_address_is_not_banned() -> None:
    bans = Bans()
    bans.add("nonsense")
    bans.exclude("nonsense")
    bans.lift("nonsense")
    assert not bans.has("nonsense")


def test_the_bans_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BANNED", 3)
    bans = Bans()
    for number in range(10):
        bans.add(public(number))
    assert [number for number in range(10) if bans.has(public(number))] == [7, 8, 9]


@pytest.mark.parametrize("host", ["93.184.216.1", "2001:db8:1:2::1", "127.0.0.2"])
def test_a_host_whose_peers_were_banned_a_few_times_stays_out_under_any_name(host: str) -> None:
    bans = Bans()
    ban_liars(bans, host, limits.BANS_OF_HOST - 1)
    assert not bans.has_host(host)
    # The same liar again is not another one.
    bans.add((host, 40_000), b"liar0")
    assert not bans.has_host(host)
    bans.add((host, 50_000), b"another")
    assert bans.has_host(host)


def test_of_ipv6_the_network_counts_as_the_host() -> None:
    bans = Bans()
    for number in range(limits.BANS_OF_HOST):
        bans.add((f"2001:4860:1:2::{number}", 1), b"liar")
    assert bans.has_host("2001:4860:1:2:ffff::1")
    assert not bans.has_host("2001:4860:1:3::1")


def test_a_host_is_let_in_again_when_a_ban_is_lifted_and_once_only() -> None:
    bans = Bans()
    ban_liars(bans, A[0], limits.BANS_OF_HOST)
    bans.lift((A[0], 40_000), b"liar0")
    bans.lift((A[0], 40_000), b"liar0")
    assert not bans.has_host(A[0])
    bans.add((A[0], 40_000), b"liar0")
    assert bans.has_host(A[0])


def test_an_excluded_address_is_banned_and_its_host_is_not_blamed() -> None:
    bans = Bans()
    for port in range(1, 10):
        bans.exclude((A[0], port))
    assert bans.has((A[0], 1))
    assert not bans.has_host(A[0])


def test_the_hosts_of_bans_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BANNED", 9)
    bans = Bans()
    for number in range(100):
        ban_liars(bans, public(number)[0], limits.BANS_OF_HOST)
    assert sum(bans.has_host(public(number)[0]) for number in range(100)) <= 9
