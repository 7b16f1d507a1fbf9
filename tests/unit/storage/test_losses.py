"""Files that are moved, deleted or cut while several threads use them: nothing that is lost stays trusted."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.storage import Storage
from geventbt.storage.disk.losses import Losses
from geventbt.storage.disk.open_files import OpenFiles
from tests.unit.storage_helpers import PIECE, D

OF_D = range(4, 8)
"""The pieces that have bytes of the last file."""


@pytest.fixture
def storage(torrent: Torrent, folder: Path, pieces: list[bytes]) -> Iterator[Storage]:
    """A download that has every piece."""
    with Storage(torrent, folder) as storage:
        storage.check(pieces=storage.restore())
        storage.prepare()
        for piece, data in enumerate(pieces):
            assert storage.write_piece(piece, data)
        storage.checkpoint()
        yield storage


class Guard:
    """Allows everything, and notes what was lost."""

    def __init__(self) -> None:
        self.lost: list[int] = []

    def check(self, index: int, path: str, status: os.stat_result) -> None: ...

    def take(self, index: int, path: str, status: os.stat_result) -> None: ...

    def record_taken(self) -> None: ...

    def on_lost(self, index: int) -> None:
        self.lost.append(index)


def test_losses_are_known_by_the_number_before_them() -> None:
    losses = Losses()
    losses.note([1, 2])
    before = losses.count
    assert losses.since(before) == set()
    losses.note([2, 3])
    losses.note([4])
    assert losses.since(before) == {2, 3, 4}
    assert losses.since(0) == {1, 2, 3, 4}


def test_a_check_reads_what_is_in_its_place_and_not_what_was_moved_away(storage: Storage, folder: Path) -> None:
    storage.read(6, 0, PIECE)
    path = folder / "torrent" / "d"
    path.rename(folder / "elsewhere")
    path.write_bytes(bytes(3000))
    assert set(storage.check().search(1)) == set(range(4))


def test_a_loss_that_two_threads_notice_is_one(torrent: Torrent, tmp_path: Path) -> None:
    """The second must not take the file for lost that has been made since."""
    guard = Guard()
    files = OpenFiles(torrent.files, tmp_path, guard)
    data = memoryview(b"data")

    def write_to_two() -> None:
        with files.use(D, writable=True) as old:
            old.write(0, data)
            os.unlink(files.path(D))
            with pytest.raises(StorageError, match="deleted or replaced"):
                files.check_there(D)
            assert guard.lost == [D]
            with files.use(D, writable=True) as new:
                new.write(0, data)
            old.write(0, data)

    with pytest.raises(StorageError, match="deleted or replaced"):
        write_to_two()
    assert guard.lost == [D]
    files.check_there(D)
    files.close()


def test_a_file_that_is_moved_while_it_is_opened_is_not_written_to_after_its_loss(
    torrent: Torrent, folder: Path, pieces: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real_open = folder / "torrent" / "d", os.open
    checkpoints: list[threading.Thread] = []

    def open_slowly(target: Any, flags: int, *arguments: Any) -> int:
        descriptor = real_open(target, flags, *arguments)
        if not checkpoints and str(target) == str(path) and flags & os.O_RDWR:
            path.rename(folder / "elsewhere")
            checkpoints.append(threading.Thread(target=lose, daemon=True))
            checkpoints[0].start()
            # It ends now only if it does not wait for us.
            checkpoints[0].join(0.1)
        return descriptor

    def lose() -> None:
        with pytest.raises(StorageError, match="deleted or replaced"):
            storage.finish()

    with Storage(torrent, folder, max_open_files=1) as storage:
        storage.check(pieces=storage.restore())
        storage.prepare()
        storage.write_piece(6, pieces[6])
        storage.write_piece(0, pieces[0])
        monkeypatch.setattr(os, "open", open_slowly)
        with suppress(StorageError):
            storage.write_piece(7, pieces[7])
        checkpoints[0].join()
        monkeypatch.undo()
        storage.prepare()
        for piece in OF_D:
            storage.write_piece(piece, pieces[piece])
        storage.finish()
        assert path.stat().st_size == 3000
        assert path.read_bytes().endswith(pieces[7])


def test_a_file_that_was_cut_is_distrusted_by_the_checkpoint_that_notices_it(
    torrent: Torrent, folder: Path, pieces: list[bytes]
) -> None:
    with Storage(torrent, folder, max_open_files=1) as storage:
        storage.check(pieces=storage.restore())
        storage.prepare()
        storage.write_piece(6, pieces[6])
        storage.write_piece(0, pieces[0])
        os.truncate(folder / "torrent" / "d", 100)
        with pytest.raises(StorageError, match="cut short"):
            storage.checkpoint()
        assert set(storage.have.search(1)) == {0}


def test_a_file_that_is_cut_while_it_is_written_to_is_not_trusted(
    torrent: Torrent, folder: Path, pieces: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write = os.pwrite

    def write(descriptor: int, data: memoryview, offset: int) -> int:
        os.truncate(folder / "torrent" / "d", 100)
        return real_write(descriptor, data, offset)

    with Storage(torrent, folder) as storage:
        storage.check(pieces=storage.restore())
        storage.prepare()
        storage.write_piece(5, pieces[5])
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", write)
            storage.write_piece(6, pieces[6])
        with pytest.raises(StorageError, match="cut short"):
            storage.write_piece(7, pieces[7])
        assert not storage.have.any()


def test_files_that_are_open_where_they_were_moved_to_are_made_anew(storage: Storage, folder: Path) -> None:
    for piece in range(8):
        storage.read(piece, 0, 1)
    folder.rename(folder.parent / "elsewhere")
    with pytest.raises(StorageError, match="deleted or replaced"):
        storage.prepare()
    assert not storage.have.any()
    storage.prepare()
    assert [storage.path(index).stat().st_size for index in range(4)] == [1500, 700, 2000, 3000]


def test_what_is_lost_while_it_is_hashed_is_not_trusted(storage: Storage, folder: Path) -> None:
    path = folder / "torrent" / "d"

    def lose(done: int, total: int) -> None:
        if done == total - 1:
            path.unlink()
            with pytest.raises(StorageError, match="deleted or replaced"):
                storage.finish()

    assert set(storage.check(lose, threads=1).search(1)) == set(range(4))
