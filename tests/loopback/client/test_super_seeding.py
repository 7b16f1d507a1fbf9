"""The only seed of several leechers deals out the first copy (BEP 16), over real sockets."""

from __future__ import annotations

import pytest

from geventbt import limits
from tests.loopback.world import World, address, done_soon, eventually

MIB = limits.MIB


@pytest.fixture
def torrent(world: World):
    return world.torrent(piece_length=32768, file=3 * MIB)


def test_it_sends_each_piece_about_once_to_leechers_that_know_each_other(world: World, torrent):
    seed = world.client(upload_slots=None, limit_up=3 * MIB)
    seeding = seed.add(torrent, world.origin, seed_only=True)
    assert seeding.wait(10)
    clients = [world.client(encryption="disable") for _ in range(4)]
    everybody = [address(client) for client in (seed, *clients)]
    jobs = [
        world.download(torrent, everybody[: number + 1], client=client, folder=f"out{number}")
        for number, client in enumerate(clients)
    ]
    assert all(done_soon(job) for job in jobs)
    for number in range(len(jobs)):
        world.assert_complete(torrent, f"out{number}")
    assert seeding.progress.uploaded < 2 * torrent.geometry.size


def test_a_leecher_is_shown_few_pieces_and_can_have_these(world: World, torrent):
    client = world.client(upload_slots=None)
    assert client.add(torrent, world.origin, seed_only=True, super_seeding=True).wait(10)
    wires = [world.visit(client, torrent) for _ in range(2)]
    for wire in wires:
        wire.interested()
        wire.wait_unchoked(timeout=5)
    first, second = (set(wire.peer_pieces.search(1)) for wire in wires)
    assert 0 < len(first) < 10
    assert 0 < len(second) < 10
    assert not first & second
    piece = min(first)
    assert wires[0].read(piece, 0, 32768) == world.reader(torrent)(piece, 0, 32768)
    eventually(lambda: wires[0].peer_pieces.count() > len(first))
    for wire in wires:
        wire.close(0)


def test_everybody_is_told_of_everything_when_each_piece_is_held(world: World, torrent):
    client = world.client(upload_slots=None)
    assert client.add(torrent, world.origin, seed_only=True, super_seeding=True).wait(10)
    holder, other = world.visit(client, torrent), world.visit(client, torrent)
    for piece in range(torrent.geometry.pieces):
        holder.have(piece)
    eventually(lambda: other.peer_pieces.all())
    for wire in (holder, other):
        wire.close(0)


def test_a_lone_leecher_is_told_of_everything_at_once(world: World, torrent):
    wire = world.visit(world.seed(torrent), torrent)
    eventually(lambda: wire.peer_has_all)
    wire.close(0)


def test_two_seeds_that_have_met_do_not_take_each_other_for_leechers(world: World, torrent):
    seeds = [world.seed(torrent, dht=False, lsd=False) for _ in range(2)]
    first, second = (seed.torrents[torrent.info_hash] for seed in seeds)
    job = world.download(torrent, [address(seed) for seed in seeds], limit_down=100_000)
    eventually(lambda: job.progress.done and len(job.peers) == 2)
    first.add_peers([address(seeds[1])])
    eventually(lambda: len(first.peers) == len(second.peers) == 2)
    job.set_limits(down=None)
    # A piece a second of each, if they did.
    assert job.wait(torrent.geometry.pieces / 5)


def test_a_seed_can_be_told_not_to_deal(world: World, torrent):
    client = world.client(upload_slots=None)
    assert client.add(torrent, world.origin, seed_only=True, super_seeding=False).wait(10)
    wires = [world.visit(client, torrent) for _ in range(3)]
    eventually(lambda: all(wire.peer_has_all for wire in wires))
    for wire in wires:
        wire.close(0)
