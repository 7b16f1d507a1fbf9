"""Peers of a torrent whose data is being checked."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from geventbt import ActiveTorrent, Magnet, MemoryBackend, Torrent
from geventbt.client.torrent.file_map import FileMap
from tests.loopback.world import World, address, eventually, remains

PIECE = 512 * 1024
"""As much as is read at a time."""


class SlowBackend(MemoryBackend):
    """Has all data at once, and lets no more of it be hashed than pieces were allowed."""

    allowed = threading.Semaphore(0)

    def __init__(self, torrent: Torrent, folder: str | os.PathLike[str]) -> None:
        super().__init__(torrent, folder)
        for file, each in enumerate(torrent.files):
            with open(os.path.join(folder, *each.path), "rb") as data:
                self.write(file, 0, data.read())

    def read_into(self, file: int, offset: int, view: memoryview) -> None:
        """Wait to be allowed to."""
        assert self.allowed.acquire(timeout=20)
        super().read_into(file, offset, view)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Semaphore]:
    """Lets pieces be hashed."""
    semaphore = threading.Semaphore(0)
    monkeypatch.setattr(SlowBackend, "allowed", semaphore)
    yield semaphore
    semaphore.release(1000)


def checking(world: World, torrent: Torrent) -> ActiveTorrent:
    """A torrent that is being checked."""
    job = world.client().add(torrent, world.origin, storage=SlowBackend)
    eventually(lambda: job.state == "checking" and job.storage is not None)
    return job


def test_peers_are_let_in_and_served_what_is_verified(
    world: World, gate: threading.Semaphore, no_retries: None
) -> None:
    torrent = world.torrent(piece_length=PIECE, a=6 * PIECE)
    job = checking(world, torrent)
    gate.release(3)
    eventually(lambda: job.pieces.count() >= 3)
    other = world.download(torrent, [address(world.clients[0])])
    eventually(lambda: other.pieces.count() >= 3)
    assert (job.state, other.state) == ("checking", "downloading")
    gate.release(100)
    assert other.wait(10)
    assert job.state == "seeding"


def test_peers_are_let_in_between_the_check_and_the_download(
    world: World, monkeypatch: pytest.MonkeyPatch, no_retries: None
) -> None:
    go_on, empty_files = threading.Event(), FileMap.empty_files

    def wait(files: FileMap) -> list[int]:
        assert go_on.wait(20)
        return empty_files(files)

    monkeypatch.setattr(FileMap, "empty_files", wait)
    torrent = world.torrent()
    client = world.client()
    job = world.download(torrent, world.seeds(torrent, 1), client=client)
    eventually(lambda: job.state == "downloading")
    with world.visit(client, torrent):
        go_on.set()
        assert job.wait(10)


def test_peers_are_held_between_the_metadata_and_the_opening_of_the_data(world: World, no_retries: None) -> None:
    opens, go_on = threading.Event(), threading.Event()

    def wait(torrent: Torrent, folder: Path) -> MemoryBackend:
        opens.set()
        assert go_on.wait(20)
        return MemoryBackend(torrent, folder)

    torrent = world.torrent()
    client = world.client()
    job = client.add(Magnet.from_torrent(torrent), peers=world.seeds(torrent, 1), storage=wait)
    eventually(opens.is_set)
    visit = world.spawn(world.visit, client, torrent)
    remains(lambda: not visit.ready(), 0.2)
    go_on.set()
    with visit.get(timeout=10):
        assert job.wait(10)


def test_what_peers_have_is_fetched_after_the_check(world: World, gate: threading.Semaphore, no_retries: None) -> None:
    torrent = world.torrent(piece_length=PIECE, a=6 * PIECE)
    job = checking(world, torrent)
    job.add_peers(world.seeds(torrent, 1))
    other = world.download(torrent, [address(world.clients[0])])
    eventually(lambda: other.peers)
    assert job.downloaded == 0
    path = world.origin / "data" / "a"
    assert job.storage is not None
    job.storage.backend.write(0, 5 * PIECE, memoryview(bytes(PIECE)))
    gate.release(100)
    assert job.wait(10)
    assert job.downloaded == PIECE
    assert other.wait(10)
    assert job.storage.read(5, 0, PIECE) == path.read_bytes()[5 * PIECE :]


def test_a_check_that_the_user_asks_for_lets_peers_in_again(
    world: World, gate: threading.Semaphore, no_retries: None
) -> None:
    torrent = world.torrent(piece_length=PIECE, a=6 * PIECE)
    job = checking(world, torrent)
    gate.release(10)
    assert job.wait(10)
    assert job.storage is not None
    job.storage.backend.write(0, 0, memoryview(bytes(PIECE)))
    lost: list[int] = []
    job.on("piece_lost", lambda torrent, index: lost.append(index))
    checked = world.spawn(job.check)
    eventually(lambda: job.state == "checking" and not job.peers)
    other = world.download(torrent, [address(world.clients[0])])
    eventually(lambda: other.peers)
    gate.release(100)
    checked.get()
    eventually(lambda: other.pieces.count() == 5)
    assert lost == [0]
