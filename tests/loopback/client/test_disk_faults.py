"""Faults of the disk in a running client: they cost what they touch, pass by themselves, and harm no other file."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent
import pytest

import geventbt
from geventbt import ActiveTorrent, StorageError, Torrent, limits
from tests.loopback.world import World, address, done_soon, eventually, hear

resource = pytest.importorskip("resource", reason="no limits of processes here")


@pytest.fixture
def torrent(world: World) -> Torrent:
    return world.torrent()


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DISK_RETRY_FIRST", 0.3)
    monkeypatch.setattr(limits, "FIRST_RETRY", 0.1)


@contextmanager
def files_of_at_most(size: int) -> Iterator[Callable[[], None]]:
    """A limit on the size of files, as a full disk would be. Yields what ends it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fails(job: ActiveTorrent) -> StorageError:
    """The error of a torrent that the disk stops."""
    with pytest.raises(StorageError) as caught:
        job.wait(20)
    return caught.value


@pytest.mark.parametrize("asks", [True, False])
def test_a_download_goes_on_when_there_is_room_again(world: World, torrent: Torrent, asks: bool) -> None:
    with files_of_at_most(300_000) as end:
        job = world.download(torrent, world.seeds(torrent, 1))
        assert fails(job).errno == errno.EFBIG
        assert job.state == "failed"
        end()
    if asks:
        job.resume()
    eventually(lambda: job.state == "seeding", 20)
    assert job.error is None
    assert job.wait(1)
    world.assert_complete(torrent)


def test_what_is_there_is_served_while_there_is_no_room(
    world: World, torrent: Torrent, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite

    def write(descriptor: int, data: memoryview, offset: int) -> int:
        if offset > 200_000 and "/out/" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", write)
    client = world.client()
    job = world.download(torrent, world.seeds(torrent, 1), client=client, sequential=True)
    assert fails(job).errno == errno.ENOSPC
    assert job.pieces.count() >= 5
    other = world.download(torrent, [address(client)], folder="other")
    eventually(lambda: other.pieces.count() == job.pieces.count())


def test_a_torrent_that_waits_for_room_can_be_removed(world: World, torrent: Torrent) -> None:
    with files_of_at_most(1000):
        client = world.client()
        job = world.download(torrent, [], client=client)
        fails(job)
        job.remove()
        assert not client.torrents


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_a_lack_of_descriptors_is_no_failure(
    world: World, torrent: Torrent, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    opens, is_short = os.open, [True]

    def short(path: object, *arguments: int) -> int:
        if is_short[0] and "/out/" in str(path):
            raise OSError(number, os.strerror(number))
        return opens(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", short)
    job = world.download(torrent, world.seeds(torrent, 1))
    assert not job.wait(1)
    assert job.error is None
    is_short[0] = False
    assert done_soon(job)


# ------------------------------------------------------------------ files of the user


def test_a_file_of_the_user_is_kept_unless_it_may_be_overwritten(world: World, torrent: Torrent) -> None:
    own = world.folder / "out" / "data" / "a"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"precious" * 100_000)
    seeds = world.seeds(torrent, 1)
    client = world.client()
    job = world.download(torrent, seeds, client=client)
    assert fails(job).errno == errno.EEXIST
    assert own.read_bytes() == b"precious" * 100_000
    job.remove()
    assert done_soon(world.download(torrent, seeds, client=client, overwrite=True))
    world.assert_complete(torrent)


def test_a_torrent_that_was_refused_goes_on_when_the_file_is_moved_away(world: World, torrent: Torrent) -> None:
    own = world.folder / "out" / "data" / "a"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"precious")
    job = world.download(torrent, world.seeds(torrent, 1))
    fails(job)
    own.rename(world.folder / "elsewhere")
    job.resume()
    eventually(lambda: job.state == "seeding", 20)


def test_the_same_data_may_be_in_two_torrents_of_a_client(world: World, torrent: Torrent) -> None:
    same = world.made(Torrent.from_info(torrent.info_bytes[:-1] + b"6:source5:othere"))
    seed = world.seed(torrent)
    assert seed.add(same, world.origin, seed_only=True).wait(20)
    client = world.client()
    jobs = [world.download(each, [address(seed)], client=client) for each in (torrent, same)]
    assert all(map(done_soon, jobs))
    world.assert_complete(torrent)


# ------------------------------------------------------------------ files that change


def harm(path: Path, how: str) -> None:
    """Change a file behind the client's back."""
    if how == "deleted":
        path.unlink()
    elif how == "replaced":
        path.unlink()
        path.write_bytes(b"x" * 600_000)
    elif how == "cut":
        os.truncate(path, 10)
    else:
        with open(path, "r+b") as file:
            file.write(b"x" * 10)


@pytest.mark.parametrize("how", ["deleted", "replaced", "cut"])
def test_what_is_harmed_during_a_download_fails_it_and_the_rest_is_served(
    world: World, torrent: Torrent, how: str
) -> None:
    client = world.client()
    job = world.download(torrent, world.seeds(torrent, 1), client=client, limit_down=400_000)
    lost = hear(job, "piece_lost")
    eventually(lambda: job.pieces[14:].count() > 2 and job.pieces[:12].count() > 2)
    before = {("piece_lost", piece) for piece in job.pieces.search(1) if piece >= 14}
    harm(world.folder / "out" / "data" / "c", how)
    fails(job)
    # A piece that was on its way is written to what is left of the file, or to a new one.
    eventually(lambda: before <= set(lost))
    assert job.pieces[:12].any()
    other = world.download(torrent, [address(client)], folder="other")
    eventually(lambda: other.pieces == job.pieces)
    assert not other.banned


def test_a_file_that_is_only_touched_costs_nothing(world: World, torrent: Torrent) -> None:
    client = world.client()
    job = world.download(torrent, world.seeds(torrent, 1), client=client)
    lost = hear(job, "piece_lost")
    assert done_soon(job)
    os.utime(world.folder / "out" / "data" / "c", ns=(1, 1))
    other = world.download(torrent, [address(client)], folder="other")
    assert done_soon(other)
    assert not lost
    assert job.state == "seeding"


# ------------------------------------------------------------------ check()


def rot(path: Path) -> None:
    """Change a byte, the size and the time as they were."""
    status = path.stat()
    with open(path, "r+b") as file:
        byte = file.read(1)
        file.seek(0)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_check_finds_what_has_rotted_and_it_is_fetched_again(world: World, torrent: Torrent) -> None:
    job = world.download(torrent, world.seeds(torrent, 1))
    lost = hear(job, "piece_lost")
    assert done_soon(job)
    rot(world.folder / "out" / "data" / "a")
    assert job.check().count(0) == 1
    assert done_soon(job)
    world.assert_complete(torrent)
    gevent.sleep(0)
    assert lost == [("piece_lost", 0)]


def test_a_check_of_a_seed_only_tells(world: World, torrent: Torrent) -> None:
    client = world.seed(torrent)
    (seed,) = client.torrents.values()
    rot(world.origin / "data" / "a")
    assert seed.check().count(0) == 1
    assert seed.wait(10)
    assert seed.state == "seeding"
    job = world.download(torrent, [address(client)])
    eventually(lambda: job.pieces.count() == torrent.geometry.pieces - 1)
    assert not job.banned


def test_a_check_at_the_start_trusts_no_record(world: World, torrent: Torrent) -> None:
    seeds = world.seeds(torrent, 1)
    geventbt.download(torrent, world.folder / "out", peers=seeds, port=None)
    rot(world.folder / "out" / "data" / "a")
    geventbt.download(torrent, world.folder / "out", peers=seeds, port=None)
    with pytest.raises(AssertionError):
        world.assert_complete(torrent)
    geventbt.download(torrent, world.folder / "out", peers=seeds, port=None, check=True)
    world.assert_complete(torrent)


def test_files_without_bytes_are_told_as_complete(world: World) -> None:
    torrent = world.torrent(a=0, b=50_000, c=0)
    job = world.download(torrent, world.seeds(torrent, 1))
    heard = hear(job, "file_complete")
    assert done_soon(job)
    eventually(lambda: sorted(index for _, index in heard) == [0, 1, 2])
