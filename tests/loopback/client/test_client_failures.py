"""Failures of the disk, and of what is on it."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import gevent
import pytest

import geventbt
from geventbt import ActiveTorrent, Client, StorageError, limits
from geventbt.storage import Storage
from tests.loopback.world import PIECE, World, address, done_soon, eventually, hear


@pytest.fixture
def torrent(world: World) -> geventbt.Torrent:
    """31 pieces."""
    return world.torrent()


class Disk:
    """A disk that fails when it is told to.

    Attributes:
        writes, reads: the errno that they fail with below `folder`, or None.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writes: int | None = None
        self.reads: int | None = None
        self.folder = ""
        self._pwrite, self._pread, self._preadv = os.pwrite, os.pread, os.preadv
        monkeypatch.setattr(os, "pwrite", self._fail_writes)
        monkeypatch.setattr(os, "pread", self._fail_reads)
        monkeypatch.setattr(os, "preadv", self._fail_reads_into)

    def _fail(self, descriptor: int, error: int | None) -> None:
        if error is not None and os.readlink(f"/proc/self/fd/{descriptor}").startswith(self.folder):
            raise OSError(error, os.strerror(error))

    def _fail_writes(self, descriptor: int, *arguments: Any) -> int:
        self._fail(descriptor, self.writes)
        return self._pwrite(descriptor, *arguments)

    def _fail_reads(self, descriptor: int, *arguments: Any) -> bytes:
        self._fail(descriptor, self.reads)
        return self._pread(descriptor, *arguments)

    def _fail_reads_into(self, descriptor: int, *arguments: Any) -> int:
        self._fail(descriptor, self.reads)
        return self._preadv(descriptor, *arguments)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, world: World) -> Disk:
    made = Disk(monkeypatch)
    made.folder = str(world.folder)
    return made


def failure_of(job: ActiveTorrent) -> StorageError:
    """The error with which a torrent fails."""
    eventually(lambda: job.error, 20)
    with pytest.raises(StorageError) as caught:
        job.wait(20)
    assert job.state == "failed"
    return caught.value


def assert_still_useful(world: World, client: Client) -> None:
    """Fail unless a client can download another torrent."""
    other = world.torrent("other", a=100_000)
    job = world.download(other, world.seeds(other, 1), folder="other", client=client)
    assert done_soon(job)
    world.assert_complete(other, "other")


# --- writing ---


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_write_that_fails_fails_the_torrent_and_no_other(world: World, torrent, disk, error):
    client = world.client()
    job = world.download(torrent, [], client=client)
    eventually(lambda: job.state == "downloading")
    disk.folder, disk.writes = str(world.folder / "out"), error
    job.add_peers(world.seeds(torrent, 2))
    raised = failure_of(job)
    assert raised.errno == error
    assert Path(raised.filename).is_relative_to(world.folder / "out" / "data")
    assert not job.pieces.any()
    eventually(lambda: not job.peers)
    assert_still_useful(world, client)


def test_a_torrent_whose_disk_was_full_can_be_removed_and_added_again(world: World, torrent, disk):
    seeds = world.seeds(torrent, 1)
    client = world.client()
    job = world.download(torrent, seeds, client=client, limit_down=400_000)
    eventually(lambda: job.pieces.count() > 3)
    there = job.pieces.count()
    disk.folder, disk.writes = str(world.folder / "out"), errno.ENOSPC
    failure_of(job)
    job.remove()
    disk.writes = None
    job = world.download(torrent, seeds, client=client)
    assert done_soon(job)
    assert job.progress.downloaded <= torrent.geometry.length - (there - 1) * PIECE
    world.assert_complete(torrent)


def test_a_folder_that_cannot_be_made_is_said(world: World, torrent):
    (world.folder / "out").write_bytes(b"a file")
    raised = failure_of(world.download(torrent, []))
    assert raised.errno in (errno.ENOTDIR, errno.EEXIST)
    assert raised.filename


def test_a_file_in_the_place_of_the_torrents_folder_is_said(world: World, torrent):
    (world.folder / "out").mkdir()
    (world.folder / "out" / "data").write_bytes(b"a file")
    raised = failure_of(world.download(torrent, []))
    assert raised.errno in (errno.ENOTDIR, errno.EEXIST)


def test_a_full_disk_when_more_files_are_selected_is_raised_and_told(world: World, torrent, monkeypatch):
    job = world.download(torrent, [], files=["b"])
    eventually(lambda: job.files)

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "ftruncate", full)
    with pytest.raises(StorageError) as caught:
        job.select(["a"])
    assert caught.value.errno == errno.ENOSPC


# --- reading while seeding ---


def test_a_seed_that_cannot_read_serves_again_when_it_can(world: World, torrent, disk, monkeypatch):
    monkeypatch.setattr(limits, "DISK_RETRY_FIRST", 0.2)
    client = world.seed(torrent)
    (seed,) = client.torrents.values()
    disk.folder, disk.reads = str(world.origin), errno.EIO
    job = world.download(torrent, [address(client)])
    eventually(lambda: not seed.pieces.all())
    assert seed.state == "seeding"
    disk.reads = None
    assert done_soon(job)
    eventually(lambda: seed.pieces.all())


@pytest.mark.parametrize("harm", ["shrinks", "vanishes", "is replaced", "folder vanishes"])
def test_a_file_that_is_harmed_while_it_is_seeded_costs_its_own_pieces_only(world: World, torrent, harm):
    client = world.seed(torrent)
    (seed,) = client.torrents.values()
    lost = hear(seed, "piece_lost")
    path = world.origin / "data" / "c"
    if harm == "shrinks":
        os.truncate(path, 1000)
    elif harm == "vanishes":
        path.unlink()
    elif harm == "is replaced":
        path.unlink()
        path.write_bytes(b"something else")
    else:
        shutil.rmtree(world.origin / "data")
    job = world.download(torrent, [address(client)])
    kept = 0 if harm == "folder vanishes" else 12
    gone = set(range(kept, torrent.geometry.pieces))
    eventually(lambda: seed.pieces.count() == kept and {index for _, index in lost} == gone)
    assert seed.state == "seeding"
    assert not job.done
    assert not job.banned
    shutil.rmtree(world.origin / "data", ignore_errors=True)
    assert_still_useful(world, client)


@pytest.mark.parametrize("harm", ["file", "folder"])
def test_what_vanishes_while_it_is_downloaded_fails_the_torrent(world: World, torrent, harm):
    client = world.client()
    job = world.download(torrent, world.seeds(torrent, 1), client=client, limit_down=300_000)
    eventually(lambda: job.pieces.count() > 2)
    if harm == "file":
        (world.folder / "out/data/a").unlink()
        (world.folder / "out/data/c").unlink()
    else:
        shutil.rmtree(world.folder / "out")
    raised = failure_of(job)
    assert raised.errno == errno.ENOENT
    assert raised.filename
    assert_still_useful(world, client)


def test_a_file_that_is_cut_short_while_it_is_downloaded_fails_the_torrent(world: World, torrent):
    job = world.download(torrent, world.seeds(torrent, 1), limit_down=300_000)
    eventually(lambda: job.pieces[:10].any())
    os.truncate(world.folder / "out/data/a", 0)
    raised = failure_of(job)
    assert raised.filename == str(world.folder / "out/data/a")
    # One that was being written may have made the file anew.
    with Storage(torrent, world.folder / "out") as storage:
        assert not (job.pieces & ~storage.check()).any()


def test_a_disk_that_fails_at_the_very_end_fails_the_download(world: World, torrent, monkeypatch):
    def fail(descriptor: int) -> None:
        if job.pieces.any():
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fail)
    job = world.download(torrent, world.seeds(torrent, 1), limit_down=500_000)
    with pytest.raises(StorageError) as caught:
        job.wait(30)
    assert caught.value.errno == errno.EIO


def test_a_folder_that_is_moved_away_fails_the_download(world: World, torrent):
    job = world.download(torrent, world.seeds(torrent, 1), limit_down=900_000)
    eventually(lambda: job.pieces.any())
    (world.folder / "out").rename(world.folder / "elsewhere")
    with pytest.raises(StorageError) as caught:
        job.wait(30)
    assert caught.value.errno == errno.ENOENT


def test_a_reader_whose_file_vanishes_gets_the_error_and_does_not_wait_for_ever(world: World, torrent):
    client = world.seed(torrent)
    (seed,) = client.torrents.values()
    (world.origin / "data" / "c").unlink()
    for _ in range(2):
        with pytest.raises(StorageError), gevent.Timeout(10), seed.open("c") as file:
            file.read(10)
    assert seed.state == "seeding"


def test_nobody_is_sent_a_wrong_byte_when_a_file_is_changed(world: World, torrent):
    """The same length, other bytes: they are hashed before more of the file is sent."""
    client = world.seed(torrent)
    path = world.origin / "data" / "c"
    path.write_bytes(bytes(path.stat().st_size))
    job = world.download(torrent, [address(client)])
    failed = hear(job, "piece_failed")
    eventually(lambda: job.pieces.count() == 12, 30)
    assert not failed
    assert not job.banned
    (seed,) = client.torrents.values()
    assert seed.pieces.count() == 12


# --- what must not be needed ---


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """A folder that cannot be written, also for root, whom permissions do not keep from anything."""
    make, opens = Path.mkdir, os.open

    def refuse(path: Any) -> None:
        if str(path).startswith(str(world.origin)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def mkdir(path: Path, *arguments: Any, **options: Any) -> None:
        refuse(path)
        make(path, *arguments, **options)

    def open_(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            refuse(path)
        return opens(path, flags, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(os, "open", open_)


def test_a_read_only_folder_can_be_seeded(world: World, torrent, read_only):
    client = world.seed(torrent)
    job = world.download(torrent, [address(client)])
    assert done_soon(job)
    world.assert_complete(torrent)
    assert not (world.origin / ".geventbt").exists()


def test_a_complete_torrent_in_a_read_only_folder_is_done(world: World, torrent, read_only):
    job = world.client().add(torrent, world.origin)
    assert done_soon(job)
    with job.open("b") as file:
        assert file.read(100) == (world.origin / "data" / "b").read_bytes()


def test_two_seeds_of_one_folder_do_not_disturb_each_other(world: World, torrent):
    one, other = world.seed(torrent), world.seed(torrent)
    jobs = [world.download(torrent, [address(client)], folder=f"of{client.port}") for client in (one, other)]
    assert all(job.wait(30) for job in jobs)


def test_a_seed_that_lacks_something_says_what(world: World, torrent):
    path = world.origin / "data" / "c"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    job = world.client().add(torrent, world.origin, seed_only=True)
    with pytest.raises(StorageError, match="1 of 31 pieces"):
        job.wait(10)
    assert path.read_bytes() == data


# --- after a failure ---


def test_a_failed_torrent_can_be_looked_at_and_asked_anything(world: World, torrent, disk, monkeypatch):
    monkeypatch.setattr(limits, "DISK_RETRY_FIRST", 100.0)
    job = world.download(torrent, [])
    eventually(lambda: job.state == "downloading")
    disk.folder, disk.writes = str(world.folder / "out"), errno.EIO
    job.add_peers(world.seeds(torrent, 1))
    failure_of(job)
    job.pause()
    job.add_peers([("127.0.0.1", 1)])
    job.set_limits(down=100)
    job.sequential = True
    with pytest.raises(StorageError):
        job.select(["a"])
    with pytest.raises(StorageError), job.open("a") as file:
        file.read(1)
    assert job.state == "failed"
    assert job.progress.done == 0


def test_what_was_verified_before_a_crash_is_not_fetched_again(world: World, torrent):
    """The torrent is not closed properly: its record is all that is left, as after kill -9."""
    seed = world.seed(torrent, limit_up=300_000)
    job = world.download(torrent, [address(seed)])
    eventually(lambda: job.pieces.count() > 5)
    assert job.storage is not None
    job.storage.checkpoint()
    there = job.pieces.count()
    shutil.copytree(world.folder / "out", world.folder / "after", copy_function=shutil.copy2)
    job.remove()
    seed.set_limits()
    with Storage(torrent, world.folder / "after") as storage:
        suspect = storage.restore()
        # Copies look different from what was recorded, but hardly anything need be fetched.
        storage.check(pieces=suspect)
        assert storage.have.count() >= there
    job = world.download(torrent, [address(seed)], folder="after")
    assert done_soon(job)
    assert job.progress.downloaded <= torrent.geometry.length - (there - 1) * PIECE
    world.assert_complete(torrent, "after")


def test_files_are_made_with_the_rights_that_the_user_gives_files(world: World, torrent):
    job = world.download(torrent, world.seeds(torrent, 1))
    assert done_soon(job)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((world.folder / "out/data/a").stat().st_mode) == 0o666 & ~umask
