"""Torrents of version 2 and hybrids against libtorrent: .torrent files and links, down and up (BEP 52)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gevent
import pytest

import geventbt
from geventbt import Magnet, Torrent
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
