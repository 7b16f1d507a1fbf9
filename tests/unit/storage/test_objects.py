"""Storage in a store of objects: parts, joins, records, and what other programs do there meanwhile."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from geventbt import FsspecBackend, limits
from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.metainfo.create import create_torrent
from geventbt.storage import MissingData, Storage
from tests.unit.storage_helpers import LENGTHS, PIECE, pieces_of, seed

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return tmp_path / "origin"


@pytest.fixture
def torrent(origin: Path) -> Torrent:
    return seed(origin)


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place in a store, empty at first."""
    place = f"{request.param}://{tmp_path}/store"
    yield place
    fs, root = fsspec.core.url_to_fs(place)
    if fs.exists(root):
        fs.rm(root, recursive=True)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of two pieces, and memory for three."""
    monkeypatch.setattr(limits, "STORE_PART", 2 * PIECE)
    monkeypatch.setattr(limits, "STORE_BUFFER", 3 * PIECE)
    monkeypatch.setattr(limits, "STORE_BATCH", 2 * PIECE)


def opened(torrent: Torrent, url: str, *, overwrite: bool = False, selected: list[int] | None = None) -> Storage:
    return Storage(torrent, ".", backend=FsspecBackend(url, overwrite=overwrite)(torrent), selected=selected)


def contents(url: str) -> dict[str, bytes]:
    """All objects below a place, by their paths."""
    fs, root = fsspec.core.url_to_fs(url)
    return {path[len(root) + 1 :]: fs.cat_file(path) for path in fs.find(root)}


def put(url: str, path: str, data: bytes) -> None:
    fs, root = fsspec.core.url_to_fs(url)
    fs.makedirs(f"{root}/{path}".rpartition("/")[0], exist_ok=True)
    fs.pipe_file(f"{root}/{path}", data)


def delete(url: str, path: str) -> None:
    fs, root = fsspec.core.url_to_fs(url)
    fs.rm_file(f"{root}/{path}")


def parts_of(url: str, torrent: Torrent) -> list[str]:
    """The names of the part objects."""
    folder = f".geventbt/{torrent.swarm_hash.hex()}/"
    return [name for name in contents(url) if name.startswith(folder) and not name.endswith("/resume")]


def files_of(origin: Path) -> dict[str, bytes]:
    return {f"torrent/{name}": (origin / "torrent" / name).read_bytes() for name in LENGTHS}


def user_files(url: str) -> dict[str, bytes]:
    return {name: data for name, data in contents(url).items() if not name.startswith(".geventbt/")}


def write(storage: Storage, origin: Path, pieces: list[int]) -> None:
    for piece in pieces:
        assert storage.write_piece(piece, pieces_of(origin)[piece])


ALL = list(range(sum(LENGTHS.values()) // PIECE + 1))
ODD = [7, 2, 5, 0, 3, 6, 1, 4]


@pytest.mark.parametrize("order", [ALL, ODD], ids=["in order", "out of order"])
@pytest.mark.usefixtures("small_parts")
def test_a_download_ends_as_whole_files_and_a_record(torrent: Torrent, origin: Path, url: str, order: list[int]):
    with opened(torrent, url) as storage:
        assert storage.restore().all()
        storage.check()
        storage.prepare()
        for piece in order:
            write(storage, origin, [piece])
            assert storage.read(piece, 0, 10) == pieces_of(origin)[piece][:10]
        storage.finish()
        storage.checkpoint()
        assert user_files(url) == files_of(origin)
        assert parts_of(url, torrent) == []
        assert b"".join(storage.read(piece, 0, len(data)) for piece, data in enumerate(pieces_of(origin))) == b"".join(
            pieces_of(origin)
        )
    with opened(torrent, url) as storage:
        assert not storage.restore().any()
        assert storage.complete


@pytest.mark.usefixtures("small_parts")
def test_what_was_recorded_is_there_after_a_kill_and_what_came_later_is_hashed(
    torrent: Torrent, origin: Path, url: str
):
    first = opened(torrent, url)
    first.restore()
    write(first, origin, [4, 5, 1])
    first.checkpoint()
    write(first, origin, [6, 7, 0, 2])
    # It is killed: nothing is closed.
    with opened(torrent, url) as storage:
        unknown = storage.restore()
        assert list(storage.have.search(1)) == [1, 4, 5]
        assert not any(unknown[piece] for piece in (4, 5))
        storage.check(pieces=unknown)
        assert set(storage.have.search(1)) >= {1, 4, 5}
        for piece in storage.have.search(1):
            assert storage.read(piece, 0, 10) == pieces_of(origin)[piece][:10]


@pytest.mark.usefixtures("small_parts")
def test_a_kill_between_the_join_and_the_record_costs_only_a_check(torrent: Torrent, origin: Path, url: str):
    first = opened(torrent, url)
    first.restore()
    write(first, origin, ALL)
    first.finish()
    assert user_files(url) == files_of(origin)
    with opened(torrent, url) as storage:
        storage.check(pieces=storage.restore())
        assert storage.complete
        storage.prepare()
        storage.finish()
        storage.checkpoint()
        assert user_files(url) == files_of(origin)
        assert parts_of(url, torrent) == []


@pytest.mark.usefixtures("small_parts")
def test_a_part_that_was_deleted_costs_its_file_a_check(torrent: Torrent, origin: Path, url: str):
    with opened(torrent, url) as storage:
        storage.restore()
        write(storage, origin, [0, 4, 5, 6])
        storage.checkpoint()
    lost = next(name for name in parts_of(url, torrent) if "/3-" in name)
    delete(url, lost)
    with opened(torrent, url) as storage:
        storage.check(pieces=storage.restore())
        assert storage.have[0]
        assert not all(storage.have[piece] for piece in (4, 5, 6))
        write(storage, origin, ALL)
        storage.finish()
        assert user_files(url) == files_of(origin)


@pytest.mark.usefixtures("small_parts")
def test_a_cut_part_is_not_trusted(torrent: Torrent, origin: Path, url: str):
    with opened(torrent, url) as storage:
        storage.restore()
        write(storage, origin, [5, 6])
        storage.checkpoint()
    for name in parts_of(url, torrent):
        put(url, name, contents(url)[name][:-1])
    with opened(torrent, url) as storage:
        storage.check(pieces=storage.restore())
        assert not storage.have.any()


def test_a_file_of_the_user_is_neither_replaced_nor_read_as_ours(torrent: Torrent, origin: Path, url: str):
    put(url, "torrent/c", b"precious")
    with opened(torrent, url) as storage:
        storage.check(pieces=storage.restore())
        with pytest.raises(StorageError, match="not the torrent's") as caught:
            storage.prepare()
        assert caught.value.errno == errno.EEXIST
    assert contents(url) == {"torrent/c": b"precious"}
    with opened(torrent, url, overwrite=True) as storage:
        storage.check(pieces=storage.restore())
        storage.prepare()
        write(storage, origin, ALL)
        storage.finish()
    assert user_files(url) == files_of(origin)


def test_a_file_that_appears_during_the_download_is_kept(torrent: Torrent, origin: Path, url: str):
    with opened(torrent, url) as storage:
        storage.check(pieces=storage.restore())
        storage.prepare()
        write(storage, origin, ALL)
        put(url, "torrent/c", b"precious")
        with pytest.raises(StorageError, match="not the torrent's"):
            storage.finish()
        assert contents(url)["torrent/c"] == b"precious"


def test_a_file_that_is_partly_right_is_completed(torrent: Torrent, origin: Path, url: str):
    good = files_of(origin)
    put(url, "torrent/d", good["torrent/d"][:2500] + bytes(900))
    with opened(torrent, url) as storage:
        storage.check(pieces=storage.restore())
        assert list(storage.have.search(1)) == [5]
        storage.prepare()
        write(storage, origin, [piece for piece in ALL if piece != 5])
        storage.finish()
    assert user_files(url) == good


def test_a_changed_object_is_not_served_and_hashed_again(
    torrent: Torrent, origin: Path, url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "STORE_LOOK_INTERVAL", 0.0)
    for name, data in files_of(origin).items():
        put(url, name, data)
    with opened(torrent, url) as storage:
        storage.check(pieces=storage.restore())
        assert storage.complete
        put(url, "torrent/d", bytes(3001))
        with pytest.raises(StorageError, match="changed"):
            storage.read(6, 0, 10)
        assert not storage.have[6]
        storage.check()
        assert list(storage.have.search(1)) == [0, 1, 2, 3]
        delete(url, "torrent/a")
        with pytest.raises(MissingData):
            storage.read(0, 0, 10)
        assert storage.read(3, 0, 10) == pieces_of(origin)[3][:10]


def test_a_file_that_is_not_wanted_is_not_made(torrent: Torrent, origin: Path, url: str):
    with opened(torrent, url, selected=[1]) as storage:
        storage.check(pieces=storage.restore())
        storage.prepare()
        write(storage, origin, [1, 2])
        storage.finish()
        storage.checkpoint()
        assert user_files(url) == {"torrent/b": files_of(origin)["torrent/b"]}
        storage.select(None)
        storage.prepare()
        write(storage, origin, [piece for piece in ALL if piece not in (1, 2)])
        storage.finish()
        storage.checkpoint()
    assert user_files(url) == files_of(origin)
    assert parts_of(url, torrent) == []


def test_files_without_bytes_and_with_odd_names_are_made(tmp_path: Path, url: str):
    folder = tmp_path / "origin" / "odd"
    folder.mkdir(parents=True)
    files = {"empty": b"", "a*b?[c] #1%20é": b"x" * 3000}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    torrent = create_torrent(folder, piece_length=PIECE)
    stream = b"".join(data for _, data in sorted(files.items()))
    with opened(torrent, url) as storage:
        storage.check(pieces=storage.restore())
        storage.prepare()
        for piece in range(3):
            assert storage.write_piece(piece, stream[piece * PIECE :][:PIECE])
        storage.finish()
    assert user_files(url) == {f"odd/{name}": data for name, data in files.items()}


def test_a_store_that_cannot_be_written_raises_a_storage_error_and_loses_nothing(
    torrent: Torrent, origin: Path, tmp_path: Path
):
    with opened(torrent, f"file://{tmp_path}/store") as storage:
        storage.check(pieces=storage.restore())
        (tmp_path / "store").write_bytes(b"a file, not a folder")
        write(storage, origin, ALL)
        with pytest.raises(StorageError) as caught:
            storage.checkpoint()
        assert caught.value.__cause__ is not None
        assert storage.read(3, 0, 10) == pieces_of(origin)[3][:10]


@pytest.mark.parametrize("url", ["nosuch://place", "https2://place/x"])
def test_an_unknown_kind_of_store_is_a_storage_error(torrent: Torrent, url: str):
    with pytest.raises(StorageError, match="Protocol not known"):
        FsspecBackend(url)(torrent)


def test_a_password_in_the_url_is_in_no_message(torrent: Torrent):
    with pytest.raises(StorageError) as caught:
        FsspecBackend("nosuch://user:secret@host/path")(torrent)
    assert "secret" not in str(caught.value)


def test_a_closed_backend_raises_a_storage_error(torrent: Torrent, url: str):
    storage = opened(torrent, url)
    storage.close()
    with pytest.raises(StorageError, match="closed"):
        storage.checkpoint()
