"""What a web seed is not asked for any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from geventbt.client.swarm.web_seed_contents import WebSeedContents
from geventbt.metainfo import Torrent
from geventbt.metainfo.create import create_torrent
from geventbt.storage import Layout
from tests.unit.storage_helpers import PIECE, A, B, D, seed


def contents_of(torrent: Torrent) -> WebSeedContents:
    return WebSeedContents(torrent, Layout(torrent.files, torrent.geometry))


@pytest.fixture
def contents(tmp_path: Path) -> WebSeedContents:
    """Pieces: a 0-1, b 1-2, c 2-4, d 4-7."""
    return contents_of(seed(tmp_path))


def there(contents: WebSeedContents) -> list[int]:
    return list(contents.pieces.search(1))


def test_it_has_everything_at_first(contents: WebSeedContents):
    assert there(contents) == list(range(8))


def test_a_missing_file_costs_all_pieces_that_have_bytes_of_it(contents: WebSeedContents):
    assert contents.lose_file(B) == [1, 2]
    assert contents.lose_file(A) == [0]
    assert there(contents) == [3, 4, 5, 6, 7]


def test_a_wrong_piece_inside_a_file_costs_the_file(contents: WebSeedContents):
    assert sorted(contents.convict(5)) == [4, 5, 6, 7]
    assert contents.lose_file(D) == []
    assert contents.wrong == {5}


def test_a_wrong_piece_of_several_files_costs_only_itself(contents: WebSeedContents):
    assert contents.convict(1) == [1]
    assert there(contents) == [0, 2, 3, 4, 5, 6, 7]


def test_a_wrong_piece_of_the_only_file_costs_only_itself(tmp_path: Path):
    (tmp_path / "file").write_bytes(bytes(range(256)) * 20)
    contents = contents_of(create_torrent(tmp_path / "file", piece_length=PIECE))
    assert contents.convict(2) == [2]
    assert there(contents) == [0, 1, 3, 4]
