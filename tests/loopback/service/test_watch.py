"""Torrents that are put into a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from geventbt import Magnet
from geventbt.service.session import Session
from geventbt.service.watch import WatchFolder
from tests.loopback.world import World, eventually


@pytest.fixture
def session(world: World) -> Iterator[Session]:
    made = Session(world.client(), settings={"download_dir": str(world.folder / "out")})
    yield made
    made.close()


@pytest.fixture
def watched(world: World, session: Session) -> Iterator[Path]:
    folder = world.folder / "watched"
    folder.mkdir()
    watch = WatchFolder(session, folder, interval=0.02, patience=0.1)
    yield folder
    watch.stop()


def test_torrents_and_links_are_added_and_renamed(world: World, session: Session, watched: Path) -> None:
    torrent = world.torrent()
    (watched / "a.torrent").write_bytes(torrent.to_bytes())
    (watched / "again.magnet").write_text(f"{Magnet.from_torrent(torrent)}\n")
    (watched / "b.magnet").write_text(f"magnet:?xt=urn:btih:{'ab' * 20}")
    (watched / ".hidden.torrent").write_bytes(b"x")
    (watched / "notes.txt").write_text("mine")
    eventually(lambda: len(list(watched.glob("*.added"))) == 3)
    assert {each.info_hash for each in session.torrents} == {torrent.swarm_hash, bytes.fromhex("ab" * 20)}
    assert sorted(path.name for path in watched.iterdir()) == [
        ".hidden.torrent",
        "a.torrent.added",
        "again.magnet.added",
        "b.magnet.added",
        "notes.txt",
    ]


def test_a_file_that_is_still_written_is_waited_for(world: World, session: Session, watched: Path) -> None:
    data = world.torrent().to_bytes()
    with open(watched / "a.torrent", "wb", buffering=0) as file:
        for at in range(0, len(data), 100):
            file.write(data[at : at + 100])
            assert session.torrents == []
    eventually(lambda: session.torrents != [])


def test_a_folder_that_cannot_be_read_is_told_of_once_until_it_can(
    world: World, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    folder = world.folder / "later"
    watch = WatchFolder(session, folder, interval=0.01, patience=0.1)
    eventually(lambda: caplog.messages)
    folder.mkdir()
    (folder / "a.torrent").write_bytes(world.torrent().to_bytes())
    eventually(lambda: len(session.torrents) == 1)
    watch.stop()
    (message,) = [message for message in caplog.messages if "cannot be read" in message]
    assert str(folder) in message


def test_what_is_not_a_torrent_is_put_aside_and_stops_nothing(world: World, session: Session, watched: Path) -> None:
    (watched / "a.torrent").write_bytes(b"<html>")
    os.symlink("/etc/passwd", watched / "b.torrent")
    (watched / "c.torrent").write_bytes(world.torrent().to_bytes())
    eventually(lambda: (watched / "a.torrent.invalid").exists())
    eventually(lambda: len(session.torrents) == 1)
    assert (watched / "b.torrent").is_symlink()
