"""What an interactive session shows of the objects that it holds."""

from __future__ import annotations

from pathlib import Path

import geventbt
from tests.loopback.harness import INFO_HASH, OUR_ID
from tests.loopback.world import World


def test_a_client_and_what_it_runs_are_recognised(world: World):
    torrent = world.torrent()
    client = world.client()
    assert repr(client) == f"<Client on port {client.port}, 0 torrents>"
    job = client.add(torrent, world.folder / "there", peers=world.seeds(torrent, 1))
    assert repr(client) == f"<Client on port {client.port}, 1 torrent>"
    assert job.wait(20)
    assert repr(job) == f"<ActiveTorrent 'data' {torrent.info_hash.hex()} seeding>"
    with job.open("a") as file:
        file.read(10)
        assert repr(file) == "<TorrentReader 'data/a' at 10 of 400001 bytes>"
    assert repr(file) == "<TorrentReader 'data/a' closed>"
    client.close()
    assert repr(client) == "<Client closed>"


def test_a_wire_and_its_extensions_are_recognised():
    def answer(wire: geventbt.Wire) -> None:
        wire.handshake(INFO_HASH, OUR_ID)
        wire.wait_for("close")

    with geventbt.listen(("::1", 0), answer) as server, geventbt.connect(server.address) as wire:
        assert repr(wire) == f"<Wire outgoing [::1]:{server.server_port}>"
        assert repr(wire.use(geventbt.UtPex)) == f"<UtPex of [::1]:{server.server_port}>"
    assert repr(wire) == f"<Wire outgoing [::1]:{server.server_port} closed>"


def test_a_node_of_the_dht_is_recognised():
    with geventbt.DHT(host="127.0.0.1", routers=()) as dht:
        assert repr(dht) == f"<DHT on port {dht.port}>"
    assert repr(dht) == "<DHT closed>"


def test_a_storage_is_recognised(world: World, tmp_path: Path):
    torrent = world.torrent()
    with geventbt.Storage(torrent, tmp_path) as storage:
        assert repr(storage) == f"<Storage 'data' in {str(tmp_path)!r}, 0 of {torrent.geometry.pieces} pieces>"
