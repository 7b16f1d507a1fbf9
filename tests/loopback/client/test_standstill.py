"""A download that stands still says in its status and in the log what it waits for."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import pytest

from geventbt import ActiveTorrent, Magnet, Torrent, Wire, limits
from tests.loopback.world import World, eventually, serve_well


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STANDSTILL", 0.3)


@pytest.fixture
def torrent(world: World) -> Torrent:
    return world.torrent()


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The warnings so far that say what a torrent waits for."""
    caplog.set_level(logging.WARNING, "geventbt")
    return lambda: [record.getMessage() for record in caplog.records if " waits: " in record.getMessage()]


def waits_for(job: ActiveTorrent, *words: str) -> str:
    """What a download waits for, once it says all these words."""
    eventually(lambda: all(word in (job.progress.waiting_for or "") for word in words))
    return job.progress.waiting_for or ""


def test_without_peers_it_says_which_trackers_fail(
    world: World, torrent: Torrent, warnings: Callable[[], list[str]]
) -> None:
    job = world.download(torrent, [], trackers=["http://127.0.0.1:1/secret/announce"])
    text = waits_for(job, "no peers", "1 of 1 tracker failing (http://127.0.0.1:1:", "refused")
    eventually(warnings)
    assert "no peers" in warnings()[0]
    assert "secret" not in text + warnings()[0]


def test_a_link_says_that_nobody_gives_the_metadata(world: World, torrent: Torrent) -> None:
    job = world.download(Magnet.from_torrent(torrent), [])
    waits_for(job, "the metadata: no peers: no addresses known; no trackers")


def test_peers_without_what_is_missing_are_told_and_forgotten_when_it_comes(
    world: World, torrent: Torrent, warnings: Callable[[], list[str]]
) -> None:
    def serve_half(wire: Wire) -> None:
        wire.handshake(torrent.info_hash, b"-XX0001-" + os.urandom(12), geometry=torrent.geometry)
        for piece in range(torrent.geometry.pieces - 3):
            wire.have(piece)
        wire.unchoke()
        wire.serve(world.reader(torrent))

    job = world.download(torrent, [world.listen(serve_half)])
    waits_for(job, "1 peer, none has the 3 pieces missing")
    eventually(lambda: len(warnings()) == 1)
    assert "none has the 3 pieces missing" in warnings()[0]
    job.add_peers([world.odd(torrent, serve_well)])
    assert job.wait(20)
    eventually(lambda: job.progress.waiting_for is None)


def test_peers_that_choke_us_are_told(world: World, torrent: Torrent) -> None:
    job = world.download(torrent, [world.odd(torrent, lambda wire, read: wire.wait_for("close"))])
    waits_for(job, "1 peer, 1 with pieces that are missing: these all choke us")


def test_a_fault_of_the_disk_is_told_with_the_next_try(
    world: World, torrent: Torrent, monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]]
) -> None:
    monkeypatch.setattr(limits, "DISK_RETRY_FIRST", 100.0)
    write = os.pwrite

    def full(descriptor: int, data: memoryview, offset: int) -> int:
        if "/out/" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(28, os.strerror(28))
        return write(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    job = world.download(torrent, world.seeds(torrent, 1))
    eventually(lambda: job.error)
    waits_for(job, "the disk:", "No space left", "next try in")
    eventually(warnings)
    monkeypatch.setattr(os, "pwrite", write)
    job.resume()
    eventually(lambda: job.state == "seeding")
    assert job.progress.waiting_for is None
    assert len(warnings()) == 1


def test_a_paused_torrent_waits_for_nothing(world: World, torrent: Torrent, warnings: Callable[[], list[str]]) -> None:
    job = world.download(torrent, [])
    waits_for(job, "no peers")
    job.pause()
    eventually(lambda: job.progress.waiting_for is None)
    assert len(warnings()) <= 1
