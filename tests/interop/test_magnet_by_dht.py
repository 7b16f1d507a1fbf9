"""A magnet link with nothing but its hash, whose peers only the DHT knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import geventbt
from tests.interop.conftest import LibtorrentPeer, assert_same_tree, wait_until

pytestmark = pytest.mark.interop

NODE = {
    "enable_dht": True,
    "dht_bootstrap_nodes": "",
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_block_ratelimit": 1_000_000,
}


@pytest.fixture
def magnet(torrent_file: Path) -> str:
    """Nothing but the hash."""
    info_hash = geventbt.Torrent.from_file(torrent_file).info_hash
    return f"magnet:?xt=urn:btih:{info_hash.hex()}"


def test_a_bare_magnet_link_completes_from_a_libtorrent_seeder(
    libtorrent_peer: Callable[..., LibtorrentPeer], torrent_file: Path, payload: Path, magnet: str, tmp_path: Path
) -> None:
    seeder = libtorrent_peer(torrent_file, payload.parent, **NODE)
    wait_until(lambda: seeder.is_seeding)
    with geventbt.DHT(0, "127.0.0.1", routers=()) as node:
        seeder.session.add_dht_node(("127.0.0.1", node.port))
        node.add_node(("127.0.0.1", seeder.port))
        node.wait_ready(20)
        seeder.handle.force_dht_announce()
        while not list(node.get_peers(magnet.rpartition(":")[2])):
            seeder.handle.force_dht_announce()
        geventbt.download(magnet, tmp_path / "out", dht=node)
    assert_same_tree(tmp_path / "out" / "payload", payload)


def test_a_libtorrent_leech_finds_us_by_a_bare_magnet_link(
    libtorrent_peer: Callable[..., LibtorrentPeer], torrent_file: Path, payload: Path, magnet: str, tmp_path: Path
) -> None:
    leech = libtorrent_peer(magnet, tmp_path / "out", **NODE)
    with geventbt.DHT(0, "127.0.0.1", routers=(), nodes=[("127.0.0.1", leech.port)]) as node:
        node.wait_ready(20)
        leech.session.add_dht_node(("127.0.0.1", node.port))
        with geventbt.seed(torrent_file, payload, ("127.0.0.1", 0), dht=node) as client:
            (torrent,) = client.torrents.values()
            import gevent

            while not leech.is_seeding:
                gevent.sleep(0.05)
            assert torrent.dht is not None
            assert torrent.dht.stored >= 1
    assert_same_tree(tmp_path / "out" / "payload", payload, seconds=5)


def test_port_messages_bring_a_node_into_the_dht(
    libtorrent_peer: Callable[..., LibtorrentPeer], torrent_file: Path, payload: Path, tmp_path: Path
) -> None:
    seeder = libtorrent_peer(torrent_file, payload.parent, **NODE)
    wait_until(lambda: seeder.is_seeding)
    with geventbt.DHT(0, "127.0.0.1", routers=()) as node:
        geventbt.download(torrent_file, tmp_path / "out", peers=[("127.0.0.1", seeder.port)], dht=node)
        node.wait_ready(20)
        assert node.status().nodes == 1
