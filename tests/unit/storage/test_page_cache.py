"""Reading what is in memory: all of it, or nothing, and never a wait."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from geventbt.bencoding import encode
from geventbt.metainfo import Torrent
from geventbt.storage import Storage
from geventbt.storage.disk import open_file, page_cache
from geventbt.storage.disk.page_cache import find_cached_read
from tests.unit.storage_helpers import PIECE, pieces_of, seed

pytestmark = pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="the system cannot read without waiting")

DATA = os.urandom(10_000)


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "file").write_bytes(DATA)
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def preadv_of(result: int | OSError) -> Callable[..., int]:
    """A `preadv` of a file system that knows RWF_NOWAIT, or does not, and this many bytes in memory."""

    def preadv(descriptor: int, buffers: list[bytearray], offset: int, flags: int) -> int:
        assert flags == os.RWF_NOWAIT
        if isinstance(result, OSError):
            raise result
        data = os.pread(descriptor, min(result, len(buffers[0])), offset)
        buffers[0][: len(data)] = data
        return len(data)

    return preadv


UNKNOWN_FLAG = OSError(errno.EOPNOTSUPP, "not supported")


def mounted_as(kind: str, descriptor: int, tmp_path: Path) -> Path:
    """A list of mounts in which the file system of a descriptor is of this kind."""
    device = os.fstat(descriptor).st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "21 20 0:1000 / / rw - ext4 /dev/sda rw\n"
        f"36 21 {os.major(device)}:{os.minor(device)} / /some\\040where rw shared:1 - {kind} none rw,size=1k\n"
    )
    return mounts


def test_what_is_in_memory_is_read(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "preadv", preadv_of(10_000))
    read = find_cached_read(descriptor)
    assert read is not None
    assert read(descriptor, 3, 5000) == DATA[3:5003]


def test_what_is_not_or_not_all_in_memory_is_left(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    read = None
    for result in (BlockingIOError(errno.EAGAIN, "try again"), 4999):
        monkeypatch.setattr(os, "preadv", preadv_of(result))
        read = find_cached_read(descriptor)
        assert read is not None
        assert read(descriptor, 3, 5000) is None


def test_a_file_system_in_memory_never_waits(descriptor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "preadv", preadv_of(UNKNOWN_FLAG))
    monkeypatch.setattr(page_cache, "MOUNTS", mounted_as("tmpfs", descriptor, tmp_path))
    read = find_cached_read(descriptor)
    assert read is not None
    assert read(descriptor, 9_000, 1000) == DATA[9_000:]
    assert read(descriptor, 9_001, 1000) is None


@pytest.mark.parametrize("kind", ["nfs4", "fuse.sshfs"])
def test_any_other_may_wait(descriptor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(os, "preadv", preadv_of(UNKNOWN_FLAG))
    monkeypatch.setattr(page_cache, "MOUNTS", mounted_as(kind, descriptor, tmp_path))
    assert find_cached_read(descriptor) is None


def test_without_a_list_of_mounts_nothing_is_known(
    descriptor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "preadv", preadv_of(UNKNOWN_FLAG))
    monkeypatch.setattr(page_cache, "MOUNTS", tmp_path / "none")
    assert find_cached_read(descriptor) is None


class TestStorage:
    """On a file system where everything is in memory."""

    @pytest.fixture
    def torrent(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Torrent:
        monkeypatch.setattr(os, "preadv", preadv_of(PIECE))
        return seed(tmp_path)

    @pytest.fixture
    def storage(self, tmp_path: Path, torrent: Torrent) -> Iterator[Storage]:
        """With all pieces known to be good, and nothing open yet."""
        with Storage(torrent, tmp_path) as storage:
            storage.have.setall(True)
            yield storage

    def test_a_range_of_open_files_is_read(self, storage: Storage, tmp_path: Path) -> None:
        """Piece 1 has bytes of two files."""
        storage.read(1, 0, PIECE)
        assert storage.read_cached(1, 3, 1000) == pieces_of(tmp_path)[1][3:1003]
        assert storage.read_cached(1, 3, 10) == pieces_of(tmp_path)[1][3:13]

    def test_padding_is_zeros(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        files = [{"path": ["a"], "length": 1000}, {"path": [".pad", "24"], "length": 24, "attr": b"p"}]
        info = {"name": "padded", "piece length": PIECE, "pieces": bytes(20), "files": files}
        (tmp_path / "padded").mkdir()
        (tmp_path / "padded" / "a").write_bytes(DATA[:1000])
        monkeypatch.setattr(os, "preadv", preadv_of(PIECE))
        with Storage(Torrent.from_info(encode(info)), tmp_path) as storage:
            storage.have.setall(True)
            storage.read(0, 0, PIECE)
            assert storage.read_cached(0, 0, PIECE) == DATA[:1000] + bytes(24)

    def test_a_file_that_is_only_written_is_not_looked_at(
        self, tmp_path: Path, torrent: Torrent, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looked = []
        monkeypatch.setattr(open_file, "find_cached_read", looked.append)
        with Storage(torrent, tmp_path / "copy") as storage:
            assert storage.write_piece(0, pieces_of(tmp_path)[0])
            assert storage.read_cached(0, 0, PIECE) is None
            assert not looked
            storage.read(0, 0, PIECE)
            storage.read(0, 0, PIECE)
            assert len(looked) == 1

    def test_a_file_that_is_not_open_is_left_to_those_who_wait(self, storage: Storage) -> None:
        storage.read(0, 0, PIECE)
        assert storage.read_cached(1, 0, PIECE) is None

    def test_a_piece_that_is_not_verified_is_not_read(self, storage: Storage) -> None:
        storage.read(0, 0, PIECE)
        storage.have[0] = False
        assert storage.read_cached(0, 0, PIECE) is None

    def test_a_file_that_was_deleted_is_an_error_for_those_who_wait(self, storage: Storage, tmp_path: Path) -> None:
        storage.read(0, 0, PIECE)
        (tmp_path / "torrent" / "a").unlink()
        assert storage.read_cached(0, 0, PIECE) is None

    def test_a_failing_disk_is_an_error_for_those_who_wait(
        self, storage: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        storage.read(0, 0, PIECE)
        monkeypatch.setattr(os, "preadv", preadv_of(OSError(errno.EIO, "broken")))
        assert storage.read_cached(0, 0, PIECE) is None

    def test_a_thread_that_opens_a_file_is_in_nobodys_way(
        self, storage: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opens, may_open, system_open = threading.Event(), threading.Event(), os.open

        def slow_open(*args: Any) -> int:
            opens.set()
            assert may_open.wait(10)
            return system_open(*args)

        storage.read(0, 0, PIECE)
        monkeypatch.setattr(os, "open", slow_open)
        opener = threading.Thread(target=storage.read, args=(7, 0, 1))
        opener.start()
        assert opens.wait(10)
        assert storage.read_cached(0, 0, PIECE) is not None
        may_open.set()
        opener.join(10)

    def test_a_range_that_is_none_is_refused(self, storage: Storage) -> None:
        with pytest.raises(ValueError, match="not a range"):
            storage.read_cached(0, 0, PIECE + 1)
