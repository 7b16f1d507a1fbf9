"""A torrent writes to its own files only, and reads no file that was changed under it before it has hashed it."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from geventbt import limits
from geventbt.bencoding import encode
from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.metainfo.create import create_torrent
from geventbt.storage import ChangedData, MissingData, Storage, locate
from tests.unit.storage_helpers import LENGTHS, PIECE, A, B, D, pieces_of

needs_links = pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="links cannot be told from files here")


@pytest.fixture
def folder(tmp_path: Path, torrent: Torrent) -> Path:
    (tmp_path / "downloads" / "torrent").mkdir(parents=True)
    return tmp_path / "downloads"


def refused(call: Callable[[], object]) -> StorageError:
    """The error of a call that must not write to a file of another program."""
    with pytest.raises(StorageError) as caught:
        call()
    assert caught.value.errno == errno.EEXIST
    return caught.value


# ------------------------------------------------------------------ files of the user


@pytest.mark.parametrize("length", [1, 1499, 1500, 4000])
def test_a_file_of_the_user_is_neither_cut_nor_written_to(
    torrent: Torrent, folder: Path, pieces: list[bytes], length: int
) -> None:
    own = folder / "torrent" / "a"
    own.write_bytes(b"x" * length)
    with Storage(torrent, folder) as storage:
        storage.check(pieces=storage.restore())
        assert "overwrite" in str(refused(storage.prepare))
        refused(lambda: storage.write_piece(0, pieces[0]))
    assert own.read_bytes() == b"x" * length
    assert os.listdir(folder / "torrent") == ["a"]


def test_a_file_of_the_user_in_place_of_an_empty_one_is_kept(tmp_path: Path) -> None:
    (tmp_path / "from" / "t").mkdir(parents=True)
    (tmp_path / "from" / "t" / "a").write_bytes(b"data")
    (tmp_path / "from" / "t" / "empty").write_bytes(b"")
    torrent = create_torrent(tmp_path / "from" / "t")
    (tmp_path / "to" / "t").mkdir(parents=True)
    (tmp_path / "to" / "t" / "empty").write_bytes(b"precious")
    with Storage(torrent, tmp_path / "to") as storage:
        storage.check()
        refused(storage.prepare)
    assert (tmp_path / "to" / "t" / "empty").read_bytes() == b"precious"


def test_with_leave_it_is_overwritten_but_not_cut_before_a_piece_is_verified(
    torrent: Torrent, folder: Path, pieces: list[bytes]
) -> None:
    own = folder / "torrent" / "a"
    own.write_bytes(b"x" * 4000)
    with Storage(torrent, folder, overwrite=True) as storage:
        storage.prepare()
        assert own.stat().st_size == 4000
        assert not storage.write_piece(0, bytes(PIECE))
        assert own.read_bytes() == b"x" * 4000
        assert storage.write_piece(0, pieces[0])
    assert own.read_bytes() == pieces[0] + b"x" * (LENGTHS["a"] - PIECE)


def test_a_file_with_a_right_piece_is_the_torrents(torrent: Torrent, seeded: Path, pieces: list[bytes]) -> None:
    with open(seeded / "torrent" / "d", "r+b") as file:
        file.write(b"x" * 100)
        file.seek(0, os.SEEK_END)
        file.write(b"more")
    with Storage(torrent, seeded) as storage:
        storage.check()
        storage.prepare()
        assert (seeded / "torrent" / "d").stat().st_size == LENGTHS["d"]
        assert storage.write_piece(4, pieces[4])
        assert storage.check().all()


@pytest.mark.parametrize("length", [0, LENGTHS["a"], 9999])
def test_a_file_without_data_is_free_to_use(torrent: Torrent, folder: Path, pieces: list[bytes], length: int) -> None:
    with open(folder / "torrent" / "a", "wb") as file:
        file.truncate(length)
    if length and (folder / "torrent" / "a").stat().st_blocks:
        pytest.skip("no sparse files here")
    with Storage(torrent, folder) as storage:
        storage.check(pieces=storage.restore())
        storage.prepare()
        assert storage.write_piece(0, pieces[0])


def test_what_we_have_made_is_ours_after_a_kill_in_the_first_piece(torrent: Torrent, folder: Path) -> None:
    storage = Storage(torrent, folder)
    storage.restore()
    storage.prepare()
    # A half of a piece, and no checkpoint.
    with open(folder / "torrent" / "a", "r+b") as file:
        file.write(b"x" * 10)
    shutil.copytree(folder / ".geventbt", folder / "kept")
    storage.close()
    shutil.rmtree(folder / ".geventbt")
    (folder / "kept").rename(folder / ".geventbt")
    with Storage(torrent, folder) as again:
        again.check(pieces=again.restore())
        again.prepare()


def test_in_a_folder_that_was_copied_what_we_have_made_is_still_ours(torrent: Torrent, folder: Path) -> None:
    with Storage(torrent, folder) as storage:
        storage.restore()
        storage.prepare()
        storage.checkpoint()
    copied = folder.with_name("copied")
    shutil.copytree(folder, copied)
    # A copy may have zeros for holes.
    (copied / "torrent" / "a").write_bytes(bytes(LENGTHS["a"]))
    with Storage(torrent, copied) as again:
        again.check(pieces=again.restore())
        again.prepare()


def test_another_file_put_in_the_place_of_ours_is_not_ours(torrent: Torrent, folder: Path) -> None:
    with Storage(torrent, folder) as storage:
        storage.restore()
        storage.prepare()
        storage.checkpoint()
    (folder / "torrent" / "a").unlink()
    (folder / "torrent" / "a").write_bytes(b"precious")
    with Storage(torrent, folder) as storage:
        storage.check(pieces=storage.restore())
        refused(storage.prepare)
    assert (folder / "torrent" / "a").read_bytes() == b"precious"


def test_a_file_of_the_user_that_was_hashed_and_recorded_is_still_not_ours(torrent: Torrent, folder: Path) -> None:
    own = folder / "torrent" / "a"
    own.write_bytes(b"x" * LENGTHS["a"])
    for _ in range(2):
        with Storage(torrent, folder) as storage:
            storage.check(pieces=storage.restore())
            refused(storage.prepare)
            storage.checkpoint()
    assert own.read_bytes() == b"x" * LENGTHS["a"]


def test_pieces_beside_a_file_of_the_user_are_found_by_the_next_run(
    torrent: Torrent, folder: Path, pieces: list[bytes]
) -> None:
    (folder / "torrent" / "a").write_bytes(b"precious")
    for is_first in (True, False):
        with Storage(torrent, folder, selected=[B]) as storage:
            storage.check(pieces=storage.restore())
            assert storage.have.to01() == ("00000000" if is_first else "01100000")
            storage.prepare()
            for piece in (1, 2) if is_first else ():
                assert storage.write_piece(piece, pieces[piece])
            storage.checkpoint()


def test_a_file_that_cannot_be_recorded_is_not_written_to(
    torrent: Torrent, folder: Path, pieces: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Storage(torrent, folder) as storage:
        storage.restore()
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", full)
            with pytest.raises(StorageError):
                storage.prepare()
            with pytest.raises(StorageError):
                storage.write_piece(0, pieces[0])
            assert not any((folder / "torrent" / name).stat().st_size for name in os.listdir(folder / "torrent"))
        storage.prepare()
        assert storage.write_piece(0, pieces[0])


def test_a_file_of_the_user_that_is_not_wanted_is_kept_and_its_neighbours_are_fetched(
    torrent: Torrent, folder: Path, pieces: list[bytes]
) -> None:
    (folder / "torrent" / "a").write_bytes(b"precious")
    with Storage(torrent, folder, selected=[B]) as storage:
        storage.check(pieces=storage.restore())
        storage.prepare()
        for piece in (1, 2):
            assert storage.write_piece(piece, pieces[piece])
        assert storage.read(1, 0, PIECE) == pieces[1]
        refused(lambda: storage.select([A, B]))
    assert (folder / "torrent" / "a").read_bytes() == b"precious"


# ------------------------------------------------------------------ several torrents in one place


@pytest.fixture
def rival(tmp_path: Path, torrent: Torrent) -> Torrent:
    """A torrent of the same files, of which "d" differs in its last piece."""
    shutil.copytree(tmp_path / "seeded", tmp_path / "other")
    with open(tmp_path / "other" / "torrent" / "d", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    return create_torrent(tmp_path / "other" / "torrent", piece_length=PIECE)


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_second_torrent_of_one_path_with_other_contents_is_refused(
    torrent: Torrent, rival: Torrent, seeded: Path, overwrite: bool
) -> None:
    before = (seeded / "torrent" / "d").read_bytes()
    last = pieces_of(seeded.parent / "other")[7]
    with Storage(torrent, seeded) as first, Storage(rival, seeded, overwrite=overwrite) as second:
        first.check(pieces=first.restore())
        second.check(pieces=second.restore())
        assert second.have.count() == len(second.have) - 1
        with pytest.raises(StorageError, match="another torrent of this program"):
            second.write_piece(7, last)
    assert (seeded / "torrent" / "d").read_bytes() == before


def test_files_that_the_first_does_not_want_are_free(torrent: Torrent, rival: Torrent, folder: Path) -> None:
    with Storage(torrent, folder, selected=[B]) as first, Storage(rival, folder, selected=[D]) as second:
        for storage in (first, second):
            storage.check(pieces=storage.restore())
            storage.prepare()


def test_torrents_of_the_same_contents_may_share_a_path(torrent: Torrent, folder: Path, pieces: list[bytes]) -> None:
    info = torrent.info_bytes[:-1] + b"6:source5:othere"
    same = Torrent.from_info(info)
    assert same.info_hash != torrent.info_hash
    with Storage(torrent, folder) as first, Storage(same, folder) as second:
        for storage in (first, second):
            storage.check(pieces=storage.restore())
            storage.prepare()
        first.write_piece(0, pieces[0])
        assert second.write_piece(7, pieces[7])


def test_the_first_torrent_goes_on_after_a_second_one_was_refused(
    torrent: Torrent, rival: Torrent, folder: Path, pieces: list[bytes]
) -> None:
    with Storage(torrent, folder, max_open_files=1) as first, Storage(rival, folder) as second:
        first.check(pieces=first.restore())
        first.prepare()
        second.check(pieces=second.restore())
        refused(second.prepare)
        for piece, data in enumerate(pieces):
            assert first.write_piece(piece, data)


def test_of_two_torrents_that_begin_at_once_one_gets_the_path(
    torrent: Torrent, rival: Torrent, folder: Path, pieces: list[bytes]
) -> None:
    errors: list[StorageError] = []

    def prepare(storage: Storage) -> None:
        try:
            storage.prepare()
        except StorageError as error:
            errors.append(error)

    with Storage(torrent, folder) as first, Storage(rival, folder) as second:
        threads = [threading.Thread(target=prepare, args=[storage]) for storage in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [error.errno for error in errors] == [errno.EEXIST]


def test_a_file_of_the_user_is_not_taken_for_one_that_another_torrent_shares(torrent: Torrent, folder: Path) -> None:
    own = folder / "torrent" / "a"
    own.write_bytes(b"precious")
    same = Torrent.from_info(torrent.info_bytes[:-1] + b"6:source5:othere")
    with Storage(torrent, folder) as first, Storage(same, folder) as second:
        for storage in (first, second):
            storage.check(pieces=storage.restore())
        for storage in (first, second):
            refused(storage.prepare)
    assert own.read_bytes() == b"precious"


def test_a_closed_storage_claims_nothing(torrent: Torrent, rival: Torrent, folder: Path, pieces: list[bytes]) -> None:
    with Storage(torrent, folder) as first:
        first.restore()
        first.prepare()
    with Storage(rival, folder) as second:
        second.check(pieces=second.restore())
        second.prepare()


# ------------------------------------------------------------------ files that change under us


def change(path: Path, how: str) -> None:
    status = path.stat()
    with open(path, "r+b") as file:
        if how == "grows":
            file.seek(0, os.SEEK_END)
        if how != "touched":
            file.write(b"!")
        if how == "shrinks":
            file.truncate(status.st_size - 1)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


@pytest.mark.parametrize(
    ("how", "left"), [("changed", "11100111"), ("shrinks", "11100110"), ("grows", "11101111"), ("touched", "11101111")]
)
def test_a_changed_file_is_not_read_before_it_is_hashed(torrent: Torrent, seeded: Path, how: str, left: str) -> None:
    with open(seeded / "torrent" / "c", "r+b") as file:
        file.seek(-900, os.SEEK_END)
        file.write(b"wrong")
    with Storage(torrent, seeded) as storage:
        storage.check(pieces=storage.restore())
        assert storage.have.to01() == "11101111"
        storage.read(6, 0, 10)
        change(seeded / "torrent" / "d", how)
        assert storage.read_cached(6, 0, 10) is None
        with pytest.raises(ChangedData):
            storage.read(6, 0, 10)
        assert storage.have.to01() == "11100000"
        assert storage.read(0, 0, 10)
        assert storage.check().to01() == left


def test_our_own_writing_is_no_change(torrent: Torrent, folder: Path, pieces: list[bytes]) -> None:
    with Storage(torrent, folder) as storage:
        storage.restore()
        storage.prepare()
        for piece, data in enumerate(pieces):
            storage.write_piece(piece, data)
            storage.checkpoint()
            assert storage.read(piece, 0, len(data)) == data


def test_a_file_that_has_grown_is_cut_at_the_end(torrent: Torrent, folder: Path, pieces: list[bytes]) -> None:
    with Storage(torrent, folder) as storage:
        storage.restore()
        storage.prepare()
        for piece, data in enumerate(pieces):
            storage.write_piece(piece, data)
        with open(folder / "torrent" / "d", "ab") as file:
            file.write(b"tail")
        with pytest.raises(ChangedData):
            storage.finish()
        assert storage.check().all()
        storage.finish()
        storage.finish()
    assert (folder / "torrent" / "d").stat().st_size == LENGTHS["d"]


@pytest.mark.parametrize("how", ["deleted", "replaced", "moved"])
def test_a_file_that_is_gone_is_found_at_the_end(torrent: Torrent, folder: Path, pieces: list[bytes], how: str) -> None:
    with Storage(torrent, folder) as storage:
        storage.restore()
        storage.prepare()
        for piece, data in enumerate(pieces):
            storage.write_piece(piece, data)
        (folder / "torrent" / "a").rename(folder / "elsewhere")
        if how == "deleted":
            (folder / "elsewhere").unlink()
        if how == "replaced":
            (folder / "torrent" / "a").write_bytes(bytes(LENGTHS["a"]))
        with pytest.raises((MissingData, ChangedData)):
            storage.finish()
        assert not storage.have[0]
        if how == "replaced":
            refused(storage.prepare)
            (folder / "torrent" / "a").unlink()
        storage.prepare()
        for piece in (0, 1):
            storage.write_piece(piece, pieces[piece])
        storage.finish()
        assert storage.check().all()


# ------------------------------------------------------------------ the record


def test_pieces_that_are_wrong_are_withdrawn_from_the_record(torrent: Torrent, seeded: Path) -> None:
    with Storage(torrent, seeded) as storage:
        storage.check(pieces=storage.restore())
        storage.checkpoint()
    path = seeded / "torrent" / "d"
    status = path.stat()
    with open(path, "r+b") as file:
        file.seek(1500)
        file.write(b"rot")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with Storage(torrent, seeded) as storage:
        storage.check()
        assert storage.withdraw()
        assert not storage.withdraw()
    with Storage(torrent, seeded) as storage:
        assert not storage.restore().any()
        assert storage.have.to01() == "11111011"


# ------------------------------------------------------------------ one file that cannot be read


def test_an_unreadable_file_costs_its_own_pieces(
    torrent: Torrent, seeded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens = os.open

    def broken(path: object, *arguments: int) -> int:
        if str(path).endswith("/torrent/a"):
            raise OSError(errno.EIO, "Input/output error")
        return opens(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", broken)
    errors: list[StorageError] = []
    storage = Storage(torrent, seeded)
    assert storage.check(on_error=errors.append).to01() == "00111111"
    assert {error.errno for error in errors} == {errno.EIO}


def test_a_shortage_of_descriptors_closes_files_that_are_not_in_use(
    torrent: Torrent, seeded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens, is_short = os.open, [True]
    storage = Storage(torrent, seeded)
    storage.check()
    storage.read(0, 0, 10)

    def short(path: object, *arguments: int) -> int:
        if str(path).endswith("/torrent/d") and is_short:
            is_short.pop()
            raise OSError(errno.EMFILE, "Too many open files")
        return opens(path, *arguments)  # type: ignore[arg-type]

    storage.close()
    storage = Storage(torrent, seeded)
    storage.verify_piece(0)
    monkeypatch.setattr(os, "open", short)
    assert storage.verify_piece(7)


def test_open_files_are_shared_by_all_storages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not os.path.isdir("/dev/fd"):
        pytest.skip("open files cannot be counted here")
    monkeypatch.setattr(limits, "OPEN_FILES", 20)
    before = len(os.listdir("/dev/fd"))
    storages = []
    for number in range(60):
        (tmp_path / f"f{number}").write_bytes(bytes([number]) * 100)
        storages.append(Storage(create_torrent(tmp_path / f"f{number}"), tmp_path))
        assert storages[-1].check(pieces=storages[-1].restore()).all()
    # One more for the lock of the folder.
    assert len(os.listdir("/dev/fd")) <= before + 21
    for storage in storages:
        storage.close()
    assert len(os.listdir("/dev/fd")) <= before


# ------------------------------------------------------------------ links and names


@needs_links
@pytest.mark.parametrize("is_folder", [True, False])
def test_a_link_to_the_torrents_own_file_or_folder_is_read_and_never_written_to(
    tmp_path: Path, seeded: Path, torrent: Torrent, pieces: list[bytes], is_folder: bool
) -> None:
    target = seeded / "torrent" if is_folder else seeded / "torrent" / "d"
    linked = torrent if is_folder else create_torrent(target, piece_length=PIECE)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / linked.name).symlink_to(target)
    assert locate(linked, tmp_path / "links" / linked.name) == tmp_path / "links"
    with Storage(linked, tmp_path / "links") as storage:
        assert storage.check(pieces=storage.restore()).all()
        assert storage.read(0, 0, 10)
        data = storage.read(1, 0, PIECE)
        with pytest.raises(StorageError, match="nothing is written") as caught:
            storage.write_piece(1, data)
        assert caught.value.errno == errno.ELOOP


@needs_links
def test_a_link_within_a_linked_folder_is_not_followed(tmp_path: Path, seeded: Path, torrent: Torrent) -> None:
    (seeded / "torrent" / "a").rename(seeded / "elsewhere")
    (seeded / "torrent" / "a").symlink_to(seeded / "elsewhere")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "torrent").symlink_to(seeded / "torrent")
    with pytest.raises(StorageError, match="not followed"):
        Storage(torrent, tmp_path / "links").verify_piece(0)


@pytest.mark.skipif(os.name != "posix" or os.uname().sysname == "Darwin", reason="names are not bytes here")
@pytest.mark.parametrize("name", [b"caf\xe9", b"a\\b", b"tab\there", "\u202eexe.txt".encode(), b"\xff\xfe"])
@pytest.mark.parametrize("is_folder", [True, False])
def test_data_under_the_raw_name_is_found(tmp_path: Path, name: bytes, is_folder: bool) -> None:
    home = os.fsencode(tmp_path)
    files = {"files": [{"length": 5, "path": [name]}], "name": name} if is_folder else {"length": 5, "name": name}
    info = {
        **files,
        "piece length": PIECE,
        "pieces": b"\xaa\xf4\xc6\x1d\xdc\xc5\xe8\xa2\xda\xbe\xde\x0f;H,\xd9\xae\xa9CM",
    }
    torrent = Torrent.from_info(encode(info))
    if is_folder:
        os.mkdir(os.path.join(home, name))
    path = os.path.join(home, name, name) if is_folder else os.path.join(home, name)
    Path(os.fsdecode(path)).write_bytes(b"hello")
    assert locate(torrent, tmp_path) == tmp_path
    storage = Storage(torrent, tmp_path)
    assert storage.check().all()
    assert storage.path(0) == Path(os.fsdecode(path))


@pytest.mark.parametrize("name", [b"..", b"a/../../x", b"\0x"])
def test_a_raw_name_that_could_lead_elsewhere_is_never_used(name: bytes) -> None:
    info = {"files": [{"length": 5, "path": [name]}], "name": "t", "piece length": PIECE, "pieces": bytes(20)}
    assert Torrent.from_info(encode(info)).files[0].raw_path is None


def test_a_path_that_is_too_long_fails_only_its_file(tmp_path: Path) -> None:
    data = os.urandom(3 * PIECE)
    deep = ["x" * 250] * 20
    files = [{"length": PIECE + 100, "path": ["a"]}, {"length": 500, "path": deep}]
    files.append({"length": len(data) - PIECE - 600, "path": ["c"]})
    hashes = b"".join(hashlib.sha1(data[at : at + PIECE]).digest() for at in range(0, len(data), PIECE))
    torrent = Torrent.from_info(encode({"files": files, "name": "t", "piece length": PIECE, "pieces": hashes}))
    for _ in range(2):
        with Storage(torrent, tmp_path) as storage:
            storage.check(pieces=storage.restore())
            storage.prepare()
            for piece in range(3):
                assert storage.write_piece(piece, data[piece * PIECE : (piece + 1) * PIECE])
            storage.finish()
            storage.checkpoint()
            assert storage.read(1, 0, PIECE) == data[PIECE : 2 * PIECE]
    assert sorted(os.listdir(tmp_path / "t")) == ["a", "c"]
    with Storage(torrent, tmp_path) as storage:
        assert not storage.restore().any()
        assert storage.complete
