"""`FileMap`: which files are wanted, and the pieces that follow from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from bitarray import bitarray

from geventbt import bencoding
from geventbt.client.torrent.file_map import FileMap
from geventbt.metainfo import Torrent
from geventbt.storage import Storage
from tests.unit.storage_helpers import LENGTHS, PIECE, A, B, C, D, seed


@pytest.fixture
def torrent(tmp_path: Path) -> Torrent:
    """Eight pieces: a 0-1, b 1-2, c 2-4, d 4-7."""
    return seed(tmp_path)


def made_of(*files: tuple[str, int], piece_length: int = PIECE) -> Torrent:
    """A torrent of files whose names begin with "pad" where they are padding."""
    entries = [
        {"length": length, "path": [name], **({"attr": "p"} if name.startswith("pad") else {})}
        for name, length in files
    ]
    pieces = -(-sum(length for _, length in files) // piece_length)
    info = {"files": entries, "name": "t", "piece length": piece_length, "pieces": bytes(20 * pieces)}
    return Torrent.from_info(bencoding.encode(info))


def test_padding_is_not_counted_among_the_bytes_of_pieces():
    torrent = made_of(("a", PIECE + 1), ("pad", 2 * PIECE - 2), ("b", 1), ("c", 5), ("pad2", 3))
    files = FileMap(torrent)
    assert files.bytes_of(files.wanted) == PIECE + 1 + 1 + 5
    assert [files.bytes_of(bitarray([at == piece for at in range(4)])) for piece in range(4)] == [PIECE, 1, 1, 5]


def test_all_files_are_wanted_unless_some_are_chosen(torrent):
    assert FileMap(torrent).selected == {A, B, C, D}
    assert FileMap(torrent).wanted.to01() == "11111111"
    assert FileMap(torrent, [B]).selected == {B}
    assert FileMap(torrent, [B]).wanted.to01() == "01100000"
    assert FileMap(torrent, []).wanted.to01() == "00000000"


def test_a_file_goes_by_its_index_its_path_or_its_description(torrent, tmp_path):
    files = FileMap(torrent)
    again = Torrent.from_info(torrent.info_bytes)
    assert [files.index_of(name) for name in (1, "torrent/b", "b", torrent.files[1], again.files[1])] == [1] * 5


@pytest.mark.parametrize("wrong", [4, -1, "", "torrent", "e", "/b", "B"])
def test_what_is_no_file_of_the_torrent_is_a_lookup_error(torrent, wrong):
    with pytest.raises(LookupError):
        FileMap(torrent).index_of(wrong)
    with pytest.raises(LookupError):
        FileMap(torrent, [wrong])


def test_the_name_of_a_torrent_of_one_file_is_that_file(tmp_path):
    (tmp_path / "lonely").write_bytes(b"data")
    from geventbt import create_torrent

    files = FileMap(create_torrent(tmp_path / "lonely"))
    assert files.index_of("lonely") == 0
    with pytest.raises(LookupError):
        files.index_of("")


def test_a_whole_path_comes_before_one_without_the_torrents_folder():
    info = {
        "files": [{"length": 5, "path": ["t", "x"]}, {"length": 5, "path": ["x"]}],
        "name": "t",
        "piece length": PIECE,
        "pieces": bytes(20),
    }
    files = FileMap(Torrent.from_info(bencoding.encode(info)))
    assert files.index_of("t/x") == 1
    assert files.index_of("t/t/x") == 0
    assert files.index_of("x") == 1


def test_a_piece_that_files_share_has_the_highest_priority_of_theirs(torrent):
    files = FileMap(torrent)
    files.set_priorities({A: 7, B: 2, C: 3, D: 0})
    assert list(files.piece_priorities()) == [7, 7, 3, 3, 3, 0, 0, 0]
    files.set_priorities({"a": 0, "torrent/d": 5})
    assert list(files.piece_priorities()) == [0, 2, 3, 3, 5, 5, 5, 5]
    assert files.wanted.to01() == "01111111"


def test_small_files_within_one_piece_all_count():
    files = FileMap(made_of(("a", 10), ("b", 10), ("c", 10), ("d", 5000)))
    files.set_priorities({0: 1, 1: 6, 2: 2, 3: 1})
    assert list(files.piece_priorities()) == [6, 1, 1, 1, 1]


@pytest.mark.parametrize("priority", [-1, 8])
def test_no_priority_is_changed_when_one_of_them_is_wrong(torrent, priority):
    files = FileMap(torrent)
    with pytest.raises(ValueError):
        files.set_priorities({A: 0, B: priority})
    with pytest.raises(LookupError):
        files.set_priorities({A: 0, "nothing": 1})
    assert files.selected == {A, B, C, D}


def test_an_empty_file_has_no_pieces_and_changes_nobodys(torrent):
    files = FileMap(made_of(("a", 0), ("b", 1000), ("c", 0), ("d", 3000)))
    files.set_priorities({0: 7, 1: 1, 2: 7, 3: 0})
    assert list(files.piece_priorities()) == [1, 0, 0, 0]
    assert files.wanted.to01() == "1000"


def test_padding_is_wanted_as_the_file_before_it_is():
    files = FileMap(made_of(("a", 100), ("pad1", PIECE - 100), ("b", 3000)))
    assert files.wanted.to01() == "1111"
    files.set_priorities({0: 0})
    assert files.wanted.to01() == "0111"
    files.set_priorities({0: 4, 2: 0})
    assert files.wanted.to01() == "1000"
    assert FileMap(files_torrent := made_of(("a", 100), ("pad1", 5000), ("b", 10)), [0]).wanted.to01() == "11111"
    assert FileMap(files_torrent, [2]).wanted.to01() == "00001"


def test_the_bytes_of_pieces_know_of_the_short_last_one(torrent):
    files = FileMap(torrent)
    total = sum(LENGTHS.values())
    assert files.bytes_of(bitarray("11111111")) == total
    assert files.bytes_of(bitarray("11111110")) == 7 * PIECE
    assert files.bytes_of(bitarray("00000001")) == total - 7 * PIECE
    assert files.bytes_of(bitarray("00000000")) == 0


def test_a_file_is_complete_with_its_last_piece_also_where_files_share_pieces(torrent, tmp_path):
    files = FileMap(torrent)
    files.count(bitarray("00000000"))
    assert [files.note_verified(piece) for piece in (1, 2, 0, 7, 6, 5, 3, 4)] == [[], [B], [A], [], [], [], [], [C, D]]
    assert all(file.complete for file in files.status(Storage(torrent, tmp_path / "x")))


def test_what_was_there_already_is_not_missing(torrent, tmp_path):
    files = FileMap(torrent)
    files.count(bitarray("11000000"))
    complete = {file.name: file.complete for file in files.status(Storage(torrent, tmp_path / "x"))}
    assert complete == {"torrent/a": True, "torrent/b": False, "torrent/c": False, "torrent/d": False}
    assert files.note_verified(2) == [B]


def test_padding_is_neither_complete_nor_shown(tmp_path):
    torrent = made_of(("a", 100), ("pad1", PIECE - 100), ("b", 1000))
    files = FileMap(torrent)
    files.count(bitarray("00"))
    assert files.note_verified(0) == [0]
    assert [file.index for file in files.status(Storage(torrent, tmp_path))] == [0, 2]


def test_thousands_of_files_are_chosen_by_name_at_once(tmp_path):
    """Each name is one look-up, and the pieces follow once for all of them."""
    torrent = made_of(*((f"f{number}", 100) for number in range(5000)), piece_length=16384)
    files = FileMap(torrent, [f"f{number}" for number in range(2500)])
    files.set_priorities(dict.fromkeys(torrent.files, 0))
    assert not files.selected
