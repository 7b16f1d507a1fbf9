"""What a `Storage` counts on, of every backend alike: the disk, memory, and stores of fsspec, S3 among them."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bitarray.util import zeros

from geventbt import FsspecBackend, MemoryBackend, StorageBackend, limits
from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.storage import DiskBackend, MissingData, Storage
from tests.interop.s3_server import S3Server
from tests.unit.storage_helpers import LENGTHS, PIECE, A, B, D, pieces_of, seed

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

SHARED = ["disk", "fsspec memory", "fsspec file", "fsspec s3"]
"""Kinds of backends whose files other programs can change."""
FIRST, LAST = 0, sum(LENGTHS.values()) // PIECE


@dataclass
class Place:
    """Where a kind of backend keeps files.

    Attributes:
        make: makes a backend for what is there.
        change: replaces the bytes of a file, by its path, as another program does.
        delete: deletes it, likewise.
    """

    make: Callable[[], StorageBackend]
    change: Callable[[str, bytes], object]
    delete: Callable[[str], object]


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return tmp_path / "origin"


@pytest.fixture
def torrent(origin: Path) -> Torrent:
    return seed(origin)


@pytest.fixture
def pieces(torrent: Torrent, origin: Path) -> list[bytes]:
    return pieces_of(origin)


@pytest.fixture(params=["memory", *SHARED])
def place(request: pytest.FixtureRequest, torrent: Torrent, tmp_path: Path) -> Iterator[Place]:
    kind, _, scheme = request.param.partition(" ")
    if kind == "disk":
        yield on_disk(torrent, tmp_path / "place")
    elif kind == "memory":
        only = MemoryBackend(torrent)
        yield Place(lambda: only, only_here, only_here)
    else:
        fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
        options: dict[str, Any] = {}
        url = f"{scheme}://{tmp_path}/place"
        if scheme != "s3":
            # S3 joins no parts below 5 MiB.
            request.getfixturevalue("monkeypatch").setattr(limits, "STORE_PART", 2 * PIECE)
        if scheme == "s3":
            server: S3Server = request.getfixturevalue("bucket_server")
            url, options = f"s3://bucket/contract-{tmp_path.name}", server.options
        fs, root = fsspec.core.url_to_fs(url, **options, use_listings_cache=False)
        yield Place(
            lambda: FsspecBackend(url, **options)(torrent),
            lambda path, data: fs.pipe_file(f"{root}/{path}", data),
            lambda path: fs.rm_file(f"{root}/{path}"),
        )
        if fs.exists(root):
            fs.rm(root, recursive=True)


def only_here(*arguments: object) -> None:
    raise NotImplementedError("no other program can do this")


def on_disk(torrent: Torrent, folder: Path) -> Place:
    return Place(
        lambda: DiskBackend(torrent, folder),
        lambda path, data: (folder / path).write_bytes(data),
        lambda path: (folder / path).unlink(),
    )


@pytest.fixture
def backend(place: Place, torrent: Torrent) -> Iterator[StorageBackend]:
    """A backend that a `Storage` has begun with."""
    made = place.make()
    made.begin(zeros(torrent.geometry.pieces, "big"), None)
    yield made
    made.close()


def opened(place: Place, torrent: Torrent) -> Storage:
    return Storage(torrent, ".", backend=place.make())


def look_and_read(storage: Storage, piece: int) -> bytes:
    storage.finish()
    return storage.read(piece, 0, PIECE)


def complete(place: Place, torrent: Torrent, pieces: list[bytes]) -> None:
    """Have a whole torrent written and recorded."""
    with opened(place, torrent) as storage:
        storage.check(pieces=storage.restore())
        storage.prepare()
        for piece, data in enumerate(pieces):
            assert storage.write_piece(piece, data)
        storage.finish()
        storage.checkpoint()


# ------------------------------------------------------------------ bytes


def test_a_range_is_read_as_it_was_written_and_others_stay(backend: StorageBackend):
    backend.write(D, 1000, memoryview(b"b" * 1000))
    backend.write(D, 0, memoryview(b"a" * 1000))
    backend.write(D, 2000, memoryview(b"c" * 1000))
    # Again, but never with other bytes.
    backend.write(D, 900, memoryview(b"a" * 100 + b"b" * 100))
    expected = b"a" * 1000 + b"b" * 1000 + b"c" * 1000
    assert backend.read(D, 0, 3000) == expected
    for offset, length in ((0, 1), (899, 2), (2999, 1), (500, 2000)):
        assert backend.read(D, offset, length) == expected[offset : offset + length]
        into = bytearray(length)
        backend.read_into(D, offset, memoryview(into))
        assert into == expected[offset : offset + length]
        assert backend.read_cached(D, offset, length) in (None, expected[offset : offset + length])


def test_the_buffer_of_a_write_may_be_used_again(backend: StorageBackend):
    data = bytearray(b"a" * 700)
    backend.write(B, 0, memoryview(data))
    data[:] = b"b" * 700
    assert backend.read(B, 0, 700) == b"a" * 700


def test_what_was_never_written_is_missing_or_zeros_which_fail_their_hash(backend: StorageBackend):
    assert backend.size(A) == 0
    assert backend.read_cached(A, 0, 10) is None
    with pytest.raises(MissingData):
        backend.read(A, 0, 10)
    with pytest.raises(MissingData):
        backend.read_into(A, 0, memoryview(bytearray(10)))
    backend.write(A, 500, memoryview(b"x" * 10))
    with suppress(MissingData):
        assert backend.read(A, 0, 500) == bytes(500)


def test_the_size_of_a_file_is_its_length_once_all_is_written(backend: StorageBackend):
    backend.write(A, 0, memoryview(b"x" * 100))
    assert 100 <= backend.size(A) <= LENGTHS["a"]
    backend.write(A, 100, memoryview(b"x" * (LENGTHS["a"] - 100)))
    assert backend.size(A) == LENGTHS["a"]


def test_several_threads_may_write_and_read_at_once(backend: StorageBackend):
    failures: list[BaseException] = []

    def work(number: int) -> None:
        data = bytes([number]) * 375
        try:
            for _ in range(20):
                backend.write(D, number * 375, memoryview(data))
                assert backend.read(D, number * 375, 375) == data
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert backend.read(D, 0, 3000) == b"".join(bytes([number]) * 375 for number in range(8))


# ------------------------------------------------------------------ with a storage


def test_a_torrent_is_kept_from_its_first_piece_to_the_next_start(place: Place, torrent: Torrent, pieces: list[bytes]):
    complete(place, torrent, pieces)
    with opened(place, torrent) as storage:
        storage.check(pieces=storage.restore())
        assert storage.complete
        assert [storage.read(piece, 0, len(data)) for piece, data in enumerate(pieces)] == pieces


def test_all_that_may_be_there_is_looked_at(place: Place, torrent: Torrent, pieces: list[bytes]):
    with opened(place, torrent) as storage:
        for piece in (LAST, 3, FIRST):
            assert storage.write_piece(piece, pieces[piece])
        storage.checkpoint()
        storage.check()
        assert list(storage.have.search(1)) == [FIRST, 3, LAST]


def test_a_start_trusts_nothing_that_was_never_verified(place: Place, torrent: Torrent, pieces: list[bytes]):
    with opened(place, torrent) as storage:
        storage.restore()
        assert storage.write_piece(4, pieces[4])
        assert not storage.write_piece(5, bytes(len(pieces[5])))
        storage.checkpoint()
    with opened(place, torrent) as storage:
        unknown = storage.restore()
        assert not (storage.have & unknown).any()
        trusted = storage.have.copy()
        assert not (trusted & ~storage.check()).any()
        assert storage.have[4]
        assert storage.have.count() == 1


def test_the_bytes_of_a_file_that_is_not_wanted_are_kept_for_the_pieces_that_are(
    place: Place, torrent: Torrent, pieces: list[bytes]
):
    with Storage(torrent, ".", backend=place.make(), selected=[B]) as storage:
        storage.check(pieces=storage.restore())
        storage.prepare()
        for piece in storage.wanted.search(1):
            assert storage.write_piece(piece, pieces[piece])
        storage.finish()
        storage.checkpoint()
        assert storage.read(1, 0, PIECE) == pieces[1]
        storage.select(None)
        storage.prepare()
        assert storage.read(1, 0, PIECE) == pieces[1]


# ------------------------------------------------------------------ behind our back


@pytest.mark.parametrize("place", SHARED, indirect=True)
@pytest.mark.parametrize("data", [b"x" * 3000, b"x" * 4000], ids=["same length", "longer"])
def test_a_file_that_was_changed_between_two_runs_is_hashed(
    place: Place, torrent: Torrent, pieces: list[bytes], data: bytes
):
    complete(place, torrent, pieces)
    place.change("torrent/d", data)
    with opened(place, torrent) as storage:
        storage.check(pieces=storage.restore())
        assert list(storage.have.search(1)) == [0, 1, 2, 3]


@pytest.mark.parametrize("place", SHARED, indirect=True)
def test_a_file_that_is_changed_meanwhile_is_never_read_as_verified(
    place: Place, torrent: Torrent, pieces: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "STORE_LOOK_INTERVAL", 0.0)
    complete(place, torrent, pieces)
    with opened(place, torrent) as storage:
        storage.check(pieces=storage.restore())
        assert storage.read(6, 0, PIECE) == pieces[6]
        place.delete("torrent/d")
        place.change("torrent/d", b"x" * 3000)
        with pytest.raises(StorageError) as caught:
            look_and_read(storage, 6)
        assert caught.value.filename
        assert not storage.have[6]
        storage.check()
        assert list(storage.have.search(1)) == [0, 1, 2, 3]


@pytest.mark.parametrize("place", SHARED, indirect=True)
def test_a_file_that_is_deleted_meanwhile_is_missing_and_the_others_stay(
    place: Place, torrent: Torrent, pieces: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "STORE_LOOK_INTERVAL", 0.0)
    complete(place, torrent, pieces)
    with opened(place, torrent) as storage:
        storage.check(pieces=storage.restore())
        place.delete("torrent/a")
        with pytest.raises(StorageError):
            storage.finish()
        storage.check()
        assert list(storage.have.search(1)) == [2, 3, 4, 5, 6, 7]
        storage.prepare()
        for piece in (0, 1):
            assert storage.write_piece(piece, pieces[piece])
        storage.finish()
        assert storage.complete


# ------------------------------------------------------------------ two programs at one place


@pytest.mark.parametrize("place", SHARED, indirect=True)
def test_a_second_download_to_one_place_is_refused_or_both_end_with_the_right_files(
    place: Place, torrent: Torrent, pieces: list[bytes]
):
    with opened(place, torrent) as first, opened(place, torrent) as second:
        first.check(pieces=first.restore())
        write(first, pieces, [0, 4, 5])
        first.checkpoint()
        refusal = failure_of(lambda: second.check(pieces=second.restore()))
        if refusal is not None:
            assert refusal.errno == errno.EBUSY
            return
        write(second, pieces, [1, 2, 6])
        second.checkpoint()
        for storage in (second, first):
            end(storage, pieces)
            assert storage.complete
        for storage in (first, second):
            storage.check()
            assert [storage.read(piece, 0, len(data)) for piece, data in enumerate(pieces)] == pieces
    with opened(place, torrent) as later:
        later.check(pieces=later.restore())
        assert later.complete


def write(storage: Storage, pieces: list[bytes], indices: Iterable[int]) -> None:
    for piece in indices:
        assert storage.write_piece(piece, pieces[piece])


def end(storage: Storage, pieces: list[bytes]) -> None:
    """Fetch what is missing, as the client does: what another program has moved meanwhile is hashed again."""
    for _ in range(3):
        write(storage, pieces, [piece for piece in range(len(pieces)) if not storage.have[piece]])
        if failure_of(storage.finish) is None and failure_of(storage.checkpoint) is None:
            return
        storage.check()
    pytest.fail("it does not come to an end")


@pytest.mark.parametrize("place", SHARED, indirect=True)
def test_a_seeder_reads_what_is_right_while_a_download_ends(place: Place, torrent: Torrent, pieces: list[bytes]):
    with opened(place, torrent) as download, opened(place, torrent) as seeder:
        download.check(pieces=download.restore())
        write(download, pieces, range(7))
        download.checkpoint()
        seeder.check(pieces=seeder.restore(lock=False))
        assert seeder.read(4, 0, PIECE) == pieces[4]
        end(download, pieces)
        for piece in range(7):
            data = pieces[piece]
            assert read_or_none(seeder, piece, len(data)) in (data, None)
        seeder.check()
        assert [seeder.read(piece, 0, len(data)) for piece, data in enumerate(pieces)] == pieces


def read_or_none(storage: Storage, piece: int, length: int) -> bytes | None:
    """The bytes of a piece; None where they have gone, which the storage says."""
    try:
        return storage.read(piece, 0, length)
    except StorageError:
        assert not storage.have[piece]
        return None


# ------------------------------------------------------------------ the end


def test_deleted_data_is_gone_or_the_backend_says_that_it_cannot(place: Place, torrent: Torrent, pieces: list[bytes]):
    complete(place, torrent, pieces)
    storage = opened(place, torrent)
    storage.check(pieces=storage.restore())
    error = failure_of(storage.delete)
    storage.close()
    if error is not None:
        assert error.errno == errno.ENOTSUP
        return
    with opened(place, torrent) as storage:
        storage.check(pieces=storage.restore())
        assert not storage.have.any()


def failure_of(function: Callable[[], object]) -> StorageError | None:
    try:
        function()
    except StorageError as error:
        return error
    return None
