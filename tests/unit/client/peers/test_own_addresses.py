"""The addresses at which a client has connected to itself."""

from __future__ import annotations

import pytest

from geventbt import limits
from geventbt.client.peers.own_addresses import OwnAddresses

OURS, OTHER, LOCAL = ("93.184.216.1", 6881), ("93.184.216.2", 6881), ("10.0.0.2", 40_000)


def test_an_address_is_our_own_once_our_peer_id_came_from_the_other_end_of_that_connection() -> None:
    own = OwnAddresses()
    own.note_origin(LOCAL)
    assert not own.has_led_here(OTHER, ("10.0.0.2", 40_001))
    assert own.has_led_here(OURS, LOCAL)
    assert OURS in own
    assert OTHER not in own


def test_an_end_of_a_connection_is_used_once_as_its_port_is_soon_anothers() -> None:
    own = OwnAddresses()
    own.note_origin(LOCAL)
    assert own.has_led_here(OURS, LOCAL)
    assert not own.has_led_here(OTHER, LOCAL)


def test_over_utp_the_other_end_is_the_address_itself() -> None:
    own = OwnAddresses()
    own.note_origin(OURS)
    assert own.has_led_here(OURS, ("0.0.0.0", 6881))


def test_all_is_forgotten_when_we_listen_elsewhere() -> None:
    own = OwnAddresses()
    own.add(OURS)
    own.clear()
    assert OURS not in own


def test_they_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OWN_ADDRESSES", 2)
    own = OwnAddresses()
    for port in (1, 2, 3):
        own.add((OURS[0], port))
    assert [port for port in (1, 2, 3) if (OURS[0], port) in own] == [2, 3]
