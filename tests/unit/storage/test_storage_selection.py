"""Files that are wanted and files that are not: nothing is made in vain, and nothing that came is lost."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.storage import Storage
from tests.unit.storage_helpers import LENGTHS, PIECE, A, B, C, D, RecordingBackend


def fill(storage: Storage, pieces: list[bytes]) -> None:
    """Write every piece that is wanted."""
    for piece, data in enumerate(pieces):
        if storage.wanted[piece]:
            assert storage.write_piece(piece, data)


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "torrent").iterdir()}


def parts_file(storage: Storage) -> Path:
    return storage.folder / ".geventbt" / f"{storage.torrent.info_hash.hex()}.parts"


def test_everything_is_wanted_by_default(torrent: Torrent, folder: Path):
    assert Storage(torrent, folder).wanted.all()
    assert Storage(torrent, folder, selected=range(4)).wanted.all()


@pytest.mark.parametrize(
    ("selected", "wanted"), [({A}, "11000000"), ({B}, "01100000"), ({A, D}, "11001111"), (set(), "00000000")]
)
def test_the_wanted_pieces_are_those_that_the_files_share(torrent: Torrent, folder: Path, selected: set, wanted: str):
    assert Storage(torrent, folder, selected=selected).wanted.to01() == wanted


@pytest.mark.parametrize("index", [-1, 4])
def test_a_file_that_is_not_there_cannot_be_selected(torrent: Torrent, folder: Path, index: int):
    with pytest.raises(IndexError):
        Storage(torrent, folder, selected=[index])
    with pytest.raises(IndexError):
        Storage(torrent, folder).select([index])


def test_files_that_are_not_selected_are_not_made(torrent: Torrent, folder: Path, seeded: Path, pieces: list[bytes]):
    storage = Storage(torrent, folder, selected=[B])
    storage.prepare()
    fill(storage, pieces)
    assert names(folder) == {"b"}
    assert (folder / "torrent" / "b").read_bytes() == (seeded / "torrent" / "b").read_bytes()
    assert storage.have == storage.wanted
    assert not storage.complete


def test_pieces_on_the_border_are_read_back_whole(torrent: Torrent, folder: Path, pieces: list[bytes]):
    storage = Storage(torrent, folder, selected=[B])
    fill(storage, pieces)
    for piece in (1, 2):
        assert storage.read(piece, 0, PIECE) == pieces[piece]
        assert storage.verify_piece(piece)


def test_the_parts_file_has_each_byte_where_the_stream_has_it(torrent: Torrent, folder: Path, pieces: list[bytes]):
    storage = Storage(torrent, folder, selected=[B])
    fill(storage, pieces)
    data = parts_file(storage).read_bytes()
    assert data[PIECE:1500] == pieces[1][: 1500 - PIECE]
    assert data[2200 : 3 * PIECE] == pieces[2][2200 - 2 * PIECE :]


def test_no_parts_file_is_made_when_all_is_wanted(torrent: Torrent, folder: Path, pieces: list[bytes]):
    storage = Storage(torrent, folder)
    storage.prepare()
    fill(storage, pieces)
    assert os.listdir(folder) == ["torrent"]


def test_another_storage_finds_what_is_in_the_parts_file(torrent: Torrent, folder: Path, pieces: list[bytes]):
    fill(Storage(torrent, folder, selected=[B]), pieces)
    assert Storage(torrent, folder, selected=[B]).check().to01() == "01100000"


def test_holes_of_the_parts_file_are_not_hashed(torrent: Torrent, folder: Path, pieces: list[bytes]):
    if not hasattr(os, "SEEK_DATA"):
        pytest.skip("holes cannot be seen here")
    # A page of the file system is larger than the pieces, so it is a hole that is made here.
    backend = RecordingBackend(torrent, folder)
    storage = Storage(torrent, folder, selected=[B], backend=backend)
    storage.prepare()
    parts = parts_file(storage)
    parts.parent.mkdir()
    parts.touch()
    os.truncate(parts, torrent.geometry.length)
    assert not storage.check().any()
    assert not backend.reads


def test_a_file_that_is_selected_later_gets_what_was_kept_for_it(
    torrent: Torrent, folder: Path, seeded: Path, pieces: list[bytes]
):
    storage = Storage(torrent, folder, selected=[B])
    storage.prepare()
    fill(storage, pieces)
    storage.select([B, C])
    assert storage.wanted.to01() == "01111000"
    assert names(folder) == {"b", "c"}
    assert (folder / "torrent" / "c").stat().st_size == LENGTHS["c"]
    assert storage.read(2, 0, PIECE) == pieces[2]
    storage.select(None)
    storage.prepare()
    assert storage.have.to01() == "01100000"
    fill(storage, pieces)
    assert storage.complete
    assert storage.check().all()
    for name in LENGTHS:
        assert (folder / "torrent" / name).read_bytes() == (seeded / "torrent" / name).read_bytes()
    assert not parts_file(storage).exists()


def test_a_selected_file_is_fetched_into_its_place_without_prepare(
    torrent: Torrent, folder: Path, seeded: Path, pieces: list[bytes]
):
    storage = Storage(torrent, folder, selected=[B])
    fill(storage, pieces)
    storage.select([B, D])
    fill(storage, pieces)
    assert names(folder) == {"b", "d"}
    assert (folder / "torrent" / "d").read_bytes() == (seeded / "torrent" / "d").read_bytes()


def test_the_next_run_may_want_more(torrent: Torrent, folder: Path, pieces: list[bytes]):
    fill(Storage(torrent, folder, selected=[B]), pieces)
    storage = Storage(torrent, folder)
    assert storage.check().to01() == "01100000"
    storage.prepare()
    assert names(folder) == set(LENGTHS)
    assert not parts_file(storage).exists()
    assert storage.check().to01() == "01100000"


def test_a_file_that_is_no_longer_wanted_stays_in_use(torrent: Torrent, folder: Path, pieces: list[bytes]):
    storage = Storage(torrent, folder)
    storage.prepare()
    storage.select([B])
    fill(storage, pieces)
    assert names(folder) == set(LENGTHS)
    assert storage.read(1, 0, PIECE) == pieces[1]
    assert not parts_file(storage).exists()


def test_a_file_that_is_there_is_used_though_nobody_wants_it(
    torrent: Torrent, folder: Path, seeded: Path, pieces: list[bytes]
):
    (folder / "torrent").mkdir(parents=True)
    (folder / "torrent" / "a").write_bytes((seeded / "torrent" / "a").read_bytes())
    storage = Storage(torrent, folder, selected=[B])
    assert storage.check().to01() == "10000000"
    fill(storage, pieces)
    assert names(folder) == {"a", "b"}
    assert Storage(torrent, folder).check().to01() == "11100000"


def test_a_move_that_fails_leaves_all_where_it_was(
    torrent: Torrent, folder: Path, pieces: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    storage = Storage(torrent, folder, selected=[B])
    fill(storage, pieces)

    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StorageError) as caught:
            storage.select([A, B])
    assert caught.value.errno == errno.ENOSPC
    assert names(folder) == {"b"}
    assert storage.read(1, 0, PIECE) == pieces[1]
    storage.select([A, B])
    assert storage.read(1, 0, PIECE) == pieces[1]
    assert names(folder) == {"a", "b"}
    assert sorted(path.suffix for path in (folder / ".geventbt").iterdir()) == [".parts"]


def test_a_move_works_from_one_file_system_to_another(
    torrent: Torrent, folder: Path, pieces: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    storage = Storage(torrent, folder, selected=[B])
    fill(storage, pieces)

    def elsewhere(*arguments: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "replace", elsewhere)
    storage.select([A, B])
    assert names(folder) == {"a", "b"}
    assert storage.read(1, 0, PIECE) == pieces[1]


def test_a_parts_file_that_is_gone_takes_its_pieces_with_it(torrent: Torrent, folder: Path, pieces: list[bytes]):
    storage = Storage(torrent, folder, selected=[B])
    fill(storage, pieces)
    parts_file(storage).unlink()
    with pytest.raises(StorageError, match="deleted"):
        storage.read(1, 0, PIECE)
    assert not storage.have.any()
    fill(storage, pieces)
    assert storage.have == storage.wanted


def test_room_is_taken_at_once_when_asked_for(torrent: Torrent, folder: Path):
    if not hasattr(os, "posix_fallocate"):
        pytest.skip("room cannot be taken here")
    storage = Storage(torrent, folder, selected=[D], preallocate=True)
    storage.prepare()
    status = (folder / "torrent" / "d").stat()
    assert status.st_size == 3000
    assert status.st_blocks * 512 >= 3000
    assert names(folder) == {"d"}


def test_taking_room_keeps_what_is_there(torrent: Torrent, seeded: Path):
    os.truncate(seeded / "torrent" / "d", 2500)
    storage = Storage(torrent, seeded, preallocate=True)
    before = storage.check()
    storage.prepare()
    assert storage.check() == before


def test_no_room_is_an_error_before_anything_is_fetched(
    torrent: Torrent, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(StorageError) as caught:
        Storage(torrent, folder, preallocate=True).prepare()
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(folder / "torrent" / "a")


def test_where_room_cannot_be_taken_files_are_sparse(torrent: Torrent, folder: Path, monkeypatch: pytest.MonkeyPatch):
    def unknown(*arguments: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unknown, raising=False)
    Storage(torrent, folder, preallocate=True).prepare()
    assert (folder / "torrent" / "d").stat().st_size == 3000


def test_a_file_put_where_one_of_ours_is_to_be_moved_is_an_error(torrent: Torrent, folder: Path, pieces: list[bytes]):
    with Storage(torrent, folder, selected={A}) as storage:
        storage.prepare()
        fill(storage, pieces)
        (folder / "torrent" / "b").write_bytes(b"mine")
        with pytest.raises(StorageError) as caught:
            storage.select(None)
        assert caught.value.errno == errno.EEXIST
        assert caught.value.filename == str(folder / "torrent" / "b")
        assert (folder / "torrent" / "b").read_bytes() == b"mine"
        assert storage.wanted.to01() == "11000000"
        assert storage.read(1, 0, PIECE) == pieces[1]


def test_prepare_needs_no_right_to_write_what_is_as_it_should_be(
    torrent: Torrent, seeded: Path, monkeypatch: pytest.MonkeyPatch
):
    (seeded / "torrent" / "c").unlink()
    made = []
    real = os.open

    def note(path: object, flags: int, *arguments: int, **keywords: int) -> int:
        if flags & os.O_RDWR:
            made.append(os.path.basename(os.fspath(path)))
        return real(path, flags, *arguments, **keywords)

    monkeypatch.setattr(os, "open", note)
    with Storage(torrent, seeded) as storage:
        storage.check()
        storage.prepare()
    assert made == ["c"] * len(made)
    assert (seeded / "torrent" / "c").stat().st_size == LENGTHS["c"]
