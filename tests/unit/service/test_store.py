"""The folder for the state: torrents that survive, whatever happens to their files."""

from __future__ import annotations

import errno
import os
import random
import sys
from pathlib import Path

import pytest

from geventbt.errors import StorageError
from geventbt.metainfo import Magnet, Torrent
from geventbt.metainfo.create import create_torrent
from geventbt.service.record import ServiceRecord, TorrentRecord
from geventbt.service.store import StateStore

LINK = Magnet.from_string(f"magnet:?xt=urn:btih:{'ab' * 20}&dn=linked")


@pytest.fixture
def torrent(tmp_path: Path) -> Torrent:
    (tmp_path / "data").write_bytes(b"some data")
    return create_torrent(tmp_path / "data")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


def reopened(folder: Path) -> StateStore:
    return StateStore(folder)


def test_torrents_and_links_are_kept(folder: Path, torrent: Torrent) -> None:
    store = StateStore(folder)
    store.add(torrent, TorrentRecord(id=1, labels=["x"]))
    store.add(LINK, TorrentRecord(id=2))
    store.save_service(ServiceRecord(next_id=3))
    store.close()
    again = StateStore(folder)
    found = {source.swarm_hash: (source, record) for source, record in again.load()}
    assert found[torrent.swarm_hash] == (torrent, TorrentRecord(id=1, labels=["x"]))
    assert found[LINK.swarm_hash][0] == LINK
    assert again.load_service().next_id == 3
    again.close()


def test_metadata_takes_the_place_of_its_link(folder: Path, torrent: Torrent) -> None:
    store = StateStore(folder)
    link = Magnet.from_torrent(torrent)
    store.add(link, TorrentRecord(id=1))
    store.save_source(torrent)
    assert [(source, record and record.id) for source, record in store.load()] == [(torrent, 1)]
    assert not (folder / "torrents" / f"{torrent.swarm_hash.hex()}.magnet").exists()
    store.close()


def test_a_removed_torrent_is_gone(folder: Path, torrent: Torrent) -> None:
    store = StateStore(folder)
    store.add(torrent, TorrentRecord())
    store.remove(torrent.swarm_hash)
    assert list(store.load()) == []
    assert os.listdir(folder / "torrents") == []
    store.close()


def test_a_torrent_whose_record_is_damaged_is_still_there(folder: Path, torrent: Torrent) -> None:
    store = StateStore(folder)
    store.add(torrent, TorrentRecord(id=7))
    path = folder / "torrents" / f"{torrent.swarm_hash.hex()}.json"
    path.write_bytes(b'{"id": ')
    assert list(store.load()) == [(torrent, None)]
    assert path.with_name(f"{path.name}.bad").read_bytes() == b'{"id": '
    store.close()


def test_a_file_that_is_not_a_torrent_is_put_aside(folder: Path) -> None:
    store = StateStore(folder)
    path = folder / "torrents" / f"{'ab' * 20}.torrent"
    path.write_bytes(b"what?")
    (folder / "torrents" / "notes.txt").write_text("mine")
    assert list(store.load()) == []
    assert path.with_name(f"{path.name}.bad").exists()
    store.close()


def test_a_damaged_session_is_put_aside(folder: Path) -> None:
    store = StateStore(folder)
    (folder / "session.json").write_bytes(b"")
    assert store.load_service() == ServiceRecord()
    assert (folder / "session.json.bad").exists()
    store.close()


def test_one_process_has_the_folder(folder: Path) -> None:
    store = StateStore(folder)
    with pytest.raises(StorageError) as caught:
        StateStore(folder)
    assert caught.value.errno == errno.EBUSY
    store.close()
    StateStore(folder).close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_no_other_user_can_take_the_lock(folder: Path) -> None:
    store = StateStore(folder)
    assert (folder / "lock").stat().st_mode & 0o077 == 0
    store.close()


def test_what_has_not_changed_is_not_written(folder: Path, torrent: Torrent) -> None:
    store = StateStore(folder)
    store.add(torrent, TorrentRecord(id=1))
    path = folder / "torrents" / f"{torrent.swarm_hash.hex()}.json"
    before = path.stat().st_ino
    store.save(torrent.swarm_hash, TorrentRecord(id=1))
    assert path.stat().st_ino == before
    store.save(torrent.swarm_hash, TorrentRecord(id=2))
    assert path.stat().st_ino != before
    store.close()


class Killed(BaseException):
    """The process ends at this system call."""


@pytest.mark.parametrize("seed", range(8))
def test_a_kill_between_any_two_writes_loses_no_torrent(
    folder: Path, torrent: Torrent, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Killed after any number of system calls that change the folder, each torrent whose addition had returned is
    there, with the last record that had been written or the one that was being."""
    rng = random.Random(seed)
    left = rng.randrange(1, 30)

    def counted(name: str) -> None:
        call = getattr(os, name)

        def maybe_killed(*arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return call(*arguments, **options)

        monkeypatch.setattr(os, name, maybe_killed)

    store = StateStore(folder)
    added: list[Torrent | Magnet] = []
    written = {torrent.swarm_hash: 0}
    for name in ("replace", "fsync", "unlink", "open"):
        counted(name)
    try:
        for source in (torrent, LINK):
            store.add(source, TorrentRecord(id=0))
            added.append(source)
        for number in range(1, 9):
            written[torrent.swarm_hash] = number
            store.save(torrent.swarm_hash, TorrentRecord(id=number))
    except Killed:
        pass
    monkeypatch.undo()
    store.close()
    again = reopened(folder)
    found = {source.swarm_hash: record for source, record in again.load()}
    assert {source.swarm_hash for source in added} <= found.keys()
    for source in added:
        record = found[source.swarm_hash]
        assert record is not None
        last = written.get(source.swarm_hash, 0)
        assert record.id in (last, last - 1)
    again.close()
