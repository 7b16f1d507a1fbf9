"""uTP with libtorrent, in both directions, in plaintext and encrypted."""

from __future__ import annotations

from typing import Any

import gevent
import pytest

import geventbt
from tests.interop.conftest import assert_same_tree, wait_until
from tests.interop.test_magnets import wait_until_with_gevent

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

UTP_ALONE = {
    "enable_incoming_tcp": False,
    "enable_outgoing_tcp": False,
    "enable_incoming_utp": True,
    "enable_outgoing_utp": True,
}
ENCRYPTED = {"in_enc_policy": 0, "out_enc_policy": 0, "allowed_enc_level": 2}


@pytest.mark.parametrize("encryption", ["disable", "require"])
def test_we_download_over_utp(payload, torrent_file, tmp_path, libtorrent_peer, encryption):
    seeder = libtorrent_peer(
        torrent_file, payload.parent, **UTP_ALONE, **(ENCRYPTED if encryption == "require" else {})
    )
    wait_until(lambda: seeder.is_seeding)
    with geventbt.Client(0, host="127.0.0.1", dht=False, lsd=False, encryption=encryption) as client:
        torrent = client.add(torrent_file, tmp_path / "copy", peers=[("127.0.0.1", seeder.port)])
        seen: set[tuple[str, Any]] = set()
        while not torrent.wait(0.01):
            seen |= {(peer.transport, peer.encryption) for peer in torrent.peers}
        seen |= {(peer.transport, peer.encryption) for peer in torrent.peers}
    assert seen <= {("utp", "rc4" if encryption == "require" else "plaintext")}
    assert seen
    assert_same_tree(payload, tmp_path / "copy" / "payload")


@pytest.mark.parametrize("encryption", ["disable", "require"])
def test_libtorrent_downloads_from_us_over_utp(payload, torrent_file, tmp_path, libtorrent_peer, encryption):
    torrent = geventbt.Torrent.from_file(torrent_file)
    with geventbt.seed(
        torrent, payload, ("127.0.0.1", 0), dht=False, lsd=False, encryption=encryption, transport="utp"
    ) as client:
        options = ENCRYPTED if encryption == "require" else {}
        leecher = libtorrent_peer(torrent_file, tmp_path / "copy", **UTP_ALONE, **options)
        leecher.connect(client.port)
        wait_until_with_gevent(lambda: leecher.is_seeding)
    assert_same_tree(payload, tmp_path / "copy" / "payload", 10)


def test_many_streams_with_one_libtorrent_end_as_they_should(torrent_file, payload, libtorrent_peer):
    seeder = libtorrent_peer(torrent_file, payload.parent, **UTP_ALONE)
    wait_until(lambda: seeder.is_seeding)
    info_hash = geventbt.Torrent.from_file(torrent_file).info_hash

    def visit(number: int) -> int:
        with geventbt.connect(("127.0.0.1", seeder.port), transport="utp") as wire:
            wire.handshake(info_hash, f"-GB0001-{number:012}".encode())
            wire.interested()
            wire.wait_unchoked(timeout=30)
            return len(wire.read(number, 0, 65536))

    visits = [gevent.spawn(visit, number) for number in range(5)]
    gevent.joinall(visits, raise_error=True)
    assert [one.value for one in visits] == [65536] * 5
