"""A client and its torrents: what a program does with them, in every order."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path
from typing import Any

import gevent
import pytest

import geventbt
from geventbt import Client, DownloadError, NoPeersError, StorageError, WireClosed, limits
from geventbt.client.swarm.admission import Admission
from geventbt.errors import HandshakeError
from geventbt.storage import Storage
from geventbt.storage.disk.backend import DiskBackend
from tests.loopback.fake_trackers import FakeHttp, bencoded
from tests.loopback.world import PIECE, World, address, eventually, hear, remains, serve_well, stay_silent


@pytest.fixture
def slow_check(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Reading a piece for a check takes a while; how many have been read."""
    read = DiskBackend.read_into
    count: list[int] = []

    def slowly(self: DiskBackend, file: int, offset: int, view: memoryview) -> None:
        count.append(offset)
        time.sleep(0.05)
        read(self, file, offset, view)

    monkeypatch.setattr(DiskBackend, "read_into", slowly)
    return count


def everything_of(job: geventbt.ActiveTorrent) -> list[Any]:
    """All that can be read of a torrent."""
    return [job.progress, job.peers, job.files, job.pieces, job.trackers, job.served, job.banned, job.broken, job.state]


# --- torrents of a client ---


def test_torrents_share_one_port_and_peers_are_handed_to_theirs(world: World):
    torrents = [world.torrent(name) for name in ("one", "two", "three")]
    seed = world.client()
    for torrent in torrents:
        seed.add(torrent, world.origin)
    with world.client() as client:
        jobs = [world.download(torrent, [address(seed)], client=client) for torrent in torrents]
        assert all(job.wait(30) for job in jobs)
    for torrent in torrents:
        world.assert_complete(torrent)


def test_a_peer_that_asks_for_another_torrent_is_refused(world: World):
    client = world.seed(world.torrent("one"))
    with pytest.raises((WireClosed, HandshakeError)):
        world.visit(client, world.torrent("two"))
    assert not client.torrents[world.torrent("one").info_hash].peers


def test_a_peer_that_asks_for_a_torrent_that_was_removed_is_refused(world: World):
    torrent = world.torrent()
    client = world.seed(torrent)
    client.torrents[torrent.info_hash].remove()
    with pytest.raises((WireClosed, HandshakeError)):
        world.visit(client, torrent)


def test_a_torrent_can_be_added_only_once_until_it_is_removed(world: World):
    torrent = world.torrent()
    client = world.client()
    job = client.add(torrent, world.origin)
    with pytest.raises(ValueError, match="already"):
        client.add(torrent, world.folder / "elsewhere")
    assert job.wait(10)
    job.remove()
    assert client.add(torrent, world.origin).wait(10)


def test_removing_a_torrent_twice_is_no_harm(world: World):
    job = world.client().add(world.torrent(), world.folder / "out")
    job.remove()
    job.remove()
    with pytest.raises(DownloadError, match="removed"):
        job.wait()


def test_a_closed_client_takes_no_torrent_and_can_be_closed_again(world: World):
    with world.client() as client:
        pass
    client.close()
    client.serve_forever()
    with pytest.raises(ValueError, match="closed"):
        client.add(world.torrent(), world.folder)


def test_what_cannot_be_right_is_said_by_add_and_adds_nothing(world: World):
    torrent, client = world.torrent(), world.client()
    with pytest.raises(LookupError):
        client.add(torrent, world.folder / "out", files=["a", "nothing"])
    with pytest.raises(ValueError, match="limit_down=-1"):
        client.add(torrent, world.folder / "out", limit_down=-1)
    for peer in ("127.0.0.1", ("127.0.0.1", 0), ("127.0.0.1", "1"), (1, 1)):
        with pytest.raises(ValueError, match="host, port"):
            client.add(torrent, world.folder / "out", peers=[peer])
    with pytest.raises(FileNotFoundError):
        client.add(world.folder / "no.torrent", world.folder / "out")
    with pytest.raises(geventbt.MagnetError):
        client.add("magnet:?xt=nothing", world.folder / "out")
    assert not client.torrents


def test_a_torrent_can_be_added_from_its_file(world: World):
    torrent = world.torrent()
    path = world.folder / "data.torrent"
    path.write_bytes(torrent.to_bytes())
    job = world.client().add(str(path), world.origin)
    assert job.wait(10)
    assert job.metainfo == torrent


# --- the end ---


def test_closing_the_client_ends_everything_whatever_it_is_at(world: World, slow_check):
    torrents = {name: world.torrent(name) for name in ("checking", "downloading", "paused", "waiting")}
    client = world.client()
    magnet = f"magnet:?xt=urn:btih:{'ab' * 20}"
    jobs = [
        world.download(torrents["downloading"], [world.odd(torrents["downloading"], stay_silent)], client=client),
        world.download(torrents["paused"], [], client=client),
        client.add(magnet, world.folder / "out", peers=[world.listen(lambda wire: wire.wait_for("close"))]),
        world.download(torrents["waiting"], [], client=client),
    ]
    jobs[1].pause()
    eventually(lambda: jobs[0].peers)
    jobs.append(client.add(torrents["checking"], world.origin))
    eventually(lambda: slow_check)
    waiting = [world.spawn(job.wait) for job in jobs for _ in range(3)]
    gevent.sleep(0)
    client.close()
    gevent.joinall(waiting, timeout=5)
    assert [type(greenlet.exception) for greenlet in waiting] == [DownloadError] * len(waiting)
    assert {job.state for job in jobs} == {"removed"}


def test_a_torrent_can_be_removed_while_it_is_checked_and_the_check_ends(world: World, slow_check):
    torrent = world.torrent(a=200 * 32768)
    client = world.client()
    job = client.add(torrent, world.origin)
    eventually(lambda: job.progress.checked > 2)
    assert job.progress.state == "checking"
    assert job.progress.pieces == 200
    job.remove()
    read = len(slow_check)
    remains(lambda: len(slow_check) <= read + os.cpu_count(), 0.3)
    assert read < 200
    with Storage(torrent, world.origin) as storage:
        storage.lock()


def test_checks_do_not_keep_other_torrents_from_being_downloaded(world: World):
    is_downloaded = threading.Event()

    class Disk(DiskBackend):
        def read_into(self, file: int, offset: int, view: memoryview) -> None:
            assert is_downloaded.wait(60)
            super().read_into(file, offset, view)

    quick = world.torrent("quick")
    client = world.client()
    job = world.download(quick, [], client=client)
    eventually(lambda: job.state == "downloading")
    seeds = world.seeds(quick, 1)
    torrents = [world.torrent(name, a=200 * 32768) for name in ("one", "two", "three")]
    checks = [client.add(torrent, world.origin, storage=Disk) for torrent in torrents]
    try:
        job.add_peers(seeds)
        assert job.wait(30)
        assert {check.state for check in checks} == {"checking"}
    finally:
        is_downloaded.set()


def test_after_a_removal_another_client_can_have_the_folder_at_once(world: World):
    torrent = world.torrent()
    client = world.client()
    job = world.download(torrent, [world.odd(torrent, stay_silent)], client=client)
    eventually(lambda: job.peers)
    job.remove()
    job = world.download(torrent, world.seeds(torrent, 1))
    assert job.wait(30)


def test_a_torrent_can_be_removed_in_a_handler_of_its_own(world: World):
    torrent = world.torrent()
    client = world.client()
    job = world.download(torrent, world.seeds(torrent, 1), client=client)
    ended = []

    def remove(job: geventbt.ActiveTorrent, index: int) -> None:
        job.remove()
        ended.append(index)

    job.on("piece_verified", remove)
    with pytest.raises(DownloadError, match="removed"):
        job.wait(30)
    eventually(lambda: ended)


# --- waiting ---


def test_everyone_who_waits_is_told_when_it_is_done(world: World):
    torrent = world.torrent()
    job = world.download(torrent, [])
    waiting = [world.spawn(job.wait, 30) for _ in range(5)]
    gevent.sleep(0)
    assert job.wait(0.01) is False
    job.add_peers(world.seeds(torrent, 1))
    assert [greenlet.get(timeout=30) for greenlet in waiting] == [True] * 5
    assert job.wait()


def test_everyone_who_waits_gets_the_reason_of_a_failure(world: World):
    torrent = world.torrent()
    gone = world.listen(lambda wire: None)
    job = world.download(torrent, [gone], fail_without_peers=True)
    waiting = [world.spawn(job.wait) for _ in range(3)]
    gevent.joinall(waiting, timeout=30)
    assert [type(greenlet.exception) for greenlet in waiting] == [NoPeersError] * 3
    assert job.state == "failed"
    assert job.done


def test_waiting_again_and_again_for_what_has_failed_holds_no_more_each_time(world: World):
    job = world.download(world.torrent(), [], fail_without_peers=True)
    for _ in range(50):
        with pytest.raises(NoPeersError):
            job.wait(30)
    depth, trace = 0, job.error.__traceback__
    while trace is not None:
        depth, trace = depth + 1, trace.tb_next
    assert depth < 10


# --- rates ---


def test_a_rate_of_zero_lets_nothing_through_until_it_is_lifted(world: World):
    torrent = world.torrent()
    for end in ("seed", "client"):
        seed, client = world.seed(torrent), world.client()
        limited = seed if end == "seed" else client
        limited.set_limits(down=0, up=0)
        job = client.add(torrent, world.folder / end, peers=[address(seed)])
        eventually(lambda job=job: job.peers)
        assert job.wait(0.3) is False
        assert job.progress.downloaded == 0
        limited.set_limits()
        assert job.wait(30)


def test_torrents_of_a_group_share_its_rates_within_those_of_the_client_or_apart_from_them(world: World):
    torrent, client = world.torrent(), world.client(limit_down=0)
    seed = world.seed(torrent)
    group = client.rate_group(limit_down=0, keeps_client_limits=False)
    job = client.add(torrent, world.folder / "out", peers=[address(seed)])
    eventually(lambda: job.peers)
    job.rate_group = group
    assert job.rate_group is group
    assert job.wait(0.2) is False
    group.keeps_client_limits = True
    group.set_limits(down=10_000_000, up=5)
    assert (group.limit_down, group.limit_up) == (10_000_000, 5)
    assert job.wait(0.2) is False
    assert job.progress.downloaded == 0
    group.keeps_client_limits = False
    assert job.wait(30)
    job.rate_group = None
    assert job.rate_group is None


# --- pausing ---


def test_a_paused_torrent_leaves_its_peers_and_goes_on_later(world: World, no_retries):
    torrent = world.torrent()
    seed = world.seed(torrent, limit_up=300_000)
    job = world.download(torrent, [address(seed)])
    eventually(lambda: job.pieces.count() > 1)
    job.pause()
    job.pause()
    assert job.state == job.progress.state == "paused"
    assert not job.peers
    eventually(lambda: not seed.torrents[torrent.info_hash].peers)
    there = job.pieces.count()
    assert job.wait(0.3) is False
    assert job.pieces.count() == there
    seed.set_limits()
    job.resume()
    job.resume()
    assert job.state == "downloading"
    assert job.wait(30)
    world.assert_complete(torrent)
    assert job.progress.downloaded >= torrent.geometry.length
    assert sum(job.served.values()) == torrent.geometry.length


def test_who_is_cut_short_in_pause_resume_or_remove_leaves_nothing_in_between(world: World, no_retries):
    torrent = world.torrent()
    seed = world.seed(torrent, limit_up=300_000)
    job = world.download(torrent, [address(seed)])
    eventually(lambda: job.pieces.count() > 1)
    for name in ("pause", "resume", "pause", "resume"):
        cut = world.spawn(getattr(job, name))
        gevent.sleep(0)
        cut.kill()
    seed.set_limits()
    assert job.wait(30)
    world.assert_complete(torrent)
    with gevent.Timeout(0, False):
        job.remove()
    eventually(lambda: can_lock(torrent, world.folder / "out"))


def can_lock(torrent: geventbt.Torrent, folder: Path) -> bool:
    """Whether a torrent in a folder is unused."""
    with Storage(torrent, folder) as storage:
        try:
            storage.lock()
        except StorageError:
            return False
        return True


def test_a_tracker_that_does_not_answer_holds_no_pause_up(world: World, monkeypatch):
    monkeypatch.setattr(limits, "STOP_TIMEOUT", 0.5)
    torrent = world.torrent()
    order: list[str] = []

    def answer(sock: Any) -> None:
        if "event=stopped" in tracker.requests[-1]:
            # Until the client gives up.
            sock.recv(1)
            order.append("tracker")
        else:
            sock.sendall(bencoded(interval=1800, peers=b""))

    tracker = FakeHttp({"": answer})
    try:
        job = world.download(torrent, world.seeds(torrent, 1), trackers=[tracker.url()], limit_down=100_000)
        eventually(lambda: tracker.requests and job.peers)
        job.pause()
        order.append("pause")
        assert not job.peers
        assert job.trackers
        eventually(lambda: len(order) == 2)
        assert order == ["pause", "tracker"]
    finally:
        tracker.close()


def test_trackers_are_told_what_has_been_since_they_were_told_last(world: World, monkeypatch):
    """Of each start, bytes are counted anew; what is left is what a seed would have."""
    monkeypatch.setattr(limits, "FIRST_RETRY", 0.1)
    torrent = world.torrent(a=10 * PIECE, b=10 * PIECE)
    tracker = FakeHttp({"": bencoded(interval=1800, peers=b"")})

    def last(event: str) -> dict[str, str]:
        query = tracker.requests[-1].split()[1].partition("?")[2]
        fields = dict(field.split("=", 1) for field in query.split("&"))
        return fields if fields.get("event") == event else {}

    try:
        job = world.download(torrent, world.seeds(torrent, 1), trackers=[tracker.url()], files=["a"])
        assert job.wait(30)
        job.pause()
        eventually(lambda: last("stopped"))
        assert [last("stopped")[name] for name in ("downloaded", "left", "port")] == [
            str(10 * PIECE), str(10 * PIECE), "1",
        ]  # fmt: skip
        assert not any("event=completed" in request for request in tracker.requests)
        job.resume()
        eventually(lambda: last("started"))
        assert last("started")["downloaded"] == "0"
        job.select(["a", "b"])
        assert job.wait(30)
        eventually(lambda: last("completed"))
        assert [last("completed")[name] for name in ("downloaded", "left")] == [str(10 * PIECE), "0"]
    finally:
        tracker.close()


def test_a_peer_that_was_being_connected_to_at_the_pause_is_tried_again(world: World, no_retries):
    torrent = world.torrent()
    shaken: list[int] = []

    def hesitate(wire: geventbt.Wire) -> None:
        shaken.append(1)
        if len(shaken) == 1:
            wire.wait_for("close")
        wire.handshake(torrent.info_hash, geventbt.new_peer_id(), geometry=torrent.geometry)
        wire.have_all()
        serve_well(wire, world.reader(torrent))

    job = world.download(torrent, [world.listen(hesitate)])
    eventually(lambda: shaken)
    job.pause()
    job.resume()
    assert job.wait(20)


def test_a_peer_that_was_just_connected_at_the_pause_is_tried_again(world: World, no_retries, monkeypatch):
    """It has shaken hands when the peers are being left, but has not been told that it is to end."""
    on_connected = Admission.on_connected
    late: list[Admission] = []

    def connected_late(self: Admission, wire: geventbt.Wire, address: tuple[str, int]) -> None:
        if not late and self.keeps_outbound:
            late.append(self)
            self.stop(0)
        on_connected(self, wire, address)

    monkeypatch.setattr(Admission, "on_connected", connected_late)
    torrent = world.torrent()
    job = world.download(torrent, world.seeds(torrent, 1))
    eventually(lambda: late and not job.progress.peers)
    job.pause()
    job.resume()
    assert job.wait(20)


def test_a_paused_torrent_refuses_those_that_come(world: World):
    torrent = world.torrent()
    client = world.seed(torrent)
    job = client.torrents[torrent.info_hash]
    job.pause()
    with pytest.raises((WireClosed, HandshakeError)):
        world.visit(client, torrent)
    job.resume()
    world.visit(client, torrent).close(0)


def test_peers_that_leave_during_a_pause_are_replaced_by_others(world: World):
    torrent = world.torrent()
    first, second = world.seed(torrent, limit_up=300_000), world.seed(torrent)
    job = world.download(torrent, [address(first)])
    eventually(lambda: job.pieces.any())
    job.pause()
    first.close(1)
    job.add_peers([address(second)])
    job.resume()
    assert job.wait(30)


def test_a_torrent_can_be_paused_while_it_is_checked(world: World, slow_check):
    torrent = world.torrent()
    job = world.client().add(torrent, world.origin)
    eventually(lambda: slow_check)
    job.pause()
    assert job.wait(30)
    assert job.state == "paused"
    assert not job.peers
    job.resume()
    assert job.state == "seeding"


def test_a_torrent_can_be_paused_while_its_metadata_is_fetched(world: World):
    torrent = world.torrent()
    connected: list[geventbt.Wire] = []
    slow = world.listen(lambda wire: (connected.append(wire), wire.wait_for("close")))
    job = world.client().add(magnet_of(torrent), world.folder / "out", peers=[slow])
    eventually(lambda: connected)
    job.pause()
    assert job.state == "paused"
    eventually(lambda: connected[0].closed)
    job.add_peers(world.seeds(torrent, 1))
    assert job.wait(0.3) is False
    assert job.metainfo is None
    job.resume()
    assert job.wait(30)
    world.assert_complete(torrent)


def test_pause_and_resume_from_several_greenlets_end_in_one_state(world: World):
    torrent = world.torrent()
    job = world.download(torrent, world.seeds(torrent, 2))
    turns = [world.spawn(turn) for _ in range(5) for turn in (job.pause, job.resume)]
    gevent.joinall(turns, timeout=20)
    assert all(turn.successful() for turn in turns)
    job.resume()
    assert job.wait(30)
    world.assert_complete(torrent)


# --- magnet links ---


def magnet_of(torrent: geventbt.Torrent, *peers: tuple[str, int]) -> str:
    named = "".join(f"&x.pe={host}:{port}" for host, port in peers)
    return f"magnet:?xt=urn:btih:{torrent.info_hash.hex()}&dn=x{named}"


def test_a_magnet_link_finds_its_metadata_and_data_at_the_peers_that_it_names(world: World):
    torrent = world.torrent()
    job = world.client().add(magnet_of(torrent, *world.seeds(torrent, 1)), world.folder / "out")
    assert job.name == "x"
    assert job.state == "metadata"
    assert job.wait_metadata(10).info_bytes == torrent.info_bytes
    assert job.name == "data"
    assert job.wait(30)
    world.assert_complete(torrent)


def test_peers_that_lie_about_metadata_do_not_keep_it_from_us(world: World):
    torrent = world.torrent()

    def lie(wire: geventbt.Wire) -> None:
        wire.use(lambda wire: geventbt.UtMetadata(wire, os.urandom(len(torrent.info_bytes))))
        wire.handshake(torrent.info_hash, geventbt.new_peer_id())
        wire.wait_for("close")

    peers = [*(world.listen(lie) for _ in range(3)), *world.seeds(torrent, 1)]
    job = world.client().add(magnet_of(torrent, *peers), world.folder / "out")
    assert job.wait(30)
    world.assert_complete(torrent)


def test_files_of_a_magnet_link_are_chosen_by_name_before_they_are_known(world: World):
    torrent = world.torrent()
    link = magnet_of(torrent, *world.seeds(torrent, 1))
    job = world.client().add(link, world.folder / "out", files=["c"])
    assert job.wait(30)
    assert sorted(path.name for path in (world.folder / "out" / "data").iterdir()) == ["c"]


def test_a_file_that_is_not_in_a_magnet_links_torrent_fails_it(world: World, caplog):
    torrent = world.torrent()
    link = magnet_of(torrent, *world.seeds(torrent, 1))
    job = world.client().add(link, world.folder / "out", files=["nothing"])
    with pytest.raises(DownloadError, match="nothing"):
        job.wait(30)
    assert "Traceback" not in caplog.text


def test_a_magnet_link_without_peers_says_so_where_it_should_end(world: World):
    with pytest.raises(NoPeersError, match="no peers"):
        geventbt.download(f"magnet:?xt=urn:btih:{'ab' * 20}", world.folder / "out")


# --- private torrents ---


@pytest.mark.parametrize("private", [False, True])
def test_a_private_torrent_uses_no_peer_exchange(world: World, private):
    world.torrent("secret")
    torrent = world.made(geventbt.create_torrent(world.origin / "secret", private=private))
    wire = world.visit(world.seed(torrent), torrent)
    eventually(lambda: wire.peer_extended_handshake)
    assert ("ut_pex" in wire.peer_extended_mapping) is not private
    wire.close(0)


@pytest.mark.parametrize("private", [False, True])
def test_a_private_torrent_keeps_away_from_the_dht_and_the_local_network(
    world: World, private: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GEVENTBT_LSD_INTERFACES", "lo")
    world.torrent("secret")
    torrent = world.made(geventbt.create_torrent(world.origin / "secret", private=private))
    with geventbt.DHT(0, "127.0.0.1", routers=()) as node, Client(dht=node) as client:
        job = client.add(torrent, world.origin, seed_only=True)
        assert job.wait(10)
        wire = geventbt.connect(("127.0.0.1", client.port or 0))
        ports: list[int] = []
        wire.on("port", lambda wire, listen_port: ports.append(listen_port))
        theirs = wire.handshake(torrent.info_hash, geventbt.new_peer_id(), dht=True)
        assert theirs.extensions.dht is not private
        if private:
            remains(lambda: not ports and not node.status().searches)
            assert set(job.sources) == set()
            assert job.dht is None
        else:
            eventually(lambda: ports == [node.port])
            assert {"dht", "pex"} <= set(job.sources)
        wire.close(0)


# --- what can be seen of it ---


def test_everything_can_be_read_in_any_state(world: World, slow_check):
    torrent, other = world.torrent(), world.torrent("other")
    client = world.client()
    states: set[str] = set()

    def watch(job: geventbt.ActiveTorrent) -> None:
        while True:
            everything_of(job)
            states.add(job.state)
            gevent.sleep(0)

    trackers = ["http://127.0.0.1:1/announce"]
    job = client.add(magnet_of(torrent), world.folder / "out", trackers=trackers)
    watcher = world.spawn(watch, job)
    seeds = world.seeds(torrent, 2)
    failing = client.add(other, world.folder / "other", fail_without_peers=True)
    failed = world.spawn(watch, failing)
    eventually(lambda: "metadata" in states)
    job.add_peers(seeds)
    assert job.wait(30)
    eventually(lambda: list(job.trackers) == trackers and job.trackers[trackers[0]].error)
    job.pause()
    eventually(lambda: states >= {"metadata", "downloading", "seeding", "paused"})
    job.resume()
    eventually(lambda: "failed" in states)
    job.remove()
    failing.remove()
    eventually(lambda: "removed" in states)
    assert not watcher.dead
    assert not failed.dead


def test_a_files_status_follows_its_pieces(world: World):
    torrent = world.torrent()
    job = world.download(torrent, world.seeds(torrent, 1), files=["a", "b"])
    assert job.wait(30)
    status = {file.name: (file.priority, file.complete) for file in job.files}
    assert status == {"data/a": (4, True), "data/b": (4, True), "data/c": (0, False)}
    assert job.progress.done == job.progress.wanted == job.pieces.count() * torrent.geometry.piece_length
    assert job.progress.fraction == 1


# --- signals ---


def test_the_signals_tell_the_whole_story_once(world: World):
    torrent = world.torrent(a=100_000, b=13, c=20, d=200_000, e=0)
    job = world.download(torrent, world.seeds(torrent, 2))
    heard = hear(job, "piece_verified", "file_complete", "complete", "peer_added", "peer_removed", "error")
    assert job.wait(30)
    eventually(lambda: [name for name, _ in heard].count("peer_removed") == 2 and ("complete", None) in heard)
    names = [name for name, _ in heard]
    assert sorted(index for name, index in heard if name == "piece_verified") == list(range(torrent.geometry.pieces))
    assert sorted(index for name, index in heard if name == "file_complete") == [0, 1, 2, 3, 4]
    assert names.count("complete") == 1
    assert names.count("peer_added") == names.count("peer_removed") == 2
    assert "error" not in names
    for file in (0, 1, 2, 3):
        before = heard[: heard.index(("file_complete", file))]
        assert {("piece_verified", piece) for piece in pieces_of(torrent, file)} <= set(before)


def pieces_of(torrent: geventbt.Torrent, file: int) -> range:
    start, length = torrent.files[file].offset, torrent.files[file].length
    return range(start // torrent.geometry.piece_length, -(-(start + length) // torrent.geometry.piece_length))


def test_the_shared_signals_tell_of_all_torrents(world: World):
    torrents = [world.torrent("one"), world.torrent("two")]
    done: list[bytes] = []

    def note(job: geventbt.ActiveTorrent) -> None:
        done.append(job.info_hash)

    geventbt.signals.complete.connect(note)
    jobs = [world.download(torrent, world.seeds(torrent, 1)) for torrent in torrents]
    assert all(job.wait(30) for job in jobs)
    eventually(lambda: {torrent.info_hash for torrent in torrents} <= set(done))


def test_a_failed_piece_and_an_error_are_told_of(world: World):
    torrent = world.torrent()

    def serve_junk(wire: geventbt.Wire, read: Any) -> None:
        wire.unchoke()
        wire.serve(lambda piece, offset, length: bytes(length))

    job = world.download(torrent, [world.odd(torrent, serve_junk)], fail_without_peers=True)
    errors = []
    job.on("error", lambda torrent, error: errors.append(error))
    heard = hear(job, "piece_failed", "piece_verified")
    with pytest.raises(NoPeersError) as caught:
        job.wait(30)
    eventually(lambda: errors == [caught.value])
    assert {name for name, _ in heard} == {"piece_failed"}


def test_handlers_that_block_or_raise_hold_nothing_up(world: World):
    torrent = world.torrent()
    seeds = world.seeds(torrent, 1)
    blocked, job = world.download(torrent, seeds), world.download(torrent, seeds, folder="out2")
    block = gevent.event.Event()
    blocked.on("piece_verified", lambda torrent, index: block.wait())
    heard = hear(job, "complete")

    def fail(torrent: Any, **fields: Any) -> None:
        raise RuntimeError("a mistake of the program")

    for name in ("piece_verified", "peer_added", "complete", "file_complete"):
        job.on(name, fail)
    assert job.wait(30)
    assert blocked.wait(30)
    eventually(lambda: heard)
    block.set()


def test_there_is_no_signal_of_another_name(world: World):
    with pytest.raises(LookupError):
        world.download(world.torrent(), []).on("finished", print)


# --- limits of the client ---


def test_a_taken_port_is_an_error_and_leaves_nothing(world: World):
    client = world.client()
    with pytest.raises(OSError) as caught:
        Client(client.port, host="127.0.0.1")
    assert caught.value.errno == errno.EADDRINUSE


def test_two_clients_in_one_folder_do_not_write_over_each_other(world: World):
    torrent = world.torrent()
    first = world.download(torrent, [])
    eventually(lambda: first.state == "downloading")
    second = world.download(torrent, [])
    with pytest.raises(StorageError) as caught:
        second.wait(10)
    assert caught.value.errno == errno.EBUSY
    assert caught.value.filename
    first.add_peers(world.seeds(torrent, 1))
    assert first.wait(30)
    world.assert_complete(torrent)


def test_a_torrent_that_was_refused_its_folder_does_not_record_anything_there(world: World, slow_check):
    torrent = world.torrent()
    client = world.client()
    first = world.download(torrent, world.seeds(torrent, 1), client=client)
    assert first.wait(30)
    other = world.client()
    second = world.download(torrent, [], client=other)
    with pytest.raises(StorageError):
        second.wait(10)
    client.close()
    other.close()
    slow_check.clear()
    job = world.download(torrent, [])
    assert job.wait(10)
    assert not slow_check


def test_the_old_names_of_two_options_still_work(world: World):
    torrent = world.torrent()
    with pytest.warns(DeprecationWarning, match="must_be_complete is now called seed_only"):
        seed = world.client().add(torrent, world.origin, must_be_complete=True)
    assert seed.wait(30)
    with pytest.warns(DeprecationWarning, match="ends_alone is now called fail_without_peers"):
        lonely = world.client().add(torrent, world.folder / "out", ends_alone=True)
    with pytest.raises(geventbt.NoPeersError):
        lonely.wait(30)
