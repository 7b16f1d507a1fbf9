"""Clients that have peers connect to each other, and that tell of them (BEP 11, 55)."""

from __future__ import annotations

import pytest

import geventbt
from geventbt import Client, Torrent, UtHolepunch, UtPex, Wire, limits
from geventbt.protocol.ut_pex import HOLEPUNCH, OUTGOING, SEED, UTP
from tests.loopback.harness import eventually
from tests.loopback.world import Address, World, address

SLOW = 16384
"""The rate of a download that does not end during a test."""


def joined(world: World, torrent: Torrent, seed: Address) -> Client:
    """A client that is connected to a seed, and takes peers."""
    client = world.client(limit_down=SLOW)
    job = world.download(torrent, [seed], client=client)
    eventually(lambda: job.peers)
    return client


def test_a_peer_is_connected_to_when_another_one_asks_for_it(world: World) -> None:
    torrent = world.torrent()
    seed = address(world.seed(torrent))
    relay = joined(world, torrent, seed)
    came: list[Wire] = []

    def take(wire: Wire) -> None:
        came.append(wire)
        wire.handshake(torrent.info_hash, geventbt.new_peer_id())
        wire.wait_for("close")

    _, port = world.listen(take, transport="utp")
    told: list[tuple[str, int]] = []
    with geventbt.connect(address(relay), info_hash=torrent.info_hash) as asking:
        asking.use(UtHolepunch).on("connect", lambda holepunch, address: told.append(address))
        asking.extended_handshake["p"] = port
        asking.handshake(torrent.info_hash, geventbt.new_peer_id(), geometry=torrent.geometry)
        eventually(lambda: asking.ut_holepunch.supported)
        eventually(lambda: asking.ut_holepunch.rendezvous(seed) and told)
        eventually(lambda: came)
    assert set(told) == {seed}
    assert came[0].transport == "utp"


@pytest.mark.parametrize("transport", ["both", "tcp"])
def test_peers_are_told_who_takes_part_and_who_can_be_reached(
    world: World, monkeypatch: pytest.MonkeyPatch, transport: geventbt.TransportChoice
) -> None:
    monkeypatch.setattr(limits, "PEX_INTERVAL", 0.1)
    torrent = world.torrent()
    seed, leech = world.seed(torrent, transport=transport), world.client(transport=transport, limit_down=SLOW)
    relay = joined(world, torrent, address(seed))
    world.download(torrent, [address(relay)], client=leech, folder="other")
    with geventbt.connect(address(relay), info_hash=torrent.info_hash) as wire:
        wire.use(UtPex)
        wire.handshake(torrent.info_hash, geventbt.new_peer_id(), geometry=torrent.geometry)
        eventually(lambda: len(wire.ut_pex.peers) == 2, 20)
        takes_part = UTP | HOLEPUNCH if transport == "both" else 0
        assert wire.ut_pex.peers == {
            address(seed): SEED | OUTGOING | takes_part,
            address(leech): takes_part,
        }


def test_no_peer_is_told_of_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PEX_INTERVAL", 0.1)
    torrent = world.torrent()
    seed = address(world.seed(torrent))
    relay = joined(world, torrent, seed)
    with geventbt.connect(address(relay), info_hash=torrent.info_hash) as wire:
        wire.use(UtPex)
        wire.extended_handshake["p"] = 7
        wire.handshake(torrent.info_hash, geventbt.new_peer_id(), geometry=torrent.geometry)
        eventually(lambda: wire.ut_pex.peers)
        assert set(wire.ut_pex.peers) == {seed}
