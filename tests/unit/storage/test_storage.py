"""Pieces on disk: nothing unverified gets in or out, and nothing leaves the folder."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from geventbt.bencoding import encode
from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.metainfo.create import create_torrent
from geventbt.storage import Layout, Storage, locate
from geventbt.storage.disk.open_files import OpenFiles
from geventbt.storage.disk.ownership import Ownership
from geventbt.storage.disk.resume_file import ResumeFile
from geventbt.storage.disk.state_dir import StateDir
from tests.unit.storage_helpers import RecordingBackend

PIECE = 1024
LENGTHS = {"a": 1500, "b/c": 10, "b/empty": 0, "d": 3000}

needs_links = pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="links cannot be told from files here")


@pytest.fixture
def seeded(tmp_path: Path) -> Path:
    """A folder that holds the folder "torrent", with good data."""
    source = random.Random(1)
    for name, length in LENGTHS.items():
        path = tmp_path / "seeded" / "torrent" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.randbytes(length))
    return tmp_path / "seeded"


@pytest.fixture
def torrent(seeded: Path) -> Torrent:
    return create_torrent(seeded / "torrent", piece_length=PIECE)


@pytest.fixture
def stream(seeded: Path, torrent: Torrent) -> bytes:
    """All data of the torrent, end to end."""
    return b"".join(seeded.joinpath(*file.path).read_bytes() for file in torrent.files)


@pytest.fixture
def storage(torrent: Torrent, tmp_path: Path) -> Storage:
    """An empty storage, in a folder that does not exist yet."""
    return Storage(torrent, tmp_path / "new" / "folder")


def pieces_of(stream: bytes) -> list[bytes]:
    return [stream[at : at + PIECE] for at in range(0, len(stream), PIECE)]


def padded(first: bytes, padding: bytes, hashed: bytes, last: bytes = b"") -> tuple[Torrent, bytes]:
    """A torrent of a file, padding and a file, whose hashes are of `hashed` where the padding is; and its stream."""
    import hashlib

    stream = first + hashed + last
    files = [
        {"length": len(first), "path": ["first"]},
        {"length": len(padding), "path": [".pad", "1"], "attr": "p"},
        {"length": len(last), "path": ["last"]},
    ]
    hashes = b"".join(hashlib.sha1(piece).digest() for piece in pieces_of(stream))
    info = {"name": "padded", "piece length": PIECE, "pieces": hashes, "files": files}
    return Torrent.from_info(encode(info)), stream


def test_nothing_is_made_before_it_is_needed(storage: Storage):
    assert not storage.have.any()
    storage.check()
    assert not storage.folder.exists()


def test_a_whole_torrent_is_written_and_read_back(storage: Storage, stream: bytes, seeded: Path):
    for piece, data in enumerate(pieces_of(stream)):
        assert storage.write_piece(piece, data)
    assert storage.complete
    assert storage.verified_bytes == len(stream)
    assert b"".join(storage.read(i, 0, len(data)) for i, data in enumerate(pieces_of(stream))) == stream
    for file in storage.torrent.files:
        if file.length:
            assert storage.folder.joinpath(*file.path).read_bytes() == seeded.joinpath(*file.path).read_bytes()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_written(storage: Storage, stream: bytes, kind: Any):
    assert storage.write_piece(1, kind(pieces_of(stream)[1]))
    assert storage.read(1, 0, PIECE) == pieces_of(stream)[1]


def test_a_wrong_piece_is_not_written(storage: Storage, stream: bytes):
    good = pieces_of(stream)[0]
    for wrong in (bytes(PIECE), good[:-1], good + b"\0", b"", pieces_of(stream)[1]):
        assert not storage.write_piece(0, wrong)
    assert not storage.have.any()
    assert not storage.folder.exists()


def test_a_wrong_piece_does_not_harm_a_good_one(storage: Storage, stream: bytes):
    storage.write_piece(0, pieces_of(stream)[0])
    assert not storage.write_piece(0, bytes(PIECE))
    assert storage.read(0, 0, PIECE) == pieces_of(stream)[0]


def test_only_verified_pieces_are_read(storage: Storage, stream: bytes):
    storage.write_piece(0, pieces_of(stream)[0])
    with pytest.raises(StorageError, match="piece 1 is not verified"):
        storage.read(1, 0, 16)


@pytest.mark.parametrize("piece", [-1, 5, 1 << 40])
def test_a_piece_that_is_not_there_is_an_index_error(storage: Storage, piece: int):
    for call in (lambda: storage.write_piece(piece, b""), lambda: storage.verify_piece(piece)):
        with pytest.raises(IndexError):
            call()


@pytest.mark.parametrize("where", [(0, 0, 0), (0, 0, PIECE + 1), (0, -1, 5), (4, PIECE - 1, 1), (5, 0, 1), (-1, 0, 1)])
def test_a_range_outside_of_a_piece_is_refused(storage: Storage, where: tuple[int, int, int]):
    with pytest.raises(ValueError, match="not a range of a piece"):
        storage.read(*where)


def test_ranges_are_read_over_the_ends_of_files(storage: Storage, stream: bytes):
    for piece, data in enumerate(pieces_of(stream)):
        storage.write_piece(piece, data)
    assert storage.read(1, 400, 200) == stream[PIECE + 400 : PIECE + 600]


def test_prepare_makes_every_file_sparse_and_of_its_length(storage: Storage):
    storage.prepare()
    for name, length in LENGTHS.items():
        assert (storage.folder / "torrent" / name).stat().st_size == length
    assert not storage.have.any()


def test_prepare_keeps_data_and_cuts_what_is_too_long(torrent: Torrent, seeded: Path):
    with open(seeded / "torrent" / "a", "ab") as file:
        file.write(b"more")
    with open(seeded / "torrent" / "d", "r+b") as file:
        file.truncate(2000)
    storage = Storage(torrent, seeded)
    storage.check()
    storage.prepare()
    assert (seeded / "torrent" / "a").stat().st_size == 1500
    assert (seeded / "torrent" / "d").stat().st_size == 3000
    assert storage.check()[0]


def test_the_first_write_sizes_its_file(storage: Storage, stream: bytes):
    storage.write_piece(4, pieces_of(stream)[4])
    assert (storage.folder / "torrent" / "d").stat().st_size == 3000
    assert not (storage.folder / "torrent" / "a").exists()


def test_check_finds_all_that_is_good(torrent: Torrent, seeded: Path):
    storage = Storage(torrent, seeded)
    found = storage.check()
    assert found.all()
    assert found is not storage.have
    assert storage.complete


def test_check_finds_each_bad_byte(torrent: Torrent, seeded: Path):
    path = seeded / "torrent" / "d"
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    assert Storage(torrent, seeded).check().to01() == "11011"


def test_check_takes_back_what_is_gone(torrent: Torrent, seeded: Path):
    storage = Storage(torrent, seeded)
    storage.check()
    (seeded / "torrent" / "a").unlink()
    assert storage.check().to01() == "00111"
    assert not storage.complete


def test_missing_and_short_files_make_bad_pieces_and_are_not_hashed(torrent: Torrent, seeded: Path):
    (seeded / "torrent" / "b" / "c").unlink()
    with open(seeded / "torrent" / "d", "r+b") as file:
        file.truncate(2000)
    backend = RecordingBackend(torrent, seeded)
    assert Storage(torrent, seeded, backend=backend).check().to01() == "10100"
    assert sorted(backend.reads) == [(0, 0), (3, 2 * PIECE - 1510)]


def test_verify_piece_sees_missing_and_short_files_itself(torrent: Torrent, seeded: Path):
    storage = Storage(torrent, seeded)
    (seeded / "torrent" / "a").unlink()
    os.truncate(seeded / "torrent" / "d", 100)
    assert [storage.verify_piece(piece) for piece in range(5)] == [False] * 5


def test_check_tells_of_its_progress_and_ends_with_what_it_raises(torrent: Torrent, seeded: Path):
    told: list[tuple[int, int]] = []
    Storage(torrent, seeded).check(lambda done, pieces: told.append((done, pieces)))
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]

    def stop(done: int, pieces: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Storage(torrent, seeded).check(stop)


def test_reading_a_file_that_was_cut_short_is_an_error(torrent: Torrent, seeded: Path):
    storage = Storage(torrent, seeded)
    storage.check()
    os.truncate(seeded / "torrent" / "d", 100)
    with pytest.raises(StorageError, match="changed by another program") as caught:
        storage.read(4, 0, 100)
    assert caught.value.filename == str(seeded / "torrent" / "d")


def test_seeding_needs_no_right_to_write(torrent: Torrent, seeded: Path):
    for name in LENGTHS:
        (seeded / "torrent" / name).chmod(0o444)
    before = {name: (seeded / "torrent" / name).stat().st_mtime_ns for name in LENGTHS}
    storage = Storage(torrent, seeded)
    assert storage.check().all()
    storage.read(0, 0, 16)
    assert {name: (seeded / "torrent" / name).stat().st_mtime_ns for name in LENGTHS} == before


# ------------------------------------------------------------------ padding and links of BEP 47


def test_padding_is_never_written_and_reads_as_zeros(tmp_path: Path):
    torrent, stream = padded(b"f" * 1000, bytes(24), bytes(24), b"l" * 10)
    storage = Storage(torrent, tmp_path)
    storage.prepare()
    assert storage.write_piece(0, stream[:PIECE])
    assert storage.write_piece(1, stream[PIECE:])
    assert storage.read(0, 990, 34) == b"f" * 10 + bytes(24)
    assert Storage(torrent, tmp_path).check().all()
    assert sorted(os.listdir(tmp_path / "padded")) == ["first", "last"]


def test_padding_of_anything_but_zeros_is_the_torrents_fault_and_no_peers(tmp_path: Path):
    torrent, stream = padded(b"f" * 1000, bytes(24), b"x" * 24)
    storage = Storage(torrent, tmp_path)
    with pytest.raises(StorageError, match="padding is not made of zeros"):
        storage.write_piece(0, stream)
    assert not storage.have.any()


def test_links_of_a_torrent_are_never_made(tmp_path: Path):
    info = {
        "name": "t",
        "piece length": PIECE,
        "pieces": bytes(20),
        "files": [{"length": 5, "path": ["x"]}, {"path": ["l"], "attr": "l", "symlink path": ["x"]}],
    }
    Storage(Torrent.from_info(encode(info)), tmp_path).prepare()
    assert os.listdir(tmp_path / "t") == ["x"]


# ------------------------------------------------------------------ nothing outside of the folder


def link_to_file(folder: Path, outside: Path) -> None:
    (folder / "torrent").mkdir(parents=True)
    (folder / "torrent" / "a").symlink_to(outside / "precious")


def link_to_nothing(folder: Path, outside: Path) -> None:
    (folder / "torrent").mkdir(parents=True)
    (folder / "torrent" / "a").symlink_to(outside / "new")


def link_to_folder(folder: Path, outside: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "torrent").symlink_to(outside)


def link_within_the_folder(folder: Path, outside: Path) -> None:
    (folder / "other").mkdir(parents=True)
    (folder / "torrent").symlink_to("other")


@needs_links
@pytest.mark.parametrize("lay", [link_to_file, link_to_nothing, link_to_folder, link_within_the_folder])
def test_links_below_the_folder_are_not_followed(
    storage: Storage, stream: bytes, tmp_path: Path, lay: Callable[[Path, Path], None]
):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    lay(storage.folder, outside)
    for call in (storage.prepare, lambda: storage.write_piece(0, pieces_of(stream)[0])):
        with pytest.raises(StorageError, match="symbolic link") as caught:
            call()
        assert caught.value.errno == errno.ELOOP
    assert os.listdir(outside) == ["precious"]
    assert (outside / "precious").read_bytes() == b"precious"


@needs_links
def test_links_are_not_read_either(torrent: Torrent, seeded: Path):
    (seeded / "torrent" / "a").rename(seeded / "elsewhere")
    (seeded / "torrent" / "a").symlink_to(seeded / "elsewhere")
    with pytest.raises(StorageError, match="symbolic link"):
        Storage(torrent, seeded).verify_piece(0)


@needs_links
def test_links_on_the_way_to_the_folder_are_the_users_own(torrent: Torrent, seeded: Path, tmp_path: Path):
    (tmp_path / "shortcut").symlink_to(seeded)
    assert Storage(torrent, tmp_path / "shortcut").check().all()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_in_a_files_place_blocks_nobody(storage: Storage, stream: bytes):
    (storage.folder / "torrent").mkdir(parents=True)
    os.mkfifo(storage.folder / "torrent" / "a")
    with pytest.raises(StorageError):
        storage.write_piece(0, pieces_of(stream)[0])
    with pytest.raises(StorageError):
        storage.verify_piece(0)


# ------------------------------------------------------------------ errors of the disk


def test_a_full_disk_is_known_by_its_errno(storage: Storage, stream: bytes, monkeypatch: pytest.MonkeyPatch):
    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StorageError) as caught:
        storage.write_piece(0, pieces_of(stream)[0])
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(storage.folder / "torrent" / "a")
    assert isinstance(caught.value, OSError)
    assert not storage.have.any()


def test_short_reads_and_writes_are_carried_on(storage: Storage, stream: bytes, monkeypatch: pytest.MonkeyPatch):
    pwrite, pread, preadv = os.pwrite, os.pread, os.preadv
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:7], offset))
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: pread(fd, min(length, 5), offset))
    monkeypatch.setattr(os, "preadv", lambda fd, views, offset, flags=0: preadv(fd, [views[0][:5]], offset, flags))
    assert storage.write_piece(0, pieces_of(stream)[0])
    assert storage.read(0, 0, PIECE) == pieces_of(stream)[0]
    assert storage.verify_piece(0)


def test_a_disk_that_cannot_be_read_is_no_bad_piece(torrent: Torrent, seeded: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*arguments: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    storage = Storage(torrent, seeded)
    monkeypatch.setattr(os, "preadv", broken)
    with pytest.raises(StorageError) as caught:
        storage.check()
    assert caught.value.errno == errno.EIO


def test_a_file_where_a_folder_must_be_is_an_error(storage: Storage, stream: bytes):
    storage.folder.mkdir(parents=True)
    (storage.folder / "torrent").write_bytes(b"")
    assert not storage.check().any()
    with pytest.raises(StorageError):
        storage.write_piece(0, pieces_of(stream)[0])


def test_a_folder_where_a_file_must_be_is_an_error(storage: Storage, stream: bytes):
    (storage.folder / "torrent" / "a").mkdir(parents=True)
    with pytest.raises(StorageError):
        storage.write_piece(0, pieces_of(stream)[0])


def test_it_works_without_positional_reading_and_writing(
    storage: Storage, stream: bytes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("geventbt.storage.disk.open_file.HAS_POSITIONAL", False)
    for piece, data in reversed(list(enumerate(pieces_of(stream)))):
        assert storage.write_piece(piece, data)
    assert storage.check().all()
    assert storage.read(0, 5, 50) == stream[5:55]


# ------------------------------------------------------------------ open files


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


needs_descriptors = pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="open files cannot be counted here")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A torrent's folder of 100 small files."""
    for number in range(100):
        (tmp_path / "many").mkdir(exist_ok=True)
        (tmp_path / "many" / f"{number:02}").write_bytes(bytes([number]) * 50)
    return tmp_path


@needs_descriptors
def test_few_files_are_open_at_a_time_and_none_after_close(many: Path):
    storage = Storage(create_torrent(many / "many", piece_length=512), many, max_open_files=4)
    before = open_descriptors()
    storage.check()
    for piece in range(storage.torrent.geometry.pieces - 1):
        storage.read(piece, 0, 512)
    assert open_descriptors() == before + 4
    storage.close()
    assert open_descriptors() == before


def test_a_closed_storage_refuses(torrent: Torrent, seeded: Path):
    with Storage(torrent, seeded) as storage:
        storage.check()
    with pytest.raises(StorageError, match="closed"):
        storage.read(0, 0, 16)


@needs_descriptors
def test_a_file_in_use_is_closed_only_afterwards(torrent: Torrent, seeded: Path):
    layout, record = Layout(torrent.files, torrent.geometry), ResumeFile(torrent, StateDir(seeded, torrent.info_hash))
    guard = Ownership(torrent, seeded, layout, record, overwrite=False)
    files = OpenFiles(torrent.files, seeded, guard)
    before = open_descriptors()
    with files.use(0) as file:
        files.close()
        assert file.read(0, 10) == (seeded / "torrent" / "a").read_bytes()[:10]
    assert open_descriptors() == before


@needs_descriptors
def test_a_file_that_is_being_opened_at_the_close_is_closed_when_its_user_is_done(
    torrent: Torrent, seeded: Path, monkeypatch: pytest.MonkeyPatch
):
    """Such as a write of a download that is left, in another thread."""
    storage, real_open = Storage(torrent, seeded), os.open

    def open_late(*arguments: Any) -> int:
        storage.close()
        return real_open(*arguments)

    before = open_descriptors()
    monkeypatch.setattr(os, "open", open_late)
    assert storage.backend.read(0, 0, 10) == (seeded / "torrent" / "a").read_bytes()[:10]
    assert open_descriptors() == before


@needs_descriptors
def test_an_open_that_fails_leaves_nothing_open(storage: Storage):
    (storage.folder / "torrent" / "a").mkdir(parents=True)
    before = open_descriptors()
    for _ in range(3):
        with pytest.raises(StorageError):
            storage.verify_piece(0)
    assert open_descriptors() == before


def test_a_file_that_was_read_can_be_written(torrent: Torrent, seeded: Path, stream: bytes):
    storage = Storage(torrent, seeded, overwrite=True)
    (seeded / "torrent" / "d").write_bytes(bytes(3000))
    assert not storage.verify_piece(4)
    assert storage.write_piece(4, pieces_of(stream)[4])
    assert storage.verify_piece(4)


def test_many_threads_may_write_and_read_at_once(many: Path, tmp_path: Path):
    """More threads than open files, so that files are closed under the threads' hands all the time."""
    torrent = create_torrent(many / "many", piece_length=128)
    stream = b"".join(bytes([number]) * 50 for number in range(100))
    storage = Storage(torrent, tmp_path / "copy", max_open_files=2)
    barrier = threading.Barrier(8)

    def work(seed: int) -> None:
        barrier.wait(10)
        pieces = list(range(torrent.geometry.pieces))
        random.Random(seed).shuffle(pieces)
        for piece in pieces:
            data = stream[piece * 128 : piece * 128 + 128]
            assert storage.write_piece(piece, data)
            assert storage.read(piece, 0, len(data)) == data

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert storage.complete
    assert storage.check().all()


@pytest.mark.skipif(os.name != "posix", reason="files are not executable here")
def test_files_that_were_executable_become_so(torrent: Torrent, seeded: Path, tmp_path: Path):
    (seeded / "torrent" / "a").chmod(0o755)
    storage = Storage(create_torrent(seeded / "torrent", piece_length=PIECE), tmp_path / "copy")
    storage.prepare()
    assert os.access(storage.path(0), os.X_OK)
    assert not os.access(storage.path(1), os.X_OK)


# ------------------------------------------------------------------ locate


def test_the_folder_is_found_from_the_data_or_from_what_holds_it(torrent: Torrent, seeded: Path):
    assert locate(torrent, seeded) == seeded
    assert locate(torrent, seeded / "torrent") == seeded
    assert locate(torrent, f"{seeded}/torrent/") == seeded


def test_the_folder_of_a_single_file_is_found(seeded: Path):
    path = seeded / "torrent" / "a"
    single = create_torrent(path)
    assert locate(single, path) == path.parent
    assert locate(single, path.parent) == path.parent


def test_a_folder_within_one_of_its_own_name_is_found(torrent: Torrent, seeded: Path):
    seeded.rename(seeded.parent / "torrent")
    outer = seeded.parent / "torrent"
    assert locate(torrent, outer) == outer
    assert locate(torrent, outer / "torrent") == outer


def test_a_relative_path_is_found(torrent: Torrent, seeded: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(seeded / "torrent")
    assert locate(torrent, ".") == seeded


def test_data_that_is_not_there_is_a_clear_error(torrent: Torrent, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "missing", tmp_path / "empty" / "torrent"):
        with pytest.raises(StorageError, match="the data of 'torrent' is not there") as caught:
            locate(torrent, path)
        assert caught.value.errno == errno.ENOENT
