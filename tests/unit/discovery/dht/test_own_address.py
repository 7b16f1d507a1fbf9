"""What nodes say of our own address."""

from __future__ import annotations

from geventbt import limits
from geventbt.discovery.dht.own_address import OwnAddress

OURS = ("7.7.7.7", 1)
OTHER = ("6.6.6.6", 1)


def voter(number: int) -> tuple[str, int]:
    return f"9.9.{number}.1", 6881


def test_eight_networks_that_agree_are_believed() -> None:
    own = OwnAddress()
    assert [own.vote(voter(n), OURS) for n in range(limits.DHT_VOTES)] == [False] * 7 + [True]
    assert own.host == "7.7.7.7"
    assert not own.vote(voter(50), OURS), "that is known"


def test_a_network_has_one_vote() -> None:
    own = OwnAddress()
    assert not any(own.vote((f"9.9.9.{n}", 1), OURS) for n in range(1, 100))


def test_three_quarters_must_agree() -> None:
    own = OwnAddress()
    for n in range(4):
        own.vote(voter(100 + n), OTHER)
    assert not any(own.vote(voter(n), OURS) for n in range(8))
    assert any(own.vote(voter(8 + n), OURS) for n in range(4))


def test_a_new_address_is_found_out_again() -> None:
    own = OwnAddress("6.6.6.6")
    for n in range(32):
        own.vote(voter(n), OTHER)
    assert any(own.vote(voter(100 + n), OURS) for n in range(32))


def test_local_nodes_and_addresses_have_no_vote() -> None:
    own = OwnAddress()
    assert not any(own.vote((f"10.0.{n}.1", 1), OURS) for n in range(20))
    assert not any(own.vote(voter(n), ("192.168.1.1", 1)) for n in range(20))
