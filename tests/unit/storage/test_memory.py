"""A torrent's files in memory, and the defaults of backends that users write."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.storage import MemoryBackend, MissingData, Storage, StorageBackend
from tests.unit.storage_helpers import LENGTHS, PIECE, A, B, pieces_of, seed


@pytest.fixture
def torrent(tmp_path: Path) -> Torrent:
    return seed(tmp_path)


class Dictionary(StorageBackend):
    """What a user has to write at least."""

    def __init__(self, torrent: Torrent, folder: Path) -> None:
        self.files: dict[int, bytearray] = {}
        self.lengths = [file.length for file in torrent.files]

    def read(self, file: int, offset: int, length: int) -> bytes:
        data = bytes(self.files.get(file, b"")[offset : offset + length])
        if len(data) != length:
            raise MissingData("cut short")
        return data

    def write(self, file: int, offset: int, data: memoryview) -> None:
        self.files.setdefault(file, bytearray(self.lengths[file]))[offset : offset + len(data)] = data

    def size(self, file: int) -> int:
        return len(self.files.get(file, b""))


@pytest.fixture(params=[MemoryBackend, Dictionary])
def backend(request: pytest.FixtureRequest, torrent: Torrent) -> StorageBackend:
    made: StorageBackend = request.param(torrent, Path("nowhere"))
    return made


def test_a_whole_torrent_is_written_and_read_back(torrent: Torrent, backend: StorageBackend, tmp_path: Path):
    with Storage(torrent, tmp_path / "out", backend=backend) as storage:
        assert storage.restore().all()
        assert not storage.check().any()
        storage.prepare()
        pieces = pieces_of(tmp_path)
        assert all(storage.write_piece(index, piece) for index, piece in enumerate(pieces))
        storage.checkpoint()
        assert storage.complete
        assert [storage.read(index, 0, len(piece)) for index, piece in enumerate(pieces)] == pieces
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_found_by_a_check(torrent: Torrent, backend: StorageBackend, tmp_path: Path):
    backend.write(A, 0, memoryview((tmp_path / "torrent" / "a").read_bytes()))
    with Storage(torrent, tmp_path, backend=backend) as storage:
        assert list(storage.check().search(1)) == [0]


def test_wrong_data_is_neither_written_nor_trusted(torrent: Torrent, backend: StorageBackend, tmp_path: Path):
    with Storage(torrent, tmp_path, backend=backend) as storage:
        assert not storage.write_piece(0, bytes(PIECE))
        assert backend.size(A) == 0
        with pytest.raises(StorageError, match="not verified"):
            storage.read(0, 0, 1)


def test_a_file_of_which_bytes_are_gone_loses_its_pieces(torrent: Torrent, tmp_path: Path):
    backend = Dictionary(torrent, tmp_path)
    with Storage(torrent, tmp_path, backend=backend) as storage:
        for index, piece in enumerate(pieces_of(tmp_path)):
            storage.write_piece(index, piece)
        del backend.files[B][600:]
        with pytest.raises(StorageError, match="cut short"):
            storage.read(2, 0, PIECE)
        assert list(storage.have.search(0)) == [2]
        assert storage.read(1, 0, PIECE) == pieces_of(tmp_path)[1]


def test_a_check_finds_what_is_gone(torrent: Torrent, tmp_path: Path):
    backend = Dictionary(torrent, tmp_path)
    with Storage(torrent, tmp_path, backend=backend) as storage:
        for index, piece in enumerate(pieces_of(tmp_path)):
            storage.write_piece(index, piece)
        del backend.files[A]
        assert list(storage.check().search(0)) == [0, 1]


def test_an_os_error_of_a_backend_is_a_storage_error(torrent: Torrent, tmp_path: Path):
    class Full(Dictionary):
        def write(self, file: int, offset: int, data: memoryview) -> None:
            raise OSError(errno.ENOSPC, "no room")

    with Storage(torrent, tmp_path, backend=Full(torrent, tmp_path)) as storage:
        with pytest.raises(StorageError, match="no room") as caught:
            storage.write_piece(0, pieces_of(tmp_path)[0])
        assert caught.value.errno == errno.ENOSPC
        assert not storage.have.any()


def test_memory_is_read_without_waiting(torrent: Torrent, tmp_path: Path):
    with Storage(torrent, tmp_path, backend=MemoryBackend(torrent)) as storage:
        storage.write_piece(1, pieces_of(tmp_path)[1])
        assert storage.read_cached(1, 5, 100) == pieces_of(tmp_path)[1][5:105]
        assert storage.read_cached(0, 0, 1) is None


def test_memory_that_was_never_written_is_missing_data(torrent: Torrent):
    backend = MemoryBackend(torrent)
    assert backend.size(A) == 0
    assert backend.read_cached(A, 0, 1) is None
    with pytest.raises(MissingData):
        backend.read(A, 0, 1)
    with pytest.raises(MissingData):
        backend.read_into(A, 0, memoryview(bytearray(1)))


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, LENGTHS["a"] + 1), (LENGTHS["a"], 1)])
def test_nothing_is_written_outside_of_a_file(torrent: Torrent, offset: int, length: int):
    with pytest.raises(ValueError, match="not within file 0 of 1500 bytes"):
        MemoryBackend(torrent).write(A, offset, bytes(length))


def test_a_file_that_fits_no_memory_is_a_storage_error():
    from geventbt.bencoding import encode

    info = {"name": "large", "piece length": 1 << 29, "pieces": bytes(20) * (1 << 20), "length": 1 << 49}
    backend = MemoryBackend(Torrent.from_info(encode(info)))
    with pytest.raises(StorageError) as caught:
        backend.write(0, 0, b"x")
    assert caught.value.errno == errno.ENOMEM
