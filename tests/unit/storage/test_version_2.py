"""Storage of torrents of version 2 and hybrids: the hashes of blocks, and padding (BEP 52)."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from geventbt import MemoryBackend, Storage, Torrent, create_torrent, limits
from geventbt.errors import StorageError
from geventbt.metainfo import merkle

PIECE = 2 * limits.BLOCK
SIZES = {"a": 2 * PIECE + limits.BLOCK + 7, "b": 5}
VERSIONS = pytest.mark.parametrize("version", ["2", "hybrid"])


@pytest.fixture
def torrent(tmp_path: Path, version: Any) -> Torrent:
    for name, size in SIZES.items():
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).write_bytes(Random(name).randbytes(size))
    return create_torrent(tmp_path / "data", version=version, piece_length=PIECE)


@VERSIONS
def test_the_hashes_of_blocks_are_those_of_the_file(torrent: Torrent, tmp_path: Path) -> None:
    leaves = merkle.leaves((tmp_path / "data" / "a").read_bytes())
    with Storage(torrent, tmp_path) as storage:
        storage.check()
        assert [storage.leaf_hashes(piece) for piece in range(3)] == [leaves[:2], leaves[2:4], leaves[4:]]
        assert storage.leaf_hashes(3) == merkle.leaves((tmp_path / "data" / "b").read_bytes())


@VERSIONS
def test_no_hashes_are_made_of_data_that_is_not_verified(torrent: Torrent, tmp_path: Path) -> None:
    with Storage(torrent, tmp_path) as storage, pytest.raises(StorageError, match="not verified"):
        storage.leaf_hashes(0)


@pytest.mark.parametrize("version", ["1"])
def test_there_are_none_in_version_1(torrent: Torrent, tmp_path: Path) -> None:
    with Storage(torrent, tmp_path) as storage:
        storage.check()
        with pytest.raises(StorageError, match="version 2"):
            storage.leaf_hashes(0)


class Changing(MemoryBackend):
    """Gives other bytes than were written, once it is told to."""

    is_changed = False

    def read(self, file: int, offset: int, length: int) -> bytes:
        data = super().read(file, offset, length)
        return bytes(len(data)) if self.is_changed else data


@VERSIONS
def test_data_that_was_changed_is_not_hashed_and_is_no_longer_had(torrent: Torrent, tmp_path: Path) -> None:
    backend = Changing(torrent)
    with Storage(torrent, tmp_path, backend=backend) as storage:
        assert storage.write_piece(0, (tmp_path / "data" / "a").read_bytes()[:PIECE])
        assert len(storage.leaf_hashes(0)) == 2
        backend.is_changed = True
        with pytest.raises(StorageError, match="changed"):
            storage.leaf_hashes(0)
        assert not storage.have[0]


@pytest.mark.parametrize("version", ["hybrid"])
def test_a_piece_with_wrong_padding_is_wrong_and_not_the_torrent(torrent: Torrent, tmp_path: Path) -> None:
    data = bytearray((tmp_path / "data" / "b").read_bytes().ljust(PIECE, b"\0"))
    with Storage(torrent, tmp_path, backend=MemoryBackend(torrent)) as storage:
        for position in (5, PIECE - 1):
            wrong = bytearray(data)
            wrong[position] = 1
            assert not storage.write_piece(3, wrong)
        assert storage.write_piece(3, data)
