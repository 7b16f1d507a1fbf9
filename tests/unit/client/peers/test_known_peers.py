"""The peers that we know of, and whom to try next."""

from __future__ import annotations

import random

import pytest

from geventbt import limits
from geventbt.client.peers.known_peers import KnownPeers, Source

A, B, C = ("93.184.216.1", 6881), ("93.184.216.2", 6881), ("93.184.216.3", 6881)
TRACKER, LIAR = "203.0.112.1", "198.41.0.4"
RETRY = 5.0


def public(number: int) -> tuple[str, int]:
    return f"93.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 6881


def candidates(limit: int = 100, **options) -> KnownPeers:
    return KnownPeers(limit, rng=random.Random(1), **options)


def knowing(*addresses, source: Source = Source.TRACKER, limit: int = 100) -> KnownPeers:
    known = candidates(limit)
    for address in addresses:
        assert known.add(address, source, 0, reported_by=TRACKER)
    return known


def fail(known: KnownPeers, address, now: float, times: int = 1) -> float:
    """Have tries of an address fail, each as soon as it is due; returns the time after."""
    for _ in range(times):
        due = known.next_due(now)
        assert due is not None
        now = due
        assert known.next(now) == address
        known.failed(address, now)
    return now


def test_each_address_is_given_once_while_it_is_being_tried():
    known = knowing(A, B, C)
    assert {known.next(0), known.next(0), known.next(0)} == {A, B, C}
    assert known.next(0) is None
    assert known.next_due(0) is None


def test_an_address_in_another_form_is_the_same_one():
    known = knowing(A)
    assert known.add((f"::ffff:{A[0]}", A[1], 0, 0), Source.PEX, 0, reported_by=LIAR)
    assert len(known) == 1
    assert A in known
    assert (f"::ffff:{A[0]}", A[1]) in known


@pytest.mark.parametrize("address", [("93.184.216.1", 0), ("224.0.0.1", 1), ("a name", 1), None, "text", (1, 2), ()])
def test_what_is_no_address_is_not_known(address):
    known = candidates()
    assert not known.add(address, Source.USER, 0)
    assert len(known) == 0
    assert address not in known


def test_only_the_user_or_near_sources_name_near_addresses():
    known = candidates()
    near = ("127.0.0.1", 6881)
    assert not known.add(near, Source.TRACKER, 0, reported_by=TRACKER)
    assert not known.add(near, Source.PEX, 0, reported_by="192.168.1.1")
    assert not known.add(near, Source.DHT, 0)
    assert known.add(near, Source.TRACKER, 0, reported_by="127.0.0.1")
    assert known.add(("127.0.0.1", 6882), Source.USER, 0)


def test_a_failed_address_is_tried_again_after_waits_that_double():
    known = knowing(A)
    now, waits = 0.0, []
    for _ in range(limits.CONNECT_FAILURES - 1):
        assert known.next(now) == A
        known.failed(A, now)
        due = known.next_due(now)
        assert due is not None
        assert known.next(due - 0.01) is None
        waits.append(due - now)
        now = due
    expected = [RETRY * 2**exponent for exponent in range(limits.CONNECT_FAILURES - 1)]
    assert waits == [pytest.approx(wait, rel=0.25) for wait in expected]


def test_an_address_that_failed_too_often_is_given_up_until_it_is_named_again():
    known = knowing(A)
    now = fail(known, A, 0, limits.CONNECT_FAILURES)
    assert known.next_due(now) is None
    later = now + limits.RETRY_RENAMED
    known.add(A, Source.TRACKER, later - 1, reported_by=TRACKER)
    assert known.next(later - 1) is None, "named again too soon"
    known.add(A, Source.PEX, later, reported_by=LIAR)
    assert known.next(later) is None, "peer exchange names everything each minute"
    known.add(A, Source.TRACKER, later, reported_by=TRACKER)
    assert known.next(later) == A
    known.failed(A, later)
    assert known.next_due(later) is None, "one more try, not all of them again"


def test_those_that_worked_before_come_first():
    known = knowing(A, B)
    assert {known.next(0), known.next(0)} == {A, B}
    known.connected(A)
    known.closed(A, 10, worked=True)
    known.failed(B, 10)
    known.add(C, Source.USER, 10)
    assert [known.next(100), known.next(100), known.next(100)] == [A, C, B]


def test_better_sources_come_first_among_the_untried():
    known = candidates()
    known.add(A, Source.PEX, 0, reported_by=LIAR)
    known.add(B, Source.TRACKER, 0, reported_by=TRACKER)
    known.add(C, Source.USER, 0)
    assert [known.next(0), known.next(0), known.next(0)] == [C, B, A]


def test_an_address_that_a_better_source_names_too_is_worth_more():
    known = candidates()
    known.add(A, Source.PEX, 0, reported_by=LIAR)
    known.add(B, Source.DHT, 0, reported_by=LIAR)
    known.add(A, Source.TRACKER, 0, reported_by=TRACKER)
    known.add(A, Source.PEX, 0, reported_by=LIAR)
    assert [known.next(0), known.next(0)] == [A, B]


def test_equals_come_in_random_order():
    orders = set()
    for seed in range(20):
        known = KnownPeers(rng=random.Random(seed))
        for address in (A, B, C):
            known.add(address, Source.TRACKER, 0, reported_by=TRACKER)
        orders.add((known.next(0), known.next(0), known.next(0)))
    assert len(orders) > 1


def test_a_peer_that_connected_to_us_is_not_tried_meanwhile():
    known = knowing(A)
    known.connected(A)
    assert known.next(1000) is None
    known.closed(A, 1000, worked=True)
    due = known.next_due(1000)
    assert due == pytest.approx(1000 + RETRY, abs=RETRY / 4)
    assert known.next(due) == A


def test_a_failed_try_does_not_end_a_connection_that_the_peer_opened():
    known = knowing(A)
    assert known.next(0) == A
    known.connected(A)
    known.failed(A, 1)
    assert known.next_due(1) is None


def test_a_peer_that_always_closes_at_once_is_given_up():
    known = knowing(A)
    now = 0.0
    for _ in range(limits.CONNECT_FAILURES):
        due = known.next_due(now)
        assert due is not None
        now = due
        assert known.next(now) == A
        known.connected(A)
        known.closed(A, now, worked=False)
    assert known.next_due(now) is None


def test_news_of_unknown_addresses_are_ignored():
    known = knowing(A)
    known.connected(B)
    known.failed(B, 0)
    known.closed(B, 0, worked=True)
    known.connected(None)
    known.failed("nonsense", 0)
    known.closed(A, 0, worked=True)
    known.ban("nonsense")
    known.bans.lift("nonsense")
    assert not known.bans.has("nonsense")
    assert len(known) == 1
    assert known.next(0) == A


def test_invented_addresses_do_not_push_out_what_is_worth_more():
    known = candidates(8)
    known.add(A, Source.PEX, 0, reported_by=LIAR)
    assert known.next(0) == A
    known.connected(A)
    known.closed(A, 0, worked=True)
    known.add(B, Source.USER, 0)
    known.add(C, Source.TRACKER, 0, reported_by=TRACKER)
    for number in range(1000):
        known.add(public(number), Source.PEX, 0, reported_by=f"198.41.{number >> 8}.{number & 255}")
    assert len(known) == 8
    assert A in known
    assert B in known
    assert C in known


def test_one_teller_has_its_share_only():
    known = candidates(100)
    for number in range(1000):
        known.add(public(number), Source.PEX, 0, reported_by=LIAR)
    assert len(known) == 100 // limits.KNOWN_SHARE
    assert known.add(A, Source.PEX, 0, reported_by=TRACKER)


def test_a_teller_s_new_address_takes_the_place_of_one_of_its_failed_ones():
    known = candidates(4)
    known.add(A, Source.TRACKER, 0, reported_by=TRACKER)
    fail(known, A, 0)
    assert known.add(B, Source.TRACKER, 0, reported_by=TRACKER)
    assert A not in known


def test_a_full_list_makes_room_for_a_better_address_in_place_of_the_worst():
    known = candidates(4)
    for number in range(4):
        known.add(public(number), Source.PEX, 0, reported_by=f"198.41.0.{number}")
    assert not known.add(A, Source.PEX, 0, reported_by=LIAR)
    assert known.add(A, Source.TRACKER, 0, reported_by=TRACKER)
    assert len(known) == 4


def test_connected_peers_and_those_being_tried_are_never_pushed_out():
    known = candidates(2)
    known.add(A, Source.PEX, 0, reported_by="198.41.0.1")
    known.add(B, Source.PEX, 0, reported_by="198.41.0.2")
    tried = known.next(0)
    known.connected(known.next(0))
    assert not known.add(C, Source.USER, 0)
    assert tried in known


def test_a_list_of_ports_does_not_make_us_hammer_one_host():
    known = candidates(1000)
    for port in range(1, 200):
        known.add((A[0], port), Source.PEX, 0, reported_by=LIAR)
    assert len(known) == limits.PEERS_OF_HOST


def test_a_near_tracker_may_name_many_peers_of_one_near_host():
    known = candidates(1000)
    for port in range(1, 201):
        known.add(("127.0.0.1", port), Source.TRACKER, 0, reported_by="127.0.0.1")
    assert len(known) == 200


def test_a_banned_address_never_comes_back():
    known = knowing(A)
    known.ban(A)
    assert known.bans.has(A)
    assert known.bans.has((f"::ffff:{A[0]}", A[1]))
    assert not known.add(A, Source.USER, 1e9)
    assert known.next(1e9) is None


def test_no_other_peer_of_the_host_is_banned_with_one():
    known = knowing(A)
    known.ban(A, peer_id=b"liar")
    assert not known.bans.has((A[0], 6882))
    assert not known.bans.has((A[0], 50000), peer_id=b"honest")
    assert known.add((A[0], 6882), Source.TRACKER, 0, reported_by=TRACKER)


def test_a_ban_can_be_taken_back():
    known = candidates()
    known.ban(A, peer_id=b"id")
    known.bans.lift(A, peer_id=b"id")
    assert not known.bans.has(A, peer_id=b"id")
    assert known.add(A, Source.TRACKER, 0, reported_by=TRACKER)


def test_a_ban_during_a_connection_holds_after_it():
    known = knowing(A)
    known.next(0)
    known.connected(A)
    known.ban(A)
    known.closed(A, 1, worked=True)
    assert known.next(1e9) is None


def test_no_other_port_of_such_a_host_is_added_unless_the_user_names_it():
    known = knowing(A)
    for number in range(limits.BANS_OF_HOST):
        known.ban((A[0], 40_000 + number), b"liar%d" % number)
    assert A in known
    assert not known.add((A[0], 7000), Source.PEX, 0, reported_by=LIAR)
    assert not known.add((A[0], 7000), Source.TRACKER, 0, reported_by=TRACKER)
    assert known.add((A[0], 7000), Source.USER, 0)
    assert known.add(B, Source.PEX, 0, reported_by=LIAR)


def test_an_excluded_address_is_never_tried_and_its_host_is_not_blamed():
    known = knowing(A)
    for port in range(1, 10):
        known.exclude((A[0], port))
    known.exclude(A)
    known.exclude("nonsense")
    assert known.next(1e9) is None
    assert not known.add(A, Source.TRACKER, 0, reported_by=TRACKER)
    assert not known.bans.has_host(A[0])


def test_a_seed_is_not_a_candidate_while_nothing_is_wanted():
    known = knowing(A, B)
    for _ in range(2):
        known.connected(known.next(0))
    known.closed(A, 0, worked=False, is_seed=True)
    known.closed(B, 0, worked=False, is_seed=False)
    known.wants_seeds = False
    assert known.next(1e6) == B
    assert known.next(1e6) is None
    assert known.next_due(1e6) is None
    known.wants_seeds = True
    assert known.next(1e6) == A


def test_a_peer_left_for_our_own_reasons_can_be_tried_at_once_and_has_not_failed():
    known = candidates()
    known.add(A, Source.USER, 0)
    assert known.next(0) == A
    known.released(A, 5)
    assert known.next_due(5) == 5
    assert known.next(5) == A
    known.connected(A)
    known.released(A, 6)
    assert known.next(6) == A
    assert not known.is_exhausted(1)


def test_releasing_one_that_rests_changes_nothing():
    known = candidates()
    known.add(A, Source.USER, 0)
    known.next(0)
    known.failed(A, 0)
    known.released(A, 1)
    assert known.next(1) is None


def test_everyone_can_be_given_another_try():
    known = candidates()
    known.add(A, Source.USER, 0)
    for _ in range(limits.CONNECT_FAILURES):
        known.retry_all(0)
        known.next(0)
        known.failed(A, 0)
    assert known.next(1) is None
    assert known.is_exhausted(1)
    known.retry_all(1)
    assert not known.is_exhausted(1)
    assert known.next(1) == A


def test_who_gave_the_metadata_is_not_given_up_when_it_refuses_once():
    """It may not have noticed that the connection for the metadata is over."""
    candidates = KnownPeers()
    address = ("127.0.0.1", 6881)
    candidates.add(address, Source.USER, 0.0)
    assert candidates.next(0.0) == address
    candidates.released(address, 1.0, worked=True)
    assert candidates.next(1.0) == address
    candidates.failed(address, 1.0)
    assert not candidates.is_exhausted(3)


def test_a_peer_is_tried_now_although_it_is_not_due():
    known = knowing(A)
    now = fail(known, A, 0.0, limits.CONNECT_FAILURES)
    assert known.next_due(now) is None
    assert known.try_now(A, now)
    known.connected(A)
    known.closed(A, now, worked=True)
    assert known.next_due(now) is not None


def test_a_peer_that_is_busy_or_unknown_is_not_tried_now():
    known = knowing(A)
    assert not known.try_now(B, 0.0)
    assert known.try_now(A, 0.0)
    assert not known.try_now(A, 0.0)
    known.connected(A)
    assert not known.try_now(A, 0.0)


def test_seeds_are_candidates_only_while_something_is_missing():
    known = candidates()
    known.wants_seeds = False
    assert known.add(A, Source.PEX, 0.0, reported_by=TRACKER, is_seed=True)
    assert known.next(0.0) is None
    assert not known.try_now(A, 0.0)
    known.wants_seeds = True
    assert known.next(0.0) == A


def test_what_is_said_of_a_peer_that_is_known_changes_nothing():
    known = knowing(A)
    known.wants_seeds = False
    assert known.add(A, Source.PEX, 0.0, reported_by=LIAR, is_seed=True)
    assert known.next(0.0) == A


def test_a_peer_that_was_given_up_is_not_renewed_by_a_relay():
    known = knowing(A)
    now = fail(known, A, 0.0, limits.CONNECT_FAILURES) + limits.RETRY_RENAMED
    assert known.add(A, Source.HOLEPUNCH, now, reported_by=LIAR)
    assert known.next_due(now) is None


class Bell:
    """Counts the news."""

    def __init__(self) -> None:
        self.rung = 0

    def set(self) -> None:
        self.rung += 1


def test_there_is_news_when_a_peer_fails_leaves_or_is_not_to_be_tried() -> None:
    bell = Bell()
    known = candidates(news=bell)
    for address in (A, B, C):
        known.add(address, Source.TRACKER, 0, reported_by=TRACKER)
    assert known.try_now(A, 0)
    known.connected(A)
    assert known.try_now(B, 0)
    assert bell.rung == 0
    known.failed(B, 1)
    assert bell.rung == 1
    known.closed(A, 1, worked=True)
    assert bell.rung == 2
    known.ban(C)
    assert bell.rung == 3
