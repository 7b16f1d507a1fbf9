"""A session of real torrents: added, queued, moved, renamed, removed, and there again after the end of a process."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from gevent import socket

from geventbt import Client, Handshake, Magnet, Torrent, limits, signals
from geventbt.errors import StorageError
from geventbt.service import moving, queue
from geventbt.service.record import Goal, Removal, ServiceRecord, TorrentRecord
from geventbt.service.session import AlreadyThere, Session
from geventbt.service.store import StateStore
from geventbt.service.torrent import ServiceTorrent
from tests.loopback.world import World, address, eventually


class Clock:
    """The time, which stands still until it is set forward."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Service:
    """Sessions one after the other, over one folder for the state.

    Args:
        world: makes the clients.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.clock = Clock()
        self.downloads = world.folder / "out"
        self._session: Session | None = None
        self._client: Client | None = None

    def start(self, **settings: Any) -> Session:
        """Begin a run."""
        self._client = self.world.client()
        settings = {"download_dir": str(self.downloads), **settings}
        store = StateStore(self.world.folder / "state")
        self._session = Session(self._client, store=store, settings=settings, roots=[self.world.folder], now=self.clock)
        return self._session

    def stop(self) -> None:
        """End it."""
        session, client, self._session, self._client = self._session, self._client, None, None
        if session is not None:
            session.close()
        if client is not None:
            client.close(1)

    def again(self, **settings: Any) -> Session:
        """End a run, and begin another one."""
        self.stop()
        return self.start(**settings)


@pytest.fixture
def service(world: World) -> Iterator[Service]:
    made = Service(world)
    yield made
    made.stop()


@pytest.fixture
def torrent(world: World) -> Torrent:
    return world.torrent()


def complete(service: Service, session: Session, torrent: Torrent) -> ServiceTorrent:
    """A torrent that has been downloaded."""
    added = session.add(torrent)
    added.active.add_peers(service.world.seeds(torrent, 1))
    eventually(lambda: added.record.completed)
    return added


def the_one(session: Session) -> ServiceTorrent:
    (found,) = session.torrents
    return found


def test_a_torrent_is_downloaded_and_there_in_the_next_run(service: Service, torrent: Torrent) -> None:
    first = complete(service, service.start(), torrent)
    number = first.record.id
    session = service.again()
    found = the_one(session)
    assert (found.record.id, found.name, found.record.completed) == (number, "data", 1_000_000)
    assert found.downloaded == first.downloaded > 1_000_000
    eventually(lambda: found.active.state == "seeding")
    assert session.record.runs == 2
    assert session.record.downloaded == first.downloaded


def test_options_of_a_torrent_outlive_the_process(service: Service, torrent: Torrent) -> None:
    added = service.start().add(torrent, is_stopped=True, labels=["x"], unwanted=[1], limits_up=True, limit_up=5000)
    assert added.record.is_stopped
    found = the_one(service.again())
    assert (found.record.labels, found.record.is_stopped, found.record.limit_up) == (["x"], True, 5000)
    eventually(lambda: [file.priority for file in found.active.files] == [4, 0, 4])
    assert found.active.state == "paused"


def test_groups_and_a_blocklist_outlive_the_process(service: Service, torrent: Torrent) -> None:
    session = service.start()
    session.change(session.add(torrent), group="slow")
    session.change_group("slow", {"limit_down": 0, "limits_down": True, "keeps_session_limits": False})
    (service.world.folder / "state" / "blocklist").write_text("192.0.2.0/24\n")
    session.change_settings({"has_blocklist": True})
    again = service.again()
    rates = the_one(again).active.rate_group
    assert rates is not None
    assert (rates.limit_down, rates.limit_up, rates.keeps_client_limits) == (0, None, False)
    again.change_group("slow", {"limit_down": 5})
    assert rates.limit_down == 5
    assert again.blocklist.size == 1
    assert again.client.network.blocks("192.0.2.1")
    for name in ("", "x" * 101):
        with pytest.raises(ValueError, match="the name of a group"):
            again.change_group(name, {})


def test_a_torrent_is_not_added_twice(service: Service, torrent: Torrent) -> None:
    session = service.start()
    added = session.add(torrent)
    with pytest.raises(AlreadyThere) as caught:
        session.add(Magnet.from_torrent(torrent))
    assert caught.value.torrent is added


def test_a_link_becomes_a_torrent_and_stays_one(service: Service, torrent: Torrent) -> None:
    session = service.start()
    added = session.add(Magnet.from_torrent(torrent), unwanted=[0])
    added.active.add_peers(service.world.seeds(torrent, 1))
    eventually(lambda: isinstance(added.source, Torrent))
    eventually(lambda: [file.priority for file in added.active.files] == [0, 4, 4])
    assert isinstance(the_one(service.again()).source, Torrent)


def test_torrents_wait_for_their_turn(service: Service) -> None:
    world = service.world
    session = service.start(downloads=1)
    first, second, third = (session.add(world.torrent(name, a=40_000)) for name in ("one", "two", "three"))
    eventually(
        lambda: (first.active.state, second.active.state, third.active.state) == ("downloading", "paused", "paused")
    )
    session.start(third, forced=True)
    eventually(lambda: third.active.state == "downloading")
    session.reorder([second], queue.moved_to_top)
    eventually(lambda: (first.active.state, second.active.state) == ("paused", "downloading"))
    session.stop(second)
    eventually(lambda: (first.active.state, second.active.state) == ("downloading", "paused"))
    session.change_settings({"limits_downloads": False})
    session.start(second)
    eventually(lambda: second.active.state == "downloading")
    assert [torrent.record.position for torrent in (first, second, third)] == [1, 0, 2]
    session.remove(second)
    assert (first.record.position, third.record.position) == (0, 1)


def test_a_torrent_that_stalls_gives_its_place_up_and_runs_on(service: Service) -> None:
    session = service.start(downloads=1)
    first, second = (session.add(service.world.torrent(name, a=40_000)) for name in ("one", "two"))
    eventually(lambda: first.active.state == "downloading")
    service.clock.now += 31 * 60
    session.change_settings({})
    eventually(lambda: second.active.state == "downloading")
    assert session.is_stalled(first)
    assert first.active.state == "downloading"


def test_seeding_ends_at_its_goal(service: Service, torrent: Torrent) -> None:
    session = service.start()
    added = complete(service, session, torrent)
    settings = session.settings
    eventually(lambda: added.active.state == "seeding")
    assert not added.has_reached(settings, session.now())
    session.change(added, idle_goal=Goal.OWN, idle=10)
    assert not added.has_reached(settings, session.now() + 599)
    assert added.has_reached(settings, session.now() + 600)
    session.change(added, ratio_goal=Goal.OWN, ratio=0.5, idle_goal=Goal.NONE)
    assert not added.has_reached(settings, session.now())
    other = service.world.download(torrent, [address(session.client)], folder="other")
    assert other.wait(10)
    eventually(lambda: added.has_reached(settings, session.now()))


def test_data_moves_to_another_folder(service: Service, torrent: Torrent) -> None:
    session = service.start()
    added = complete(service, session, torrent)
    new = service.world.folder / "new"
    session.move(added, str(new))
    eventually(lambda: added.active.state == "seeding")
    assert (new / "data" / "c").stat().st_size == 600_000
    assert not (service.downloads / "data").exists()
    assert added.active.folder == str(new)
    found = the_one(service.again())
    assert (found.record.folder, found.record.moved_from) == (str(new), None)
    eventually(lambda: found.active.state == "seeding")


def test_a_move_that_fails_is_taken_back(service: Service, torrent: Torrent) -> None:
    session = service.start()
    added = complete(service, session, torrent)
    new = service.world.folder / "new"
    (new / "data").mkdir(parents=True)
    (new / "data" / "a").write_text("mine")
    session.move(added, str(new))
    eventually(lambda: added.problem)
    eventually(lambda: added.active.state == "seeding")
    assert added.record.folder == str(service.downloads)
    assert "another file" in added.problem
    assert (new / "data" / "a").read_text() == "mine"


def test_a_move_that_was_cut_short_goes_on_in_the_next_run(service: Service, torrent: Torrent) -> None:
    session = service.start()
    added = complete(service, session, torrent)
    new = service.world.folder / "new"
    added.record.moved_from = {"folder": added.record.folder, "renames": []}
    added.record.folder = str(new)
    service.stop()
    (new / "data").mkdir(parents=True)
    (service.downloads / "data" / "a").rename(new / "data" / "a")
    found = the_one(service.start())
    eventually(lambda: found.active.state == "seeding")
    assert sorted(path.name for path in (new / "data").iterdir()) == ["a", "b", "c"]


def test_a_move_is_not_done_because_the_data_is_in_its_old_place(service: Service, torrent: Torrent) -> None:
    added = complete(service, service.start(), torrent)
    moving.change_folder(added, str(service.world.folder / "new"), moves_files=True)
    assert not moving.is_moved(added)
    assert not moving.take_back(added, OSError("of what was there before"))
    assert added.record.moved_from == {"folder": str(service.downloads), "renames": []}


def test_data_is_found_in_another_folder(service: Service, torrent: Torrent) -> None:
    session = service.start()
    added = session.add(torrent)
    session.move(added, str(service.world.origin), moves_files=False)
    eventually(lambda: added.active.state == "seeding")
    assert (service.world.origin / "data" / "a").exists()


# ------------------------------------------------------------------ a folder for what is not complete


def begun(service: Service, torrent: Torrent, **settings: Any) -> tuple[Session, ServiceTorrent]:
    """A session with a folder for what is not complete, and a torrent of which a part is there."""
    incomplete = service.world.folder / "incomplete"
    session = service.start(incomplete_dir=str(incomplete), has_incomplete_dir=True, **settings)
    added = session.add(torrent)
    session.change(added, limits_down=True, limit_down=100_000)
    added.active.add_peers(service.world.seeds(torrent, 1))
    eventually(lambda: added.active.progress.done)
    assert (incomplete / "data").exists()
    assert not service.downloads.exists()
    return session, added


def finish(session: Session, added: ServiceTorrent) -> None:
    """Have it completed, and moved."""
    session.change(added, limits_down=False)
    eventually(lambda: added.record.completed and not added.record.moved_from and added.active.state == "seeding")


def test_data_is_in_a_folder_of_its_own_until_it_is_complete(service: Service, torrent: Torrent) -> None:
    session, added = begun(service, torrent)
    assert added.record.folder == str(service.downloads)
    finish(session, added)
    service.world.assert_complete(torrent)
    assert not (service.world.folder / "incomplete" / "data").exists()
    assert added.active.folder == str(service.downloads)
    assert the_one(service.again()).record.place == str(service.downloads)


def test_what_is_incomplete_goes_on_in_its_folder_in_the_next_run(service: Service, torrent: Torrent) -> None:
    _, added = begun(service, torrent)
    service.stop()
    # It has been switched off meanwhile, which concerns what comes later.
    session = service.start(has_incomplete_dir=False)
    added = the_one(session)
    eventually(lambda: added.active.progress.done)
    assert added.active.folder == str(service.world.folder / "incomplete")
    added.active.add_peers(service.world.seeds(torrent, 1))
    finish(session, added)
    service.world.assert_complete(torrent)


def test_a_torrent_that_was_complete_when_the_process_ended_is_moved_in_the_next_run(
    service: Service, torrent: Torrent
) -> None:
    added = complete(service, service.start(), torrent)
    service.stop()
    added.record.incomplete_folder, added.record.folder = str(service.downloads), str(service.world.folder / "new")
    with closing(StateStore(service.world.folder / "state")) as store:
        store.save(torrent.swarm_hash, added.record)
    found = the_one(service.start())
    eventually(lambda: not found.record.incomplete_folder and not found.record.moved_from)
    eventually(lambda: found.active.state == "seeding")
    service.world.assert_complete(torrent, "new")


def test_of_what_is_there_already_no_second_one_is_begun(service: Service, torrent: Torrent) -> None:
    shutil.copytree(service.world.origin, service.downloads)
    session = service.start(incomplete_dir=str(service.world.folder / "incomplete"), has_incomplete_dir=True)
    added = session.add(torrent)
    eventually(lambda: added.active.state == "seeding")
    assert added.active.progress.downloaded == 0
    assert not (service.world.folder / "incomplete").exists()


def test_what_is_incomplete_can_be_moved_and_renamed(service: Service, torrent: Torrent) -> None:
    session, added = begun(service, torrent)
    session.rename(added, "data/a", "first")
    eventually(lambda: (service.world.folder / "incomplete" / "data" / "first").exists())
    assert added.record.folder == str(service.downloads)
    new = service.world.folder / "new"
    session.move(added, str(new))
    eventually(lambda: (new / "data" / "first").exists())
    assert added.record.place == added.record.folder == str(new)
    added.active.add_peers(service.world.seeds(torrent, 1))
    finish(session, added)
    assert (new / "data" / "first").read_bytes() == (service.world.origin / "data" / "a").read_bytes()


def test_a_torrent_that_cannot_leave_the_folder_is_seeded_from_there(service: Service, torrent: Torrent) -> None:
    session, added = begun(service, torrent)
    (service.downloads / "data").mkdir(parents=True)
    (service.downloads / "data" / "a").write_text("mine")
    finish(session, added)
    eventually(lambda: added.problem)
    eventually(lambda: added.active.state == "seeding")
    assert added.record.place == added.record.folder == str(service.world.folder / "incomplete")
    assert (service.downloads / "data" / "a").read_text() == "mine"


def test_a_rename_that_fails_leaves_what_is_incomplete_where_it_is(service: Service, torrent: Torrent) -> None:
    session, added = begun(service, torrent)
    (service.world.folder / "incomplete" / "data" / "first").write_text("mine")
    session.rename(added, "data/a", "first")
    eventually(lambda: added.problem)
    eventually(lambda: added.active.state == "downloading")
    assert added.record.folder == str(service.downloads)
    assert (added.record.place, added.record.renames) == (str(service.world.folder / "incomplete"), [])


def test_a_file_and_the_folder_get_other_names(service: Service, torrent: Torrent) -> None:
    session = service.start()
    added = complete(service, session, torrent)
    session.rename(added, "data/a", "first")
    session.rename(added, "data", "things")
    eventually(lambda: added.active.state == "seeding")
    assert sorted(path.name for path in (service.downloads / "things").iterdir()) == ["b", "c", "first"]
    assert added.active.progress.downloaded == 0
    session = service.again()
    found = the_one(session)
    eventually(lambda: found.active.state == "seeding")
    assert (found.name, found.active.files[0].name) == ("things", "things/first")
    with pytest.raises(LookupError):
        session.rename(found, "data/a", "x")


@pytest.mark.parametrize("delete", [False, True])
def test_a_torrent_is_removed(service: Service, torrent: Torrent, delete: bool) -> None:
    session = service.start()
    added = complete(service, session, torrent)
    session.remove(added, delete=delete)
    assert session.torrents == []
    assert (service.downloads / "data").exists() is not delete
    assert session.removed[-1] == (1_000_000, added.record.id)
    assert service.again().torrents == []


def test_a_removal_that_was_cut_short_is_finished_in_the_next_run(service: Service, torrent: Torrent) -> None:
    added = complete(service, service.start(), torrent)
    added.record.removal = Removal.DELETES_FILES
    assert service.again().torrents == []
    assert not (service.downloads / "data").exists()
    assert service.again().torrents == []


def test_a_disk_that_is_not_there_is_not_filled_anew(service: Service, torrent: Torrent) -> None:
    complete(service, service.start(), torrent)
    service.stop()
    shutil.move(service.downloads, service.world.folder / "unmounted")
    session = service.start()
    found = the_one(session)
    eventually(lambda: found.active.state == "failed")
    assert not (service.downloads / "data").exists()
    session.start(found)
    eventually(lambda: found.active.state == "downloading")


def test_settings_hold_until_the_configuration_says_something_else(service: Service) -> None:
    session = service.start(downloads=3, limits_up=True, limit_up=1000)
    session.change_settings({"downloads": 7, "is_slow": True})
    assert session.client.limit_up == 50_000
    session = service.again(downloads=3, limits_up=True, limit_up=1000)
    assert (session.settings.downloads, session.settings.is_slow) == (7, True)
    session.change_settings({"is_slow": False})
    assert session.client.limit_up == 1000
    session.configure({"downloads": 4, "limits_up": True, "limit_up": 2000})
    assert (session.settings.downloads, session.client.limit_up) == (4, 2000)


def test_what_the_program_does_with_the_client_itself_is_followed(service: Service, torrent: Torrent) -> None:
    session = service.start()
    active = session.client.add(torrent, service.world.origin)
    found = the_one(session)
    assert (found.active, found.record.folder) == (active, str(service.world.origin))
    eventually(lambda: list((service.world.folder / "state" / "torrents").glob("*.torrent")))
    active.remove()
    assert session.torrents == []
    eventually(lambda: not list((service.world.folder / "state" / "torrents").iterdir()))


def test_a_full_disk_refuses_what_cannot_be_kept_and_the_rest_goes_on(
    service: Service, torrent: Torrent, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = service.start()
    added = complete(service, session, torrent)
    replace = os.replace

    def full(old: os.PathLike[str], new: os.PathLike[str]) -> None:
        if "/state/" in os.fspath(new):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(old, new)

    monkeypatch.setattr(os, "replace", full)
    other = service.world.torrent("other", a=40_000)
    for change in (lambda: session.add(other), lambda: session.change(added, labels=["x"]), session.save):
        with pytest.raises(StorageError) as caught:
            change()
        assert caught.value.errno == errno.ENOSPC
    assert ([each.name for each in session.torrents], list(session.client.torrents)) == (["data"], [torrent.info_hash])
    assert added.active.state == "seeding"
    monkeypatch.setattr(os, "replace", replace)
    session.add(other)
    assert sorted(each.name for each in service.again().torrents) == ["data", "other"]


def test_of_idle_torrents_nothing_is_written_for_an_hour(
    service: Service, torrent: Torrent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SERVICE_ROUND", 0.01)
    session = service.start()
    added = complete(service, session, torrent)
    eventually(lambda: added.active.state == "seeding")
    state = service.world.folder / "state"
    own, common = state / "torrents" / f"{torrent.info_hash.hex()}.json", state / "session.json"

    def stays_after_a_save() -> bool:
        before, seconds = own.read_bytes(), ServiceRecord.decode(common.read_bytes()).seconds
        service.clock.now += 100
        eventually(lambda: ServiceRecord.decode(common.read_bytes()).seconds >= seconds + 100)
        return own.read_bytes() == before

    # What has just happened, such as the end of the download, is still written.
    assert any(stays_after_a_save() for _ in range(5))
    service.clock.now += 3600
    eventually(lambda: TorrentRecord.decode(own.read_bytes()).seconds_seeding >= 3700)


def test_without_a_store_nothing_is_kept(world: World) -> None:
    session = Session(world.client(), settings={"download_dir": str(world.folder / "out")})
    session.add(world.torrent())
    session.close()
    assert not list(world.folder.rglob("*.json"))


@pytest.mark.parametrize("is_known", [False, True])
def test_what_a_peer_does_wrong_is_no_error_of_the_session(
    service: Service, torrent: Torrent, caplog: pytest.LogCaptureFixture, is_known: bool
) -> None:
    session = service.start()
    session.add(torrent)
    seen: list[Exception] = []
    note = signals.error.connect(lambda sender, error, wire=None: seen.append(error), weak=False)
    hello = Handshake(torrent.swarm_hash if is_known else bytes(20), b"-XX0001-" + bytes(12)).to_bytes()
    assert session.client.port is not None
    with socket.create_connection(("127.0.0.1", session.client.port), timeout=10) as sock:
        sock.sendall(hello + b"\xff" * 5)
        eventually(lambda: seen)
    signals.error.disconnect(note)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
