"""Magnets and peer exchange against libtorrent: it gets metadata from us, and we from it; and peers hear of peers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import gevent
import pytest

import geventbt
from tests.interop.conftest import assert_same_tree, our_seeder, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]


def test_we_download_by_a_magnet_from_a_libtorrent_seeder(payload, torrent_file, tmp_path, libtorrent_peer):
    seeder = libtorrent_peer(torrent_file, payload.parent)
    wait_until(lambda: seeder.is_seeding)
    magnet = subprocess.run(
        [sys.executable, "-m", "geventbt", "magnet", str(torrent_file)], capture_output=True, text=True, check=True
    ).stdout.strip()
    kept = tmp_path / "kept.torrent"
    command = [sys.executable, "-m", "geventbt", "download", magnet, "-o", str(tmp_path / "ours")]
    command += ["--peer", f"127.0.0.1:{seeder.port}", "--save-torrent", str(kept)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stderr
    assert_same_tree(payload, tmp_path / "ours" / "payload")
    assert geventbt.Torrent.from_file(kept).info_bytes == geventbt.Torrent.from_file(torrent_file).info_bytes


def test_libtorrent_downloads_by_a_magnet_from_our_seeder(payload, torrent_file, tmp_path, libtorrent_peer):
    magnet = str(geventbt.Magnet.from_torrent(geventbt.Torrent.from_file(torrent_file)))
    with our_seeder(torrent_file, payload) as port:
        leecher = libtorrent_peer(magnet, tmp_path / "leeched")
        leecher.connect(port)
        wait_until(lambda: leecher.is_seeding)
    assert_same_tree(payload, tmp_path / "leeched" / "payload", seconds=30)


def test_the_peer_command_shows_a_libtorrent_peer(payload, torrent_file, libtorrent_peer):
    seeder = libtorrent_peer(torrent_file, payload.parent)
    wait_until(lambda: seeder.is_seeding)
    torrent = geventbt.Torrent.from_file(torrent_file)
    report = geventbt.inspect_peer(("127.0.0.1", seeder.port), torrent.info_hash, wait=0.5)
    assert report.client is not None
    assert report.client.startswith("libtorrent 2")
    assert {"dht", "fast", "extended"} >= {"fast", "extended"}
    assert set(report.reserved) >= {"fast", "extended"}
    assert report.extended["metadata_size"] == len(torrent.info_bytes)
    assert {"ut_metadata", "lt_donthave"} <= set(report.extended["m"])
    assert report.has_all or report.have_count == torrent.geometry.pieces
    assert report.error is None


def test_libtorrent_and_ours_tell_each_other_of_peers(torrent_file, tmp_path, libtorrent_peer):
    """Three of ours and one libtorrent session, which hear of each other by peer exchange alone."""
    torrent = geventbt.Torrent.from_file(torrent_file)

    def idle(wire: geventbt.Wire) -> None:
        """A peer that has nothing, so that none is ever complete and leaves."""
        wire.use(geventbt.UtPex)
        wire.handshake(torrent.info_hash, geventbt.new_peer_id(), geometry=torrent.geometry)
        list(wire.incoming_requests())

    def with_peer_exchange(server: geventbt.PeerServer) -> list[geventbt.Wire]:
        """Its wires that are past their handshakes: libtorrent's first try is encrypted, and that wire closes."""
        return [wire for wire in server.wires if wire.ext and wire.ut_pex.supported]

    leecher = libtorrent_peer(torrent_file, tmp_path / "leeched")
    with geventbt.listen(("127.0.0.1", 0), idle) as first, geventbt.listen(("127.0.0.1", 0), idle) as second:
        leecher.connect(first.server_port)
        wait_until_with_gevent(lambda: with_peer_exchange(first))

        # The first of ours tells libtorrent of the second.
        (wire,) = with_peer_exchange(first)
        wire.ut_pex.update([("127.0.0.1", second.server_port)])
        wait_until_with_gevent(lambda: second.wires)

        # The third asks libtorrent, and hears of the other two.
        with geventbt.connect(("127.0.0.1", leecher.port)) as third:
            third.use(geventbt.UtPex)
            third.handshake(torrent.info_hash, geventbt.new_peer_id(), geometry=torrent.geometry)
            known = {("127.0.0.1", first.server_port), ("127.0.0.1", second.server_port)}
            wait_until_with_gevent(lambda: known <= set(third.ut_pex.peers), seconds=90)


def wait_until_with_gevent(condition: Any, seconds: float = 30) -> None:
    with gevent.Timeout(seconds):
        while not condition():
            gevent.sleep(0.02)


def test_a_magnet_link_on_the_command_line_is_checked(tmp_path: Path):
    result = subprocess.run(
        [sys.executable, "-m", "geventbt", "download", "magnet:?dn=nothing"], capture_output=True, text=True, timeout=30
    )
    assert result.returncode == 4
    assert result.stderr.count("\n") == 1
