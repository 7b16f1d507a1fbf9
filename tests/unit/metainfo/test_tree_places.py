"""Where the blocks of pieces are in the trees of files, and which blocks of a piece are wrong (BEP 52)."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from geventbt import Torrent, create_torrent, limits
from geventbt.metainfo import merkle
from geventbt.metainfo.tree_places import TreePlaces

BLOCK = limits.BLOCK
SIZES = {"a": 5 * BLOCK + 7, "b": 0, "c": 4 * BLOCK, "d": 3, "e": 3 * BLOCK, "f": 5 * BLOCK + 7}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, size in SIZES.items():
        (tmp_path / "root").mkdir(exist_ok=True)
        (tmp_path / "root" / name).write_bytes(Random(size).randbytes(size))
    return tmp_path / "root"


def piece_of(torrent: Torrent, folder: Path, piece: int) -> bytearray:
    """The bytes of a piece, padding included."""
    stream = bytearray(torrent.geometry.length)
    for file in torrent.files:
        if file.stored:
            stream[file.offset : file.offset + file.length] = folder.parent.joinpath(*file.path).read_bytes()
    start = torrent.geometry.start_of(piece)
    return stream[start : start + torrent.geometry.piece_size(piece)]


VERSIONS = pytest.mark.parametrize("version", ["2", "hybrid"])


@VERSIONS
def test_each_piece_has_its_place(folder: Path, version: Any):
    torrent = create_torrent(folder, version=version, piece_length=4 * BLOCK)
    places = TreePlaces(torrent)
    found = [places.of(piece) for piece in range(torrent.geometry.pieces)]
    assert [(place.piece, place.size, place.width, place.file_width) for place in found] == [
        (0, 4 * BLOCK, 4, 8),
        (1, BLOCK + 7, 4, 8),
        (0, 4 * BLOCK, 4, 4),
        (0, 3, 1, 1),
        (0, 3 * BLOCK, 4, 4),
        (0, 4 * BLOCK, 4, 8),
        (1, BLOCK + 7, 4, 8),
    ]
    assert [place.leaves for place in found[:3]] == [range(4), range(4, 6), range(4)]
    roots = {file.pieces_root for file in torrent.files if file.length and file.stored}
    assert {place.root for place in found} == roots


@VERSIONS
def test_a_piece_is_found_by_its_blocks(folder: Path, version: Any):
    torrent = create_torrent(folder, version=version, piece_length=4 * BLOCK)
    places = TreePlaces(torrent)
    for piece in range(5):
        place = places.of(piece)
        assert {places.find(place.root, leaf) for leaf in place.leaves} == {piece}
    # Those of a file with the same contents are found in the first one.
    assert places.find(places.of(6).root, 4) == 1
    assert places.find(places.of(0).root, 8) is None
    assert places.find(places.of(3).root, 1) is None
    assert places.find(b"?" * 32, 0) is None


@VERSIONS
@pytest.mark.parametrize("piece", range(5))
def test_the_wrong_blocks_are_those_that_were_changed(folder: Path, version: Any, piece: int):
    torrent = create_torrent(folder, version=version, piece_length=4 * BLOCK)
    place = TreePlaces(torrent).of(piece)
    data = piece_of(torrent, folder, piece)
    leaves = merkle.leaves(data[: place.size])
    assert place.wrong_blocks(memoryview(data), leaves) == set()
    for position in range(0, len(data), 5000):
        changed = bytearray(data)
        changed[position] ^= 1
        assert place.wrong_blocks(memoryview(changed), leaves) == {position // BLOCK}
