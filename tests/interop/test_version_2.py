"""Torrents of version 2 and hybrids against libtorrent: .torrent files and links, down and up (BEP 52)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

import geventbt
from geventbt import Client, Magnet, Torrent, limits
from geventbt.metainfo import merkle
from tests.interop.conftest import assert_same_tree, our_seeder, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

VERSIONS = pytest.mark.parametrize("version", ["2", "hybrid"])
FORMS = pytest.mark.parametrize("form", ["torrent", "link"])


@pytest.fixture
def torrent_v2(payload: Path, tmp_path: Path, version: Any) -> Torrent:
    torrent = geventbt.create_torrent(payload, version=version, piece_length=65536)
    (tmp_path / "v2.torrent").write_bytes(torrent.to_bytes())
    return torrent


@VERSIONS
@FORMS
def test_we_download_from_a_libtorrent_seeder(payload, torrent_v2, tmp_path, libtorrent_peer, form):
    seeder = libtorrent_peer(tmp_path / "v2.torrent", payload.parent)
    wait_until(lambda: seeder.is_seeding)
    source = torrent_v2 if form == "torrent" else Magnet.from_torrent(torrent_v2)
    geventbt.download(source, tmp_path / "ours", peers=[("127.0.0.1", seeder.port)], dht=False, timeout=60)
    assert_same_tree(payload, tmp_path / "ours" / "payload")


@VERSIONS
@FORMS
def test_libtorrent_downloads_from_our_seeder(payload, torrent_v2, tmp_path, libtorrent_peer, form):
    source = tmp_path / "v2.torrent" if form == "torrent" else str(Magnet.from_torrent(torrent_v2))
    with our_seeder(tmp_path / "v2.torrent", payload) as port:
        leecher = libtorrent_peer(source, tmp_path / "leeched")
        leecher.connect(port)
        wait_until(lambda: leecher.is_seeding)
    assert_same_tree(payload, tmp_path / "leeched" / "payload", seconds=30)


@pytest.mark.parametrize("version", ["2"])
def test_hashes_are_asked_of_a_libtorrent_seed(payload, torrent_v2, tmp_path, libtorrent_peer):
    seeder = libtorrent_peer(tmp_path / "v2.torrent", payload.parent)
    wait_until(lambda: seeder.is_seeding)
    root = max(torrent_v2.files, key=lambda file: file.length).pieces_root
    with geventbt.connect(("127.0.0.1", seeder.port), info_hash=torrent_v2.info_hash_v2) as wire:
        wire.handshake(torrent_v2.info_hash_v2, geventbt.new_peer_id())
        asked = gevent.spawn(wire.wait_for, "hashes", 10)
        gevent.sleep(0)
        wire.hash_request(root, 2, 0, 64, 0)
        assert bytes(asked.get()["hashes"]).startswith(torrent_v2.piece_layers[root])


@pytest.mark.parametrize("version", ["2"])
def test_hashes_of_blocks_are_asked_of_a_libtorrent_seed(payload, torrent_v2, tmp_path, libtorrent_peer):
    seeder = libtorrent_peer(tmp_path / "v2.torrent", payload.parent)
    wait_until(lambda: seeder.is_seeding)
    large = max(torrent_v2.files, key=lambda file: file.length)
    leaves = merkle.leaves(payload.parent.joinpath(*large.path).read_bytes())
    with geventbt.connect(("127.0.0.1", seeder.port), info_hash=torrent_v2.info_hash_v2) as wire:
        wire.handshake(torrent_v2.info_hash_v2, geventbt.new_peer_id())
        asked = gevent.spawn(wire.wait_for, "hashes", 10)
        gevent.sleep(0)
        wire.hash_request(large.pieces_root, 0, 8, 4, merkle.level_of(merkle.width(len(leaves))) - 1)
        hashes = merkle.split(bytes(asked.get()["hashes"]))
    assert hashes[:4] == leaves[8:12]
    assert merkle.fold(hashes[:4], 8, hashes[4:]) == large.pieces_root


@VERSIONS
def test_one_wrong_block_among_honest_libtorrent_seeds_costs_one_block_and_its_sender(
    payload, torrent_v2, tmp_path, libtorrent_peer
):
    geometry = torrent_v2.geometry
    stream = bytearray(geometry.length)
    for file in torrent_v2.files:
        if file.stored:
            stream[file.offset : file.offset + file.length] = payload.parent.joinpath(*file.path).read_bytes()
    asked, may_answer = Event(), Event()

    def lie_once(wire: geventbt.Wire) -> None:
        """Send the first block wrong, and all others right; the one piece that it has is asked of it alone at first."""
        wire.handshake(wire.wait_handshake().info_hash, geventbt.new_peer_id(), geometry=geometry)
        wire.have(3)
        wire.unchoke()
        for number, request in enumerate(wire.incoming_requests()):
            asked.set()
            may_answer.wait()
            start = geometry.start_of(request.piece) + request.offset
            block = stream[start : start + request.length]
            block[0] ^= not number
            wire.piece(request.piece, request.offset, block)

    seeders = [libtorrent_peer(tmp_path / "v2.torrent", payload.parent) for _ in range(2)]
    wait_until(lambda: all(seeder.is_seeding for seeder in seeders))
    liar = geventbt.listen(("127.0.0.1", 0), lie_once, info_hashes=torrent_v2.swarm_hashes)
    with Client(host="127.0.0.1", dht=False, lsd=False) as client:
        download = client.add(torrent_v2, tmp_path / "ours", peers=[("127.0.0.1", liar.server_port)])
        assert asked.wait(10)
        for seeder in seeders:
            seeder.connect(client.port)
        while download.progress.seeds < 2:
            gevent.sleep(0.01)
        may_answer.set()
        assert download.wait(60)
        assert download.banned == {("127.0.0.1", liar.server_port)}
        assert download.progress.wasted == limits.BLOCK
    liar.stop()
    assert_same_tree(payload, tmp_path / "ours" / "payload")
