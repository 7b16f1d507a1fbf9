"""Credit for good pieces, the cost of wrong ones, bans and forgiveness."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from geventbt import limits
from geventbt.client.peers.known_peers import KnownPeers, Source
from geventbt.client.swarm.reputation import MAX_TRUST, WRONG_PIECE_COST, Reputation
from geventbt.net.addresses import Address
from tests.unit.swarm_helpers import FakeSource

BLOCK = limits.BLOCK
ANN, BEN = ("10.0.0.1", 6881), ("10.0.0.2", 6881)


@pytest.fixture
def known() -> KnownPeers:
    known = KnownPeers()
    for address in (ANN, BEN):
        known.add(address, Source.USER, 0.0)
    return known


def wire_of(remote_address: Address, peer_id: bytes | None) -> Any:
    """A connection that we opened to a peer, as far as it matters here."""
    return SimpleNamespace(type="outgoing", remote_address=remote_address, peer_id=peer_id)


@pytest.fixture
def reputation(known: KnownPeers) -> Reputation:
    return Reputation(known)


def test_the_bytes_of_a_piece_are_credited_to_the_senders_of_its_blocks(reputation):
    ann, ben = FakeSource(ANN, address=ANN), FakeSource(BEN, address=BEN)
    reputation.credit([ann, ann, ben], 2 * BLOCK + 100)
    assert reputation.served == {ANN: 2 * BLOCK, BEN: 100}


def test_credit_of_several_pieces_adds_up(reputation):
    ann = FakeSource(ANN, address=ANN)
    reputation.credit([ann], 100)
    reputation.credit([ann, ann], 2 * BLOCK)
    assert reputation.served == {ANN: 2 * BLOCK + 100}


def test_a_source_without_an_address_earns_trust_only(reputation):
    inbound = FakeSource(ANN)
    reputation.credit([inbound], BLOCK)
    assert (inbound.trust, reputation.served) == (1, {})


def test_a_piece_earns_one_point_of_trust_however_many_blocks_a_source_sent(reputation):
    ann = FakeSource(ANN)
    reputation.credit([ann] * 5, 5 * BLOCK)
    assert ann.trust == 1


def test_trust_is_bounded(reputation):
    ann = FakeSource(ANN)
    for _ in range(2 * MAX_TRUST):
        reputation.credit([ann], BLOCK)
    assert ann.trust == MAX_TRUST


def test_a_source_without_good_pieces_is_not_spared(reputation):
    assert not reputation.spares(FakeSource(ANN), is_only_one=False)


@pytest.mark.parametrize("good", [WRONG_PIECE_COST, MAX_TRUST])
def test_a_source_is_spared_as_often_as_its_good_pieces_pay_for(reputation, good):
    ann = FakeSource(ANN)
    for _ in range(good):
        reputation.credit([ann], BLOCK)
    spared = [reputation.spares(ann, is_only_one=False) for _ in range(good // WRONG_PIECE_COST + 1)]
    assert spared == [True] * (good // WRONG_PIECE_COST) + [False]


def test_a_banned_peer_is_not_connected_to_again(reputation, known):
    reputation.ban([FakeSource(ANN, address=ANN)])
    assert reputation.banned == {ANN}
    assert known.next(1.0) == BEN
    assert known.next(1.0) is None


def test_a_banned_peer_is_recognised_on_another_port_by_its_peer_id(reputation):
    reputation.ban([FakeSource(ANN, peer_id=b"a" * 20)])
    assert reputation.refuses(wire_of((ANN[0], 50_000), b"a" * 20))
    assert not reputation.refuses(wire_of((ANN[0], 50_000), b"b" * 20))


def test_the_address_that_an_inbound_peer_announces_is_not_banned(reputation, known):
    reputation.ban([FakeSource((ANN[0], 50_000), address=BEN)])
    assert not known.bans.has(BEN)
    assert BEN in known


def test_a_web_seed_is_never_banned(reputation):
    web_seed = FakeSource(None, peer_id=None)
    reputation.ban([web_seed])
    assert reputation.banned == set()


def test_a_forgiven_peer_may_be_connected_to_again(reputation, known):
    ann = FakeSource(ANN, address=ANN)
    reputation.ban([ann])
    reputation.forgive([ann])
    assert reputation.banned == set()
    assert not reputation.refuses(wire_of(ANN, ann.peer_id))
    assert ANN in known


def test_forgiving_an_inbound_peer_makes_no_address_known(reputation, known):
    inbound = FakeSource(("10.0.0.3", 50_000))
    reputation.ban([inbound])
    reputation.forgive([inbound, FakeSource(None, peer_id=None)])
    assert not reputation.refuses(wire_of(("10.0.0.3", 50_000), inbound.peer_id))
    assert len(known) == 2


def test_the_only_source_is_spared_for_a_while_without_any_good_piece(reputation):
    ann = FakeSource(ANN)
    spared = [reputation.spares(ann, is_only_one=True) for _ in range(20)]
    assert spared == [True] * 8 + [False] * 12
