"""What survives from one run to the next: all that is true, and nothing else."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from geventbt import bencoding
from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.metainfo.create import create_torrent
from geventbt.metainfo.paths import is_state_dir
from geventbt.storage import Storage
from geventbt.storage.disk import resume
from geventbt.storage.disk.record import Fingerprint
from tests.unit.storage_helpers import PIECE, A, B, C, D

needs_links = pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="links cannot be told from files here")


def resume_file(storage: Storage) -> Path:
    return storage.folder / ".geventbt" / f"{storage.torrent.info_hash.hex()}.resume"


def touch(path: Path, data: bytes, offset: int = 0) -> None:
    """Change a file as another program would, so that it can be seen."""
    before = path.stat().st_mtime_ns
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)
    os.utime(path, ns=(before + 10**9, before + 10**9))


@pytest.fixture
def half(torrent: Torrent, folder: Path, pieces: list[bytes]) -> Path:
    """A folder with the pieces 0, 1, 2 and 5 of a download, recorded."""
    with Storage(torrent, folder) as storage:
        assert not storage.restore().any()
        storage.check(pieces=storage.restore())
        storage.prepare()
        for piece in (0, 1, 2, 5):
            storage.write_piece(piece, pieces[piece])
        storage.checkpoint()
    return folder


def test_a_restart_trusts_what_was_recorded_and_hashes_nothing(torrent: Torrent, half: Path):
    with Storage(torrent, half) as storage:
        assert not storage.restore().any()
        assert storage.have.to01() == "11100100"


def test_pieces_of_a_file_that_looks_different_are_hashed_and_no_others(torrent: Torrent, half: Path):
    touch(half / "torrent" / "d", b"x" * 10, 2500)
    with Storage(torrent, half) as storage:
        suspect = storage.restore()
        assert storage.have.to01() == "11100000"
        assert suspect.to01() == "00001111"
        assert storage.check(pieces=suspect).to01() == "11100100"


def test_a_bad_byte_of_another_program_is_found(torrent: Torrent, half: Path):
    touch(half / "torrent" / "a", b"x")
    with Storage(torrent, half) as storage:
        assert storage.check(pieces=storage.restore()).to01() == "01100100"


def test_what_was_written_after_the_checkpoint_is_found_again(torrent: Torrent, half: Path, pieces: list[bytes]):
    with Storage(torrent, half) as storage:
        storage.restore()
        storage.write_piece(6, pieces[6])
    with Storage(torrent, half) as storage:
        suspect = storage.restore()
        assert storage.check(pieces=suspect).to01() == "11100110"


@pytest.mark.parametrize("granularity", [1, 10**6, 2 * 10**9])
def test_a_write_in_the_same_tick_of_the_clock_as_the_checkpoint_is_seen(
    torrent: Torrent, folder: Path, pieces: list[bytes], monkeypatch: pytest.MonkeyPatch, granularity: int
):
    """The file system's clock stands still: times change only when they are set, and are rounded."""
    pwrite, utime = os.pwrite, os.utime

    def write(descriptor: int, data: memoryview, offset: int) -> int:
        before = os.fstat(descriptor).st_mtime_ns
        written = pwrite(descriptor, data, offset)
        set_time(descriptor, ns=(before, before))
        return written

    def set_time(descriptor: int, *, ns: tuple[int, int]) -> None:
        utime(descriptor, ns=(ns[0], ns[1] // granularity * granularity))

    monkeypatch.setattr(os, "pwrite", write)
    monkeypatch.setattr(os, "utime", set_time)
    monkeypatch.setattr(os, "supports_fd", {*os.supports_fd, set_time})
    with Storage(torrent, folder) as storage:
        storage.restore()
        storage.prepare()
        storage.write_piece(5, pieces[5])
        storage.checkpoint()
        storage.write_piece(6, pieces[6])
    with Storage(torrent, folder) as storage:
        suspect = storage.restore()
        assert storage.check(pieces=suspect).to01() == "00000110"


def test_without_a_record_all_that_is_there_is_hashed(torrent: Torrent, half: Path):
    storage = Storage(torrent, half)
    resume_file(storage).unlink()
    assert storage.restore().all()
    assert not storage.have.any()
    storage.close()


def test_files_that_are_not_there_need_no_hashing(torrent: Torrent, half: Path):
    (half / "torrent" / "b").unlink()
    with Storage(torrent, half) as storage:
        assert not storage.restore().any()
        assert storage.have.to01() == "10000100"


def test_nothing_at_all_is_there_at_the_first_start(torrent: Torrent, folder: Path):
    with Storage(torrent, folder) as storage:
        assert not storage.restore().any()
        assert not storage.have.any()


def test_a_checkpoint_of_nothing_new_writes_nothing(torrent: Torrent, half: Path, pieces: list[bytes]):
    with Storage(torrent, half) as storage:
        storage.restore()
        before = resume_file(storage).stat()
        storage.checkpoint()
        storage.checkpoint()
        assert resume_file(storage).stat() == before
        storage.write_piece(3, pieces[3])
        storage.checkpoint()
        assert resume_file(storage).stat().st_ino != before.st_ino


def test_written_files_are_synced_before_they_are_recorded(
    torrent: Torrent, folder: Path, pieces: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    order: list[str] = []
    fdatasync, replace = os.fdatasync, os.replace
    monkeypatch.setattr(os, "fdatasync", lambda fd: order.append("data") or fdatasync(fd))
    monkeypatch.setattr(os, "fsync", lambda fd: order.append("record"))
    monkeypatch.setattr(os, "replace", lambda *paths: order.append("replace") or replace(*paths))
    with Storage(torrent, folder) as storage:
        storage.write_piece(1, pieces[1])
        storage.checkpoint()
        assert order == ["data", "data", "record", "replace", "record"]
        storage.checkpoint()
        assert len(order) == 5


def test_what_cannot_be_synced_is_not_recorded(
    torrent: Torrent, folder: Path, pieces: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with Storage(torrent, folder) as storage:
        storage.write_piece(0, pieces[0])
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", broken)
            with pytest.raises(StorageError) as caught:
                storage.checkpoint()
        assert caught.value.errno == errno.EIO
        assert caught.value.filename == str(folder / "torrent" / "a")
    with Storage(torrent, folder) as storage:
        assert storage.restore()[0]
        assert not storage.have.any()


def test_a_change_between_checkpoint_and_our_own_write_is_not_covered_up(
    torrent: Torrent, half: Path, pieces: list[bytes]
):
    with Storage(torrent, half) as storage:
        storage.restore()
        touch(half / "torrent" / "d", b"x" * 10, 1200)
        with pytest.raises(StorageError, match="changed by another program"):
            storage.write_piece(7, pieces[7])
        assert storage.have.to01() == "11100000"
        storage.write_piece(7, pieces[7])
        storage.checkpoint()
        storage.write_piece(6, pieces[6])
        storage.checkpoint()
    with Storage(torrent, half) as storage:
        suspect = storage.restore()
        assert suspect.to01() == "00001111"
        assert storage.check(pieces=suspect).to01() == "11100011"


def test_a_file_that_others_changed_is_recorded_again_once_it_was_hashed(torrent: Torrent, half: Path):
    touch(half / "torrent" / "d", b"x" * 10, 2500)
    with Storage(torrent, half) as storage:
        storage.check(pieces=storage.restore())
        storage.checkpoint()
    with Storage(torrent, half) as storage:
        assert not storage.restore().any()


def test_a_file_that_changes_while_it_is_hashed_is_hashed_again(torrent: Torrent, seeded: Path):
    with Storage(torrent, seeded) as storage:
        suspect = storage.restore()
        storage.check(lambda done, count: touch(seeded / "torrent" / "a", b"x"), pieces=suspect)
        storage.checkpoint()
    with Storage(torrent, seeded) as storage:
        assert storage.restore()[0]
        assert not storage.have[0]


def test_what_was_never_hashed_is_suspect_at_the_next_start_too(torrent: Torrent, half: Path, pieces: list[bytes]):
    touch(half / "torrent" / "d", b"x" * 10, 2500)
    with Storage(torrent, half) as storage:
        storage.restore()
        storage.write_piece(6, pieces[6])
        storage.checkpoint()
    with Storage(torrent, half) as storage:
        suspect = storage.restore()
        assert suspect.to01() == "00001111"
        assert storage.check(pieces=suspect).to01() == "11100110"


def test_a_check_that_was_ended_early_vouches_for_nothing(torrent: Torrent, seeded: Path):
    def stop(done: int, count: int) -> None:
        raise KeyboardInterrupt

    with Storage(torrent, seeded) as storage:
        suspect = storage.restore()
        with pytest.raises(KeyboardInterrupt):
            storage.check(stop, pieces=suspect, threads=1)
        storage.checkpoint()
    with Storage(torrent, seeded) as storage:
        assert storage.restore().all()


def test_seeding_records_too(torrent: Torrent, seeded: Path):
    with Storage(torrent, seeded) as storage:
        storage.check(pieces=storage.restore())
        assert storage.complete
        storage.checkpoint()
    with Storage(torrent, seeded) as storage:
        assert not storage.restore().any()
        assert storage.complete


def test_pieces_in_the_parts_file_survive(torrent: Torrent, folder: Path, pieces: list[bytes]):
    with Storage(torrent, folder, selected=[B]) as storage:
        storage.restore()
        for piece in (1, 2):
            storage.write_piece(piece, pieces[piece])
        storage.checkpoint()
    with Storage(torrent, folder, selected=[B]) as storage:
        assert not storage.restore().any()
        assert storage.have.to01() == "01100000"
        assert storage.read(1, 0, PIECE) == pieces[1]
    with Storage(torrent, folder) as storage:
        assert not storage.restore().any()
        storage.prepare()
        assert storage.check().to01() == "01100000"


def test_a_file_that_was_deleted_is_not_looked_for_in_the_parts_file(
    torrent: Torrent, folder: Path, pieces: list[bytes]
):
    with Storage(torrent, folder, selected=[B, D]) as storage:
        storage.restore()
        for piece in (1, 2, 4, 5):
            storage.write_piece(piece, pieces[piece])
        storage.checkpoint()
    (folder / "torrent" / "b").unlink()
    with Storage(torrent, folder, selected=[D]) as storage:
        suspect = storage.restore()
        assert storage.have.to01() == "00001100"
        assert storage.check(pieces=suspect).to01() == "00001100"


def test_a_move_that_was_not_recorded_loses_nothing(torrent: Torrent, folder: Path, pieces: list[bytes]):
    with Storage(torrent, folder, selected=[B]) as storage:
        storage.restore()
        for piece in (1, 2):
            storage.write_piece(piece, pieces[piece])
        storage.checkpoint()
        storage.select([A, B, C, D])
    with Storage(torrent, folder) as storage:
        assert storage.check(pieces=storage.restore()).to01() == "01100000"


def test_check_of_some_pieces_leaves_the_others_as_they_are(torrent: Torrent, seeded: Path):
    storage = Storage(torrent, seeded)
    storage.check()
    told: list[tuple[int, int]] = []
    some = ~storage.have
    some[2:4] = True
    touch(seeded / "torrent" / "c", bytes(2000))
    assert storage.check(lambda *count: told.append(count), pieces=some).to01() == "11001111"
    assert told == [(1, 2), (2, 2)]
    with pytest.raises(ValueError, match="7 bits for 8 pieces"):
        storage.check(pieces=some[:7])


# ------------------------------------------------------------------ resume files that are none


def rewrite(data: bytes, **changes: Any) -> bytes:
    """A resume file with other contents and a digest that fits."""
    content = bencoding.decode(data)
    content.pop(b"digest")
    content |= {key.encode(): value for key, value in changes.items()}
    return bencoding.encode({**content, b"digest": sha256(bencoding.encode(content)).digest()})


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": b"1"},
        {"info_hash": bytes(20)},
        {"bitfield": b""},
        {"bitfield": b"\xff\xff"},
        {"bitfield": 7},
        {"files": 5},
        {"files": [[0, 1]]},
        {"files": [b"abc"]},
        {"files": [[0, 1, []]]},
        {"in_parts": [[]]},
        {"parts": [1]},
        {"parts": [1, 2, 3]},
    ],
)
def test_a_record_that_is_newer_foreign_or_of_another_shape_is_as_none(
    torrent: Torrent, half: Path, changes: dict[str, Any]
):
    storage = Storage(torrent, half)
    path = resume_file(storage)
    path.write_bytes(rewrite(path.read_bytes(), **changes))
    assert storage.restore().all()
    assert not storage.have.any()
    storage.close()


def test_a_record_with_any_byte_changed_is_as_none(torrent: Torrent, half: Path):
    path = resume_file(Storage(torrent, half))
    data = path.read_bytes()
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1
        assert not resume.decode(torrent, bytes(damaged)).have.any(), at
    for length in range(len(data)):
        assert not resume.decode(torrent, data[:length]).have.any()


def test_a_record_that_is_too_large_is_not_even_read(torrent: Torrent, half: Path):
    storage = Storage(torrent, half)
    path = resume_file(storage)
    path.write_bytes(path.read_bytes() + bytes(resume.largest(torrent)))
    assert storage.restore().all()
    storage.close()


def test_every_record_of_a_torrent_is_small_enough(torrent: Torrent):
    fingerprints = {index: Fingerprint(2**63 - 1, -(2**63)) for index in range(len(torrent.files))}
    everything = resume.Resume(
        ~resume.decode(torrent, None).have, fingerprints, set(fingerprints), Fingerprint(2**63 - 1, 2**63 - 1)
    )
    data = resume.encode(torrent, everything)
    assert len(data) <= resume.largest(torrent)
    assert resume.decode(torrent, data) == everything


@needs_links
def test_links_in_place_of_our_files_are_not_followed(torrent: Torrent, half: Path, tmp_path: Path):
    storage = Storage(torrent, half)
    path = resume_file(storage)
    kept = path.rename(tmp_path / "kept")
    before = kept.read_bytes()
    path.symlink_to(kept)
    assert storage.restore().all()
    storage.check()
    storage.checkpoint()
    assert not path.is_symlink()
    assert kept.read_bytes() == before
    storage.close()


@needs_links
def test_a_link_in_place_of_our_folder_is_refused(torrent: Torrent, folder: Path, tmp_path: Path, pieces: list[bytes]):
    outside = tmp_path / "outside"
    outside.mkdir()
    folder.mkdir()
    (folder / ".geventbt").symlink_to(outside)
    storage = Storage(torrent, folder, selected=[B])
    for call in (storage.lock, storage.restore, storage.checkpoint, lambda: storage.write_piece(1, pieces[1])):
        with pytest.raises(StorageError, match="symbolic link"):
            call()
    assert not any(outside.iterdir())


@pytest.mark.parametrize("name", [".geventbt", ".GeventBT", ".geventbt.", ".ge\u200cventbt", "GEVENT~1"])
def test_a_torrent_cannot_plant_our_own_files(seeded: Path, tmp_path: Path, name: str):
    assert is_state_dir(name)
    single = {"name": name, "piece length": PIECE, "pieces": bytes(20), "length": 5}
    several = {"name": name, "piece length": PIECE, "pieces": bytes(20), "files": [{"length": 5, "path": ["x"]}]}
    for info in (single, several):
        torrent = Torrent.from_info(bencoding.encode(info))
        if is_state_dir(torrent.name):
            with pytest.raises(StorageError, match="keeps its own files"):
                Storage(torrent, tmp_path)


@pytest.mark.parametrize("name", ["geventbt", ".geventbt2", "a.geventbt", "gevent"])
def test_other_names_are_free(name: str):
    assert not is_state_dir(name)


def test_a_torrent_of_a_download_folder_leaves_our_own_files_out(half: Path):
    assert (half / ".geventbt").is_dir()
    assert {file.path[1] for file in create_torrent(half).files} == {"torrent"}


# ------------------------------------------------------------------ the lock


def test_two_storages_cannot_have_the_same_torrent(torrent: Torrent, half: Path):
    with Storage(torrent, half) as first:
        first.lock()
        first.lock()
        second = Storage(torrent, half)
        for call in (second.lock, second.restore, second.checkpoint):
            with pytest.raises(StorageError, match="this program is using this torrent here already") as caught:
                call()
            assert caught.value.errno == errno.EBUSY
    second.restore()
    second.close()


def test_another_torrent_in_the_same_folder_is_no_matter(torrent: Torrent, seeded: Path):
    other = create_torrent(seeded / "torrent" / "a")
    with Storage(torrent, seeded) as first, Storage(other, seeded) as second:
        first.lock()
        second.lock()


def test_a_closed_storage_takes_no_lock(torrent: Torrent, half: Path):
    storage = Storage(torrent, half)
    storage.close()
    with pytest.raises(StorageError, match="closed"):
        storage.checkpoint()


def test_the_lock_dies_with_its_process(torrent: Torrent, half: Path, tmp_path: Path):
    (tmp_path / "x.torrent").write_bytes(torrent.to_bytes())
    code = (
        "import sys; from geventbt import Storage, Torrent\n"
        "s = Storage(Torrent.from_file(sys.argv[1]), sys.argv[2]); s.lock()\n"
        "print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x.torrent"), str(half)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        storage = Storage(torrent, half)
        with pytest.raises(StorageError, match="another program"):
            storage.lock()
        process.kill()
        process.wait(20)
        storage.lock()
        storage.close()


def test_a_folder_that_cannot_be_written_is_a_clear_error(torrent: Torrent, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError) as caught:
        Storage(torrent, tmp_path / "file").restore()
    assert caught.value.filename


# ------------------------------------------------------------------ files that vanish while they are in use


def test_writing_to_a_deleted_file_is_told_once_and_then_makes_a_new_one(
    torrent: Torrent, half: Path, pieces: list[bytes]
):
    with Storage(torrent, half) as storage:
        storage.restore()
        storage.write_piece(6, pieces[6])
        (half / "torrent" / "d").unlink()
        with pytest.raises(StorageError, match="deleted or replaced") as caught:
            storage.write_piece(7, pieces[7])
        assert caught.value.errno == errno.ENOENT
        assert caught.value.filename == str(half / "torrent" / "d")
        assert storage.have.to01() == "11100000"
        assert storage.read(0, 0, PIECE) == pieces[0]
        assert storage.write_piece(7, pieces[7])
        assert storage.check().to01() == "11100001"


def test_it_is_told_even_if_the_file_was_not_open(torrent: Torrent, half: Path, pieces: list[bytes]):
    with Storage(torrent, half) as storage:
        storage.restore()
        (half / "torrent" / "d").unlink()
        with pytest.raises(StorageError, match="deleted or replaced"):
            storage.write_piece(7, pieces[7])
        assert storage.have.to01() == "11100000"


@pytest.mark.parametrize("was_open", [True, False])
def test_a_file_that_was_cut_short_is_not_written_to_before_a_piece_of_it_is_found(
    torrent: Torrent, half: Path, pieces: list[bytes], was_open: bool
):
    with Storage(torrent, half) as storage:
        storage.restore()
        if was_open:
            storage.write_piece(6, pieces[6])
        os.truncate(half / "torrent" / "d", 2500)
        with pytest.raises(StorageError, match="cut short") as caught:
            storage.write_piece(7, pieces[7])
        assert caught.value.filename == str(half / "torrent" / "d")
        assert storage.have.to01() == "11100000"
        with pytest.raises(StorageError, match="not the torrent's"):
            storage.write_piece(7, pieces[7])
        storage.check()
        assert storage.have[5]
        assert storage.write_piece(7, pieces[7])


def test_reading_a_deleted_file_is_an_error_and_the_others_can_be_read(
    torrent: Torrent, seeded: Path, pieces: list[bytes]
):
    storage = Storage(torrent, seeded)
    storage.check()
    storage.read(6, 0, PIECE)
    (seeded / "torrent" / "d").unlink()
    with pytest.raises(StorageError, match="deleted or replaced"):
        storage.read(6, 0, PIECE)
    assert storage.have.to01() == "11110000"
    assert storage.read(3, 0, PIECE) == pieces[3]


def test_a_file_in_place_of_another_is_not_trusted(torrent: Torrent, seeded: Path):
    storage = Storage(torrent, seeded)
    storage.check()
    storage.read(6, 0, PIECE)
    (seeded / "new").write_bytes(bytes(3000))
    (seeded / "new").rename(seeded / "torrent" / "d")
    with pytest.raises(StorageError, match="deleted or replaced"):
        storage.read(6, 0, PIECE)
    assert storage.have.to01() == "11110000"
    assert storage.check().to01() == "11110000"


def test_a_file_that_shrank_is_hashed_and_loses_only_its_end(torrent: Torrent, seeded: Path, pieces: list[bytes]):
    storage = Storage(torrent, seeded)
    storage.check()
    os.truncate(seeded / "torrent" / "d", 1000)
    with pytest.raises(StorageError, match="changed by another program"):
        storage.read(7, 0, 32)
    assert storage.have.to01() == "11110000"
    assert storage.check().to01() == "11111000"
    assert storage.read(4, 0, PIECE) == pieces[4]


@pytest.mark.parametrize("how", ["deleted", "moved", "replaced"])
def test_a_checkpoint_sees_that_what_was_written_has_gone(torrent: Torrent, half: Path, pieces: list[bytes], how: str):
    with Storage(torrent, half) as storage:
        storage.restore()
        storage.write_piece(6, pieces[6])
        path = half / "torrent" / "d"
        if how == "deleted":
            path.unlink()
        else:
            path.rename(half / "elsewhere")
        if how == "replaced":
            path.write_bytes(bytes(3000))
        with pytest.raises(StorageError, match="deleted or replaced"):
            storage.checkpoint()
        assert storage.have.to01() == "11100000"
        storage.checkpoint()
    with Storage(torrent, half) as storage:
        assert storage.check(pieces=storage.restore()).to01() == "11100000"


def test_a_full_disk_leaves_the_old_record(
    torrent: Torrent, half: Path, pieces: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Storage(torrent, half) as storage:
        storage.restore()
        before = resume_file(storage).read_bytes()
        storage.write_piece(6, pieces[6])
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(StorageError) as caught:
                storage.checkpoint()
        assert caught.value.errno == errno.ENOSPC
        assert resume_file(storage).read_bytes() == before
        assert not list((half / ".geventbt").glob("*.new"))
        storage.checkpoint()
    with Storage(torrent, half) as storage:
        assert not storage.restore().any()
        assert storage.have[6]


def test_no_space_leaves_the_rest_usable(
    torrent: Torrent, half: Path, pieces: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Storage(torrent, half) as storage:
        storage.restore()
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            with pytest.raises(StorageError) as caught:
                storage.write_piece(6, pieces[6])
            assert caught.value.filename == str(half / "torrent" / "d")
            assert storage.read(0, 0, PIECE) == pieces[0]
        assert storage.write_piece(6, pieces[6])
        storage.checkpoint()
    with Storage(torrent, half) as storage:
        assert not storage.restore().any()
        assert storage.have.to01() == "11100110"


def test_checkpoints_of_several_threads_while_others_write_record_only_what_is_true(
    torrent: Torrent, folder: Path, pieces: list[bytes]
):
    with Storage(torrent, folder) as storage:
        storage.restore()
        done = threading.Event()
        failed: list[BaseException] = []

        def record() -> None:
            try:
                while not done.is_set():
                    storage.checkpoint()
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=record) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            for piece, data in enumerate(pieces):
                storage.write_piece(piece, data)
        done.set()
        for thread in threads:
            thread.join(20)
        assert not failed
        storage.checkpoint()
    with Storage(torrent, folder) as storage:
        assert not storage.restore().any()
        assert storage.complete
