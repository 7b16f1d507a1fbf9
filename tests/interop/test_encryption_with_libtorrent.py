"""Encrypted connections against libtorrent, in both directions, forced and preferred, with both methods."""

from __future__ import annotations

from typing import Any

import gevent
import pytest

import geventbt
from tests.interop.conftest import assert_same_tree, wait_until
from tests.interop.test_magnets import wait_until_with_gevent

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

DISABLED, ENABLED, FORCED = 2, 1, 0
"""libtorrent's policies."""
PLAINTEXT, RC4, BOTH = 1, 2, 3
"""libtorrent's levels."""


def settings(policy: int, level: int = BOTH) -> dict[str, Any]:
    return {
        "in_enc_policy": policy,
        "out_enc_policy": policy,
        "allowed_enc_level": level,
        "prefer_rc4": True,
    }


both_ways = pytest.mark.parametrize(
    ("ours", "theirs", "outcome"),
    [
        ("prefer", settings(FORCED, RC4), "rc4"),
        ("require", settings(FORCED, RC4), "rc4"),
        ("require", settings(ENABLED), "rc4"),
        ("prefer", settings(FORCED, PLAINTEXT), "plaintext"),
        ("prefer", settings(DISABLED), "plaintext"),
        ("disable", settings(ENABLED), "plaintext"),
    ],
    ids=[
        "prefer-forced",
        "require-forced",
        "require-enabled",
        "plaintext method",
        "prefer-disabled",
        "disable-enabled",
    ],
)


@both_ways
def test_we_download_from_a_libtorrent_seeder(payload, torrent_file, tmp_path, libtorrent_peer, ours, theirs, outcome):
    seeder = libtorrent_peer(torrent_file, payload.parent, **theirs)
    wait_until(lambda: seeder.is_seeding)
    torrent = geventbt.Torrent.from_file(torrent_file)
    outcomes = set()

    def note(wire: geventbt.Wire, **fields: Any) -> None:
        outcomes.add(wire.encryption)

    geventbt.signals.unchoke.connect(note)
    try:
        geventbt.download(torrent, tmp_path / "ours", peers=[("127.0.0.1", seeder.port)], encryption=ours)
    finally:
        geventbt.signals.unchoke.disconnect(note)
    assert_same_tree(payload, tmp_path / "ours" / "payload")
    assert outcomes == {outcome}


@both_ways
def test_libtorrent_downloads_from_our_seeder(payload, torrent_file, tmp_path, libtorrent_peer, ours, theirs, outcome):
    outcomes = set()

    def note(wire: geventbt.Wire, **fields: Any) -> None:
        outcomes.add(wire.encryption)

    geventbt.signals.request.connect(note)
    try:
        with geventbt.seed(torrent_file, payload, ("127.0.0.1", 0), encryption=ours) as server:
            leecher = libtorrent_peer(torrent_file, tmp_path / "leeched", **theirs)
            leecher.connect(server.port)
            wait_until_with_gevent(lambda: leecher.is_seeding)
            gevent.sleep(0)
    finally:
        geventbt.signals.request.disconnect(note)
    assert_same_tree(payload, tmp_path / "leeched" / "payload", seconds=30)
    assert outcomes == {outcome}


def test_a_peer_that_will_not_encrypt_is_no_peer_where_that_is_required(
    payload, torrent_file, tmp_path, libtorrent_peer
):
    seeder = libtorrent_peer(torrent_file, payload.parent, **settings(DISABLED))
    wait_until(lambda: seeder.is_seeding)
    with pytest.raises(geventbt.NoPeersError):
        geventbt.download(torrent_file, tmp_path / "ours", peers=[("127.0.0.1", seeder.port)], encryption="require")
