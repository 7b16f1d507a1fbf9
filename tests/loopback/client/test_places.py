"""Who gets a place when all are taken: the least useful peer goes, and no address or side takes them all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import geventbt
from geventbt import Client, Wire, limits
from geventbt.errors import GeventBTError
from tests.loopback.world import OddWire, Read, World, address, eventually, remains


@pytest.fixture
def torrent(world: World) -> geventbt.Torrent:
    """31 pieces of two blocks."""
    return world.torrent()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers have less time to become of use."""
    monkeypatch.setattr(limits, "POINTLESS_PEER", 0.2)
    monkeypatch.setattr(limits, "USELESS_PEER", 0.4)
    monkeypatch.setattr(limits, "EVICTION_INTERVAL", 0.05)
    monkeypatch.setattr(limits, "FIRST_RETRY", 3.0)


def choke_for_ever(wire: OddWire, read: Read) -> None:
    wire.wait_for("close", timeout=60)


def have_nothing(wire: Wire) -> None:
    """A handler of a peer that has nothing, and wants nothing."""
    wire.handshake(wire.info_hash or wire.wait_handshake().info_hash, geventbt.new_peer_id())
    wire.have_none()
    wire.wait_for("close", timeout=60)


def visitors(client: Client, torrent: geventbt.Torrent, count: int, host: str = "127.0.0.1") -> list[Wire]:
    """Peers that have connected to a client, and want nothing."""
    wires: list[Wire] = []
    for _ in range(count):
        wire = geventbt.connect(address(client), source_address=(host, 0))
        with suppress(GeventBTError, OSError):
            wire.handshake(torrent.info_hash, geventbt.new_peer_id(), geometry=torrent.geometry)
            wires.append(wire)
    return wires


def close_all(wires: list[Wire]) -> None:
    for wire in wires:
        wire.close(0)


@pytest.mark.parametrize("kind", ["have nothing", "choke"])
def test_peers_that_are_of_no_use_give_their_places_to_a_seed(world: World, torrent, kind):
    behave: Callable[[], Any] = {
        "have nothing": lambda: world.listen(have_nothing, info_hashes=[torrent.info_hash]),
        "choke": lambda: world.odd(torrent, choke_for_ever),
    }[kind]
    job = world.download(torrent, [behave() for _ in range(3)], max_peers=3)
    eventually(lambda: len(job.peers) == 3)
    job.add_peers(world.seeds(torrent, 1))
    assert job.wait(20)


def test_peers_keep_their_places_while_nobody_waits(world: World, torrent):
    job = world.download(torrent, [world.odd(torrent, choke_for_ever) for _ in range(2)], max_peers=2)
    eventually(lambda: len(job.peers) == 2)
    before = {peer.address for peer in job.peers}
    remains(lambda: {peer.address for peer in job.peers} == before, 3 * limits.USELESS_PEER)
    assert not job.done


def test_a_peer_of_no_use_to_one_torrent_gives_its_place_to_another_torrent(world: World):
    one, two = world.torrent("one"), world.torrent("two")
    client = world.client(max_connections=2, port=None)
    first = world.download(one, [world.odd(one, choke_for_ever) for _ in range(2)], client=client)
    eventually(lambda: len(first.peers) == 2)
    assert world.download(two, world.seeds(two, 1), client=client, folder="two").wait(20)


def test_visitors_that_want_nothing_give_their_places_to_one_that_does(world: World, torrent):
    seed = world.client()
    assert seed.add(torrent, world.origin, seed_only=True, max_peers=3).wait(10)
    idle = visitors(seed, torrent, 3)
    try:
        assert world.download(torrent, [address(seed)]).wait(20)
    finally:
        close_all(idle)


def test_visitors_that_fill_a_client_give_their_places_to_one_that_does(world: World, torrent):
    seed = world.seed(torrent, max_connections=3)
    idle = visitors(seed, torrent, 3)
    try:
        assert world.download(torrent, [address(seed)]).wait(20)
    finally:
        close_all(idle)


def test_places_are_kept_for_peers_that_a_download_connects_to(world: World, torrent, monkeypatch):
    monkeypatch.setattr(limits, "POINTLESS_PEER", 1000.0)
    client = world.client()
    job = world.download(torrent, [], client=client, max_peers=8)
    eventually(lambda: job.state == "downloading")
    idle = visitors(client, torrent, 8)
    try:
        eventually(lambda: len(job.peers) == 6)
        job.add_peers(world.seeds(torrent, 1))
        assert job.wait(20)
    finally:
        close_all(idle)


def test_an_address_has_no_more_than_its_share_of_inbound_connections(world: World, torrent):
    client = world.client(max_per_address=3, encryption="disable")
    assert client.add(torrent, world.origin, seed_only=True).wait(10)
    wires = [
        *visitors(client, torrent, 5, "127.0.0.2"),
        *visitors(client, torrent, 5, "127.0.0.1"),
        *visitors(client, torrent, 2, "127.0.0.3"),
    ]
    try:
        assert len(wires) == 3 + 3 + 2
        # A place that is left can be taken again.
        wires[0].close(0)
        (job,) = client.torrents.values()
        eventually(lambda: len(job.peers) == 7)
        again = visitors(client, torrent, 2, "127.0.0.2")
        wires += again
        assert len(again) == 1
    finally:
        close_all(wires)


def test_loopback_is_exempt_where_that_is_wanted(world: World, torrent):
    client = world.client(max_per_address=2, exempt_loopback=True, encryption="disable")
    assert client.add(torrent, world.origin, seed_only=True).wait(10)
    wires = visitors(client, torrent, 5)
    try:
        assert len(wires) == 5
    finally:
        close_all(wires)


def test_a_seed_takes_any_number_of_peers_of_this_machine(world: World, torrent):
    with geventbt.seed(torrent, world.origin, ("127.0.0.1", 0), dht=False, lsd=False, port_mapping=False) as client:
        wires = visitors(client, torrent, limits.CONNECTIONS_PER_ADDRESS + 1)
        try:
            assert len(wires) == limits.CONNECTIONS_PER_ADDRESS + 1
        finally:
            close_all(wires)


# --- no pointless connections ---


def test_our_own_address_is_connected_to_once_whatever_names_it(world: World, torrent, monkeypatch):
    monkeypatch.setattr(limits, "FIRST_RETRY", 0.1)
    other = world.torrent("other")
    client = world.client()
    visits: list[Wire] = []
    assert client.server is not None
    client.server.on("peer_connected", lambda server, wire: visits.append(wire))
    job = world.download(torrent, [address(client)], client=client)
    eventually(lambda: visits)
    assert not job.wait(0.3)
    job.add_peers([address(client)])
    assert not world.download(other, [address(client)], client=client, folder="other").wait(0.5)
    assert len(visits) == 1


def test_seeds_that_have_met_do_not_connect_again(world: World, torrent, monkeypatch):
    monkeypatch.setattr(limits, "FIRST_RETRY", 0.1)
    visits: list[Wire] = []
    seed, other = world.seed(torrent), world.client(port=None)
    assert seed.server is not None
    seed.server.on("peer_connected", lambda server, wire: visits.append(wire))
    job = other.add(torrent, world.origin, peers=[address(seed)], seed_only=True)
    assert job.wait(10)
    eventually(lambda: visits and not job.peers)
    count = len(visits)
    remains(lambda: len(visits) == count, 5 * limits.FIRST_RETRY)
