"""Data that is moved to another folder or to other names, and data that is deleted."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.metainfo.renaming import all_renamed, renamed
from geventbt.storage import MemoryBackend, Place, Storage, relocate
from tests.unit.storage_helpers import LENGTHS, A, B

_MEMORY = Path("/dev/shm")


@pytest.fixture
def recorded(torrent: Torrent, folder: Path, pieces: list[bytes]) -> Path:
    """A folder with all of the torrent, recorded."""
    with Storage(torrent, folder) as storage:
        storage.restore()
        storage.prepare()
        for index, piece in enumerate(pieces):
            storage.write_piece(index, piece)
        storage.checkpoint()
    return folder


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another file system."""
    if not _MEMORY.is_dir() or _MEMORY.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev:
        pytest.skip("there is no other file system to move to")
    folder = tempfile.mkdtemp(dir=_MEMORY)
    yield Path(folder)
    shutil.rmtree(folder)


def names_in(folder: Path) -> list[str]:
    """The files of torrents in a folder, without our own."""
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return sorted(path.as_posix() for path in found if path.parts[0] != ".geventbt")


def is_trusted(torrent: Torrent, folder: Path) -> bool:
    """Whether all is there, and nothing has to be hashed for it."""
    with Storage(torrent, folder) as storage:
        return not storage.restore().any() and storage.complete


ALL = [f"torrent/{name}" for name in LENGTHS]


def test_data_is_moved_to_another_folder_and_still_trusted(torrent: Torrent, recorded: Path, tmp_path: Path) -> None:
    relocate(Place(torrent, recorded), Place(torrent, tmp_path / "new"))
    assert names_in(tmp_path / "new") == ALL
    assert names_in(recorded) == []
    assert not (recorded / "torrent").exists()
    assert is_trusted(torrent, tmp_path / "new")


def test_data_is_moved_to_another_file_system_with_its_holes(
    torrent: Torrent, recorded: Path, pieces: list[bytes], elsewhere: Path
) -> None:
    sparse = recorded / "torrent" / "d"
    before = sparse.stat()
    relocate(Place(torrent, recorded), Place(torrent, elsewhere))
    assert names_in(elsewhere) == ALL
    assert (elsewhere / "torrent" / "d").stat().st_mtime_ns == before.st_mtime_ns
    assert is_trusted(torrent, elsewhere)
    assert names_in(recorded) == []


def test_a_file_gets_another_name_and_is_still_trusted(torrent: Torrent, recorded: Path) -> None:
    other = all_renamed(torrent, [("torrent/a", "first"), ("torrent", "folder")])
    relocate(Place(torrent, recorded), Place(other, recorded))
    assert names_in(recorded) == ["folder/b", "folder/c", "folder/d", "folder/first"]
    assert is_trusted(other, recorded)


def test_files_of_others_stay_where_they_are(torrent: Torrent, recorded: Path, tmp_path: Path) -> None:
    (recorded / "torrent" / "notes").write_text("mine")
    relocate(Place(torrent, recorded), Place(torrent, tmp_path / "new"))
    assert names_in(recorded) == ["torrent/notes"]


def test_nothing_is_moved_where_another_file_is_in_the_way(torrent: Torrent, recorded: Path, tmp_path: Path) -> None:
    (tmp_path / "new" / "torrent").mkdir(parents=True)
    (tmp_path / "new" / "torrent" / "c").write_text("mine")
    with pytest.raises(StorageError) as caught:
        relocate(Place(torrent, recorded), Place(torrent, tmp_path / "new"))
    assert caught.value.errno == errno.EEXIST
    assert names_in(tmp_path / "new") == ["torrent/c"]
    assert is_trusted(torrent, recorded)


def test_nothing_is_moved_where_there_is_no_room(
    torrent: Torrent, recorded: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 1))  # type: ignore[attr-defined]
    with pytest.raises(StorageError) as caught:
        relocate(Place(torrent, recorded), Place(torrent, elsewhere))
    assert caught.value.errno == errno.ENOSPC
    assert names_in(elsewhere) == []
    assert is_trusted(torrent, recorded)


def test_a_move_that_fails_half_way_is_undone(
    torrent: Torrent, recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def fail_at_c(source: str, target: str) -> None:
        if target.endswith("new/torrent/c"):
            raise OSError(errno.EIO, "a fault")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_at_c)
    with pytest.raises(StorageError):
        relocate(Place(torrent, recorded), Place(torrent, tmp_path / "new"))
    assert names_in(tmp_path / "new") == []
    assert is_trusted(torrent, recorded)


def test_a_move_that_was_cut_short_is_finished(torrent: Torrent, recorded: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    (new / "torrent").mkdir(parents=True)
    os.rename(recorded / "torrent" / "a", new / "torrent" / "a")
    shutil.copy2(recorded / "torrent" / "b", new / "torrent" / "b")
    (new / ".geventbt").mkdir()
    for _ in range(2):
        relocate(Place(torrent, recorded), Place(torrent, new))
        assert names_in(new) == ALL
        assert names_in(recorded) == []
    assert is_trusted(torrent, new)


def test_data_that_is_in_use_is_not_moved(torrent: Torrent, recorded: Path, tmp_path: Path) -> None:
    with Storage(torrent, recorded) as storage:
        storage.lock()
        with pytest.raises(StorageError) as caught:
            relocate(Place(torrent, recorded), Place(torrent, tmp_path / "new"))
    assert caught.value.errno == errno.EBUSY


def test_data_is_deleted_with_its_folders_and_its_record(torrent: Torrent, recorded: Path) -> None:
    with Storage(torrent, recorded) as storage:
        storage.restore()
        storage.delete()
    assert [path.name for path in recorded.rglob("*")] == [".geventbt", "lock"]


def test_deleting_spares_files_of_others(torrent: Torrent, recorded: Path) -> None:
    (recorded / "torrent" / "notes").write_text("mine")
    (recorded / "torrent" / "a").unlink()
    (recorded / "torrent" / "a").write_text("also mine")
    with Storage(torrent, recorded) as storage:
        storage.restore()
        storage.check()
        storage.delete()
    assert names_in(recorded) == ["torrent/a", "torrent/notes"]


def test_deleting_what_is_not_all_there_deletes_the_rest(torrent: Torrent, folder: Path, pieces: list[bytes]) -> None:
    with Storage(torrent, folder, selected=[A]) as storage:
        storage.restore()
        storage.prepare()
        storage.write_piece(1, pieces[1])
        assert not os.path.exists(storage.path(B))
        storage.delete()
    assert [path.name for path in folder.rglob("*")] == [".geventbt", "lock"]


def test_a_backend_may_not_know_how_to_delete(torrent: Torrent, folder: Path) -> None:
    with Storage(torrent, folder, backend=MemoryBackend(torrent, folder)) as storage:
        storage.delete()
        assert storage.backend.size(0) == 0


@pytest.mark.parametrize(
    ("path", "name", "error"),
    [
        ("torrent/x", "y", LookupError),
        ("torren", "y", LookupError),
        ("torrent/a", "b", ValueError),
        ("torrent/a", "b/c", ValueError),
        ("torrent/a", "..", ValueError),
        ("torrent/a", "", ValueError),
        ("torrent", ".geventbt", ValueError),
        ("torrent/a", "x\n", ValueError),
    ],
)
def test_a_name_that_cannot_be_is_refused(torrent: Torrent, path: str, name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        renamed(torrent, path, name)


def test_another_name_changes_neither_the_torrent_nor_how_web_seeds_know_it(torrent: Torrent) -> None:
    other = renamed(torrent, "torrent/a", "first")
    assert other.info_hash == torrent.info_hash
    assert other.files[A].path == ("torrent", "first")
    assert other.files[A].raw_parts == (b"torrent", b"a")
    assert Torrent.from_bytes(other.to_bytes()).files[A].path == ("torrent", "a")
