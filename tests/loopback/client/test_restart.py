"""A restart goes on where the last run ended, without a look at the data that its record vouches for."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import geventbt
from geventbt import Client, limits
from geventbt.storage import Storage, checker
from tests.loopback.harness import eventually

PIECE = 65536


@pytest.fixture
def torrent(tmp_path: Path) -> geventbt.Torrent:
    """Forty pieces in three files, whose data is below the folder origin."""
    folder = tmp_path / "origin" / "data"
    folder.mkdir(parents=True)
    for name, size in (("a", 20 * PIECE), ("b", 13 * PIECE), ("c", 7 * PIECE - 100)):
        (folder / name).write_bytes(os.urandom(size))
    return geventbt.create_torrent(folder, piece_length=PIECE)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The pieces that are read from the disk and hashed."""
    pieces: list[int] = []
    hash_pieces = checker.hash_pieces

    def spy(geometry: Any, hashes: Any, indices: Iterable[int], *arguments: Any) -> Generator[Any, None, None]:
        indices = list(indices)
        pieces.extend(indices)
        return hash_pieces(geometry, hashes, indices, *arguments)

    monkeypatch.setattr(checker, "hash_pieces", spy)
    return pieces


@pytest.fixture
def peer(torrent: geventbt.Torrent, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A seeder, slow enough to stop a download in its middle."""
    with geventbt.seed(torrent, tmp_path / "origin", ("127.0.0.1", 0), limit_up=4 << 20) as client:
        yield "127.0.0.1", client.port


def changed_after_the_record(path: Path) -> None:
    """Write a byte to a file."""
    with open(path, "r+b") as file:
        file.seek(PIECE + 5)
        byte = file.read(1)
        file.seek(PIECE + 5)
        file.write(bytes([byte[0] ^ 1]))


def test_a_complete_download_is_not_hashed_again(torrent, peer, hashed, tmp_path):
    geventbt.download(torrent, tmp_path / "out", peers=[peer])
    hashed.clear()
    geventbt.download(torrent, tmp_path / "out")
    assert hashed == []


def test_a_download_that_was_stopped_goes_on_without_hashing(torrent, peer, hashed, tmp_path):
    with Client(None) as client:
        job = client.add(torrent, tmp_path / "out", peers=[peer])
        eventually(lambda: job.pieces.count() > 10)
    had = job.progress.done
    assert had < torrent.geometry.length
    hashed.clear()
    with Client(None) as client:
        job = client.add(torrent, tmp_path / "out", peers=[peer])
        assert job.wait(30)
        assert sum(job.served.values()) == torrent.geometry.length - had
    assert hashed == []


def test_a_seeder_that_comes_back_hashes_nothing(torrent, hashed, tmp_path):
    geventbt.seed(torrent, tmp_path / "origin", ("127.0.0.1", 0)).close()
    assert sorted(hashed) == list(range(40))
    hashed.clear()
    geventbt.seed(torrent, tmp_path / "origin", ("127.0.0.1", 0)).close()
    assert hashed == []


def test_who_has_downloaded_seeds_without_hashing(torrent, peer, hashed, tmp_path):
    geventbt.download(torrent, tmp_path / "out", peers=[peer])
    hashed.clear()
    geventbt.seed(torrent, tmp_path / "out", ("127.0.0.1", 0)).close()
    assert hashed == []


def test_of_a_file_that_has_changed_all_is_hashed_and_of_others_nothing(torrent, peer, hashed, tmp_path):
    geventbt.download(torrent, tmp_path / "out", peers=[peer])
    changed_after_the_record(tmp_path / "out" / "data" / "b")
    hashed.clear()
    with Client(None) as client:
        job = client.add(torrent, tmp_path / "out", peers=[peer])
        assert job.wait(30)
        assert sum(job.served.values()) == PIECE
    assert sorted(hashed) == list(range(20, 33))


def test_a_record_that_is_damaged_is_as_none(torrent, peer, hashed, tmp_path):
    geventbt.download(torrent, tmp_path / "out", peers=[peer])
    (record,) = (tmp_path / "out" / ".geventbt").glob("*.resume")
    record.write_bytes(record.read_bytes()[:-1] + b"?")
    hashed.clear()
    geventbt.download(torrent, tmp_path / "out")
    assert sorted(hashed) == list(range(40))


def test_the_end_of_a_download_is_recorded_at_once(torrent, peer, hashed, tmp_path):
    with Client(None) as client:
        job = client.add(torrent, tmp_path / "out", peers=[peer])
        assert job.wait(30)
        (record,) = (tmp_path / "out" / ".geventbt").glob("*.resume")
        eventually(lambda: (b"\xff" * 5) in record.read_bytes())


def test_a_download_is_recorded_at_each_interval_and_at_its_end(torrent, peer, tmp_path, monkeypatch):
    def recorded(interval: float, folder: Path) -> int:
        """How many different records a download makes."""
        records = set()
        replace = os.replace

        def spy(source: Any, target: Any) -> None:
            records.add(Path(source).read_bytes())
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", spy)
            patch.setattr(limits, "CHECKPOINT_INTERVAL", interval)
            geventbt.download(torrent, folder, peers=[peer])
        return len(records)

    assert recorded(0.02, tmp_path / "often") > 4
    # What was there, and what is there in the end.
    assert recorded(3600, tmp_path / "seldom") <= 3


def test_a_restart_while_another_has_the_folder_is_refused(torrent, peer, tmp_path):
    with Storage(torrent, tmp_path / "out") as other:
        other.lock()
        with pytest.raises(geventbt.StorageError):
            geventbt.download(torrent, tmp_path / "out", peers=[peer])
