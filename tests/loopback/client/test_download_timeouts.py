"""`download` with a timeout, and with one for a standstill."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

import geventbt
from tests.loopback.harness import gevent_listener


@pytest.fixture
def torrent(tmp_path: Path) -> geventbt.Torrent:
    (tmp_path / "data").write_bytes(os.urandom(300_000))
    return geventbt.create_torrent(tmp_path / "data", piece_length=16384)


@pytest.fixture
def silent() -> Iterator[tuple[str, int]]:
    """The address of a peer that takes connections and says nothing."""
    listener = gevent_listener()
    yield listener.getsockname()
    listener.close()


def test_a_download_that_takes_too_long_is_an_error_that_says_how_far_it_is(
    torrent: geventbt.Torrent, tmp_path: Path
) -> None:
    with geventbt.seed(torrent, tmp_path, ("127.0.0.1", 0), limit_up=50_000) as seeder:
        assert seeder.port is not None
        peers = [("127.0.0.1", seeder.port)]
        with pytest.raises(geventbt.DownloadTimeout, match=r"not complete within 1 s: \d+ of 300000 bytes, 1 peer"):
            geventbt.download(torrent, tmp_path / "out", peers=peers, dht=False, timeout=1)
        # What is verified is kept, and it is also a TimeoutError.
        with pytest.raises(TimeoutError):
            geventbt.download(torrent, tmp_path / "out", peers=peers, dht=False, timeout=0)
        seeder.set_limits()


@pytest.mark.parametrize("by_link", [False, True])
def test_a_download_that_stands_still_is_an_error(
    by_link: bool, torrent: geventbt.Torrent, silent: tuple[str, int], tmp_path: Path
) -> None:
    source = geventbt.Magnet.from_torrent(torrent) if by_link else torrent
    with gevent.Timeout(10), pytest.raises(geventbt.DownloadTimeout, match=r"nothing received for 0\.5 s"):
        geventbt.download(source, tmp_path / "out", peers=[silent], dht=False, stall_timeout=0.5)


def test_the_error_names_the_tracker_that_fails(torrent: geventbt.Torrent, tmp_path: Path) -> None:
    tracker = "http://127.0.0.1:1/announce"
    with pytest.raises(geventbt.DownloadTimeout, match=r"http://127\.0\.0\.1:1/announce: .*refused"):
        geventbt.download(torrent, tmp_path / "out", trackers=[tracker], dht=False, stall_timeout=1)


def test_a_download_that_moves_is_not_ended_by_a_stall_timeout(torrent: geventbt.Torrent, tmp_path: Path) -> None:
    with geventbt.seed(torrent, tmp_path, ("127.0.0.1", 0), limit_up=150_000) as seeder:
        assert seeder.port is not None
        peers = [("127.0.0.1", seeder.port)]
        geventbt.download(torrent, tmp_path / "out", peers=peers, dht=False, stall_timeout=1.5, timeout=60)
    assert (tmp_path / "out" / "data").read_bytes() == (tmp_path / "data").read_bytes()
