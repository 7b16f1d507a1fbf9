"""Downloads into, and seeds from, backends that are not the disk."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

import geventbt
from geventbt import MemoryBackend, StorageError, Torrent, limits
from tests.loopback.world import PIECE, World, address, eventually, remains


def in_memory(backends: list[MemoryBackend], torrent: Torrent, folder: Path) -> MemoryBackend:
    backends.append(MemoryBackend(torrent, folder))
    return backends[-1]


@pytest.fixture
def backends() -> list[MemoryBackend]:
    """The backends that have been made."""
    return []


@pytest.fixture
def torrent(world: World) -> Torrent:
    return world.torrent()


def contents(backend: MemoryBackend) -> bytes:
    return b"".join(backend.read(index, 0, file.length) for index, file in enumerate(backend.torrent.files))


def filled(world: World, torrent: Torrent) -> MemoryBackend:
    """A backend that has all data of a torrent."""
    backend = MemoryBackend(torrent)
    for index, file in enumerate(torrent.files):
        backend.write(index, 0, world.origin.joinpath(*file.path).read_bytes())
    return backend


def test_a_whole_download_into_memory(world: World, torrent: Torrent, backends: list[MemoryBackend]):
    seed = world.seed(torrent)
    geventbt.download(
        torrent,
        world.folder / "out",
        peers=[address(seed)],
        port=None,
        storage=lambda torrent, folder: in_memory(backends, torrent, folder),
    )
    assert contents(backends[0]) == world.data(torrent)
    assert not (world.folder / "out").exists()


class StuckBackend(MemoryBackend):
    """Writes no more than it is allowed to."""

    allowed = threading.Semaphore(0)

    def write(self, file: int, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Wait to be allowed to."""
        assert self.allowed.acquire(timeout=20)
        super().write(file, offset, data)


def test_what_waits_for_the_disk_is_bounded(world: World, torrent: Torrent, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "DISK_QUEUE", 4 * PIECE)
    job = world.download(torrent, [address(world.seed(torrent))], storage=StuckBackend)
    # The last piece, which is shorter, may be one of the four.
    eventually(lambda: job.downloaded > 3 * PIECE)
    remains(lambda: job.downloaded <= 4 * PIECE, 0.2)
    for _ in range(10 * torrent.geometry.pieces):
        StuckBackend.allowed.release()
    assert job.wait(10)


def test_a_download_from_a_seed_in_memory(world: World, torrent: Torrent):
    backend = filled(world, torrent)
    with geventbt.seed(torrent, address=("127.0.0.1", 0), storage=lambda torrent, folder: backend) as seed:
        assert world.download(torrent, [address(seed)]).wait(10)
    for file in torrent.files:
        assert world.folder.joinpath("out", *file.path).read_bytes() == world.origin.joinpath(*file.path).read_bytes()


def test_from_memory_to_memory_and_on(world: World, torrent: Torrent):
    backend = filled(world, torrent)
    first = geventbt.seed(torrent, address=("127.0.0.1", 0), storage=lambda torrent, folder: backend)
    world.clients.append(first)
    middle = world.client()
    active = world.download(torrent, [address(first)], client=middle, storage=MemoryBackend)
    assert active.wait(10)
    first.close()
    last = world.download(torrent, [address(middle)], storage=MemoryBackend, folder="last")
    assert last.wait(10)
    with last.open(0) as file:
        assert file.read(1000) == world.data(torrent)[:1000]
    assert not (world.folder / "out").exists()


def test_a_seed_that_lacks_data_in_memory_fails(torrent: Torrent):
    with pytest.raises(StorageError, match="pieces of 'data' are missing"):
        geventbt.seed(torrent, address=("127.0.0.1", 0), storage=MemoryBackend)


def test_a_seed_whose_data_cannot_be_read_says_why_and_is_over(torrent: Torrent):
    class Unreadable(MemoryBackend):
        def size(self, file: int) -> int:
            return self.torrent.files[file].length

        def read_into(self, file: int, offset: int, view: memoryview) -> None:
            raise StorageError(errno.EIO, "no answer from the store")

    with pytest.raises(StorageError, match=r"pieces of 'data' are missing .*no answer from the store"):
        geventbt.seed(torrent, address=("127.0.0.1", 0), storage=Unreadable)


def test_only_the_wanted_files_are_fetched_into_memory(world: World, torrent: Torrent, backends: list[MemoryBackend]):
    active = world.download(
        torrent,
        [address(world.seed(torrent))],
        files=["data/a"],
        storage=lambda torrent, folder: in_memory(backends, torrent, folder),
    )
    assert active.wait(10)
    assert backends[0].read(0, 0, 400_001) == world.data(torrent)[:400_001]
    assert not active.pieces.all()


def test_a_backend_that_cannot_be_made_fails_the_torrent(world: World, torrent: Torrent):
    def refuse(torrent: Torrent, folder: Path) -> MemoryBackend:
        raise StorageError("the store is closed")

    active = world.download(torrent, [], storage=refuse)
    with pytest.raises(StorageError, match="the store is closed"):
        active.wait(10)
    assert active.state == "failed"
