"""Programs that people control Transmission with: Debian's transmission-remote, and transmission-rpc of PyPI."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import subprocess

import geventbt
from geventbt import limits
from geventbt.service.session import Session
from geventbt.service.torrent import ServiceTorrent
from geventbt.web import Login, WebServer, make_app, rpc, serve
from tests.free_port import free_port
from tests.loopback.harness import eventually
from tests.loopback.web_server import WebServer as FileServer
from tests.loopback.world import World

pytestmark = pytest.mark.interop
needs_remote = pytest.mark.skipif(
    not shutil.which("transmission-remote"), reason="transmission-remote is not installed (Debian: transmission-cli)"
)
LOGIN = "me", "secret"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.end()


@pytest.fixture
def session(world: World) -> Iterator[Session]:
    (world.folder / "out").mkdir()
    made = Session(world.client(), settings={"download_dir": str(world.folder / "out")}, roots=[world.folder])
    yield made
    made.close()


@pytest.fixture
def server(session: Session) -> Iterator[WebServer]:
    answers = rpc.Rpc(session.client, session, fetches_private_urls=True)
    parts = {"/transmission": rpc.rpc_app(session.client, session, rpc=answers)}
    login = Login.from_text(":".join(LOGIN))
    made = serve(make_app(session.client, session.settings.download_dir, login=login, parts=parts))
    yield made
    made.stop(0.1)


@pytest.fixture
def torrent(world: World) -> geventbt.Torrent:
    torrent = world.torrent()
    (world.folder / "data.torrent").write_bytes(torrent.to_bytes())
    return torrent


Remote = Callable[..., str]


@pytest.fixture
def remote(server: WebServer) -> Remote:
    """Runs transmission-remote. Returns what it prints."""

    def run(*arguments: object) -> str:
        command = ["transmission-remote", f"127.0.0.1:{server.server_port}", "--auth", ":".join(LOGIN)]
        done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        assert "error" not in done.stdout.lower().replace('error: ""', ""), done.stdout
        return str(done.stdout)

    return run


def downloaded(world: World, session: Session, torrent: geventbt.Torrent) -> ServiceTorrent:
    """The torrent that was added, after its download."""
    added = session.find(torrent.swarm_hash)
    assert added is not None
    added.active.add_peers(world.seeds(torrent, 1))
    eventually(lambda: added.active.state == "seeding")
    return added


def columns(text: str) -> list[list[str]]:
    """The words of each line."""
    return [line.split() for line in text.splitlines()]


@needs_remote
def test_transmission_remote_adds_lists_and_chooses_files(
    world: World, session: Session, torrent: geventbt.Torrent, remote: Remote
) -> None:
    assert "success" in remote("--add", world.folder / "data.torrent", "--download-dir", world.folder / "other")
    added = downloaded(world, session, torrent)
    (_, row, _) = columns(remote("--list"))
    assert (row[0], row[1], row[-1]) == ("1", "100%", "data")
    details = remote("--torrent", 1, "--info")
    assert f"Hash: {torrent.swarm_hash.hex()}" in details
    assert f"Location: {world.folder / 'other'}" in details
    assert [line[-1] for line in columns(remote("-t", 1, "--files"))[2:]] == ["data/a", "data/b", "data/c"]
    remote("-t", 1, "--no-get", "0", "--priority-high", "2")
    eventually(lambda: [file.priority for file in added.active.files] == [0, 4, 7])
    assert [line[2:4] for line in columns(remote("-t", 1, "-f"))[2:]] == [
        ["Normal", "No"],
        ["Normal", "Yes"],
        ["High", "Yes"],
    ]
    remote("-t", 1, "--get", "all")
    assert [line[3] for line in columns(remote("-t", 1, "-f"))[2:]] == ["Yes", "Yes", "Yes"]
    assert "11111111" in remote("-t", 1, "--info-pieces")
    remote("-t", 1, "--info-peers")


@needs_remote
def test_transmission_remote_sets_limits_and_trackers(
    world: World, session: Session, torrent: geventbt.Torrent, remote: Remote
) -> None:
    remote("--start-paused")
    remote("--add", world.folder / "data.torrent")
    added = session.find(torrent.swarm_hash)
    assert added is not None
    assert added.record.is_stopped
    remote("-t", 1, "--downlimit", 100, "--uplimit", 50, "--seedratio", "1.5", "--peers", 20, "--bandwidth-high")
    assert (added.record.rate_down, added.record.rate_up, added.record.ratio) == (100_000, 50_000, 1.5)
    details = remote("-t", 1, "-i")
    assert "Download Limit: 100 kB/s" in details
    assert "Ratio Limit: 1.5" in details
    assert "Peer limit: 20" in details
    remote("-t", 1, "--tracker-add", "http://127.0.0.1:1/announce")
    eventually(lambda: added.active.tracker_tiers == [["http://127.0.0.1:1/announce"]])
    assert "http://127.0.0.1:1" in remote("-t", 1, "--info-trackers")
    remote("-t", 1, "--tracker-remove", 1)
    eventually(lambda: added.active.tracker_tiers == [])
    remote("--downlimit", 300, "--uplimit", 200, "--global-seedratio", 3, "--alt-speed")
    assert (session.settings.limit_down, session.settings.ratio, session.settings.is_slow) == (300_000, 3, True)
    assert "Enabled turtle limit: 50 kB/s" in remote("--session-info")
    remote("--no-alt-speed", "--no-downlimit")
    remote(
        "--alt-speed-scheduler",
        "--alt-speed-time-begin",
        "0030",
        "--alt-speed-time-end",
        "0110",
        "--alt-speed-days",
        "6-7",
    )
    settings = session.settings
    assert (settings.has_schedule, settings.slow_begin, settings.slow_end, settings.slow_days) == (True, 30, 70, 65)
    remote("--no-alt-speed-scheduler", "-t", 1, "--no-honor-session")
    assert not added.record.keeps_session_limits
    remote("--uplimit", 0)
    assert session.client.limit_up == 0
    remote("-t", 1, "--labels", "one,two", "--bandwidth-low")
    assert added.record.labels == ["one", "two"]
    assert session.client.limit_down is None
    remote("--session-stats")


@needs_remote
def test_transmission_remote_stops_checks_moves_and_removes(
    world: World, session: Session, torrent: geventbt.Torrent, remote: Remote
) -> None:
    remote("--add", f"{geventbt.Magnet.from_torrent(torrent)}")
    added = downloaded(world, session, torrent)
    remote("-t", 1, "--stop")
    eventually(lambda: "Stopped" in remote("--list"))
    remote("-t", 1, "--start")
    eventually(lambda: added.active.state == "seeding")
    remote("-t", torrent.swarm_hash.hex(), "--verify", "--reannounce")
    eventually(lambda: added.active.state == "seeding")
    remote("-t", 1, "--move", world.folder / "new")
    eventually(lambda: added.active.state == "seeding" and (world.folder / "new" / "data" / "c").exists())
    assert not (world.folder / "out" / "data").exists()
    shutil.copytree(world.origin / "data", world.folder / "copy" / "data")
    remote("-t", 1, "--find", world.folder / "copy")
    eventually(lambda: added.active.state == "seeding")
    remote("-t", 1, "--find", world.folder / "new")
    eventually(lambda: added.active.state == "seeding")
    remote("-t", 1, "--remove-and-delete")
    assert not (world.folder / "new" / "data").exists()
    assert (world.folder / "copy" / "data" / "a").exists()
    assert len(columns(remote("--list"))) == 2


@needs_remote
def test_transmission_remote_needs_the_password(server: WebServer) -> None:
    done = subprocess.run(
        ["transmission-remote", f"127.0.0.1:{server.server_port}", "--auth", "me:wrong", "--list"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "password" in done.stderr


@needs_remote
def test_transmission_remote_has_downloads_elsewhere_until_they_are_complete(
    world: World, session: Session, torrent: geventbt.Torrent, remote: Remote
) -> None:
    remote("--incomplete-dir", world.folder / "incomplete")
    settings = session.settings
    assert (settings.has_incomplete_dir, settings.incomplete_dir) == (True, str(world.folder / "incomplete"))
    remote("--add", world.folder / "data.torrent")
    remote("-t", 1, "--downlimit", 100)
    added = session.find(torrent.swarm_hash)
    assert added is not None
    added.active.add_peers(world.seeds(torrent, 1))
    eventually(lambda: added.active.progress.done)
    assert (world.folder / "incomplete" / "data").exists()
    assert f"Location: {world.folder / 'out'}" in remote("-t", 1, "--info")
    remote("-t", 1, "--no-downlimit")
    eventually(lambda: (world.folder / "out" / "data" / "c").exists() and added.active.state == "seeding")
    world.assert_complete(torrent)
    remote("--no-incomplete-dir")
    assert not settings.has_incomplete_dir


@needs_remote
def test_transmission_remote_changes_port_and_encryption(
    world: World, session: Session, torrent: geventbt.Torrent, remote: Remote
) -> None:
    remote("--add", world.folder / "data.torrent", "--download-dir", world.origin)
    port = free_port()
    remote("--port", port)
    assert session.client.port == port
    taker = world.client(port=None, encryption="require")
    assert world.download(torrent, [("127.0.0.1", port)], client=taker).wait(10)
    shown = remote("--session-info")
    assert f"Peer port: {port}" in shown.replace("Listenport", "Peer port")
    assert "Encryption: preferred" in shown
    for option, policy, word in (("-er", "require", "required"), ("-et", "allow", "tolerated")):
        remote(option)
        assert session.client.encryption == policy
        assert f"Encryption: {word}" in remote("--session-info")


@needs_remote
def test_transmission_remote_gives_a_torrent_a_larger_share(
    world: World, session: Session, torrent: geventbt.Torrent, remote: Remote
) -> None:
    other = world.torrent("other")
    (world.folder / "other.torrent").write_bytes(other.to_bytes())
    for name in ("data", "other"):
        remote("--add", world.folder / f"{name}.torrent")
    remote("-t", 1, "--bandwidth-high")
    remote("-t", 2, "--bandwidth-normal")
    remote("--downlimit", 400)
    jobs = first, second = session.torrents
    for job, wanted in zip(jobs, (torrent, other), strict=True):
        job.active.add_peers(world.seeds(wanted, 1))
    eventually(lambda: first.active.downloaded and second.active.downloaded)
    before = [job.active.downloaded for job in jobs]
    # Of a common limit it has eight of nine parts.
    eventually(lambda: first.active.downloaded >= before[0] + 30 * limits.BLOCK)
    assert second.active.downloaded - before[1] <= 15 * limits.BLOCK
    remote("-t", 2, "--bandwidth-low")
    assert second.active.rate_weight < 1 < first.active.rate_weight


def in_thread(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call what blocks its native thread."""
    return gevent.get_hub().threadpool.apply(function, arguments, options)


def test_transmission_rpc_controls_everything(
    world: World, session: Session, torrent: geventbt.Torrent, server: WebServer
) -> None:
    package = pytest.importorskip("transmission_rpc", reason="transmission-rpc is not installed")
    client = in_thread(package.Client, host="127.0.0.1", port=server.server_port, username=LOGIN[0], password=LOGIN[1])

    def call(name: str, *arguments: Any, **options: Any) -> Any:
        return in_thread(getattr(client, name), *arguments, **options)

    data = (world.folder / "data.torrent").read_bytes()
    number = call("add_torrent", data, download_dir=str(world.folder / "out"), labels=["x"], files_unwanted=[1]).id
    added = downloaded(world, session, torrent)
    found = call("get_torrent", number)
    assert (found.name, found.hash_string, found.percent_done, found.labels) == (
        "data",
        torrent.swarm_hash.hex(),
        1.0,
        ["x"],
    )
    assert [(file.name, file.selected) for file in found.get_files()] == [
        ("data/a", True),
        ("data/b", False),
        ("data/c", True),
    ]
    assert str(found.status) == "seeding"
    call("change_torrent", number, priority_high=[0], download_limit=10, download_limited=True, peer_limit=5)
    assert [file.priority.name for file in call("get_torrent", number).get_files()] == ["High", "Normal", "Normal"]
    call("change_torrent", number, tracker_list=[["http://127.0.0.1:1/announce"]])
    eventually(lambda: added.active.tracker_tiers == [["http://127.0.0.1:1/announce"]])
    assert call("get_torrent", number).tracker_stats[0].announce == "http://127.0.0.1:1/announce"
    call("verify_torrent", number)
    call("reannounce_torrent", number)
    eventually(lambda: str(call("get_torrent", number).status) == "seeding")
    assert call("rename_torrent_path", number, "data/a", "first") == ("data/a", "first")
    eventually(lambda: str(call("get_torrent", number).status) == "seeding")
    call("move_torrent_data", number, str(world.folder / "new"))
    eventually(lambda: (world.folder / "new" / "data" / "first").exists())
    call("stop_torrent", number)
    eventually(lambda: str(call("get_torrent", number).status) == "stopped")
    call("start_torrent_now", number)
    for move in ("queue_top", "queue_bottom", "queue_up", "queue_down"):
        call(move, number)
    call("set_session", speed_limit_up=20, speed_limit_up_enabled=True, peer_limit_global=50)
    assert call("get_session").speed_limit_up == 20
    assert session.client.limit_up == 20_000
    call("set_group", "slow", speed_limit_down=50, speed_limit_down_enabled=True, honors_session_limits=False)
    group = call("get_group", "slow")
    assert (group.name, group.speed_limit_down, group.honors_session_limits) == ("slow", 50, False)
    call("change_torrent", number, group="slow", seed_ratio_limit=1.5, seed_ratio_mode=1, seed_idle_mode=2)
    found = call("get_torrent", number)
    assert (found.group, found.seed_ratio_limit, found.seed_ratio_mode) == ("slow", 1.5, 1)
    (world.folder / "list").write_text("192.0.2.0/24\n")
    files = FileServer(world.folder)
    call("set_session", blocklist_url=f"{files.url}list", blocklist_enabled=True)
    assert call("blocklist_update") == 1
    assert session.client.network.blocks("192.0.2.9")
    files.stop()
    assert call("session_stats").torrent_count == 1
    assert call("free_space", str(world.folder)) > 0
    assert call("port_test") is False
    assert [each.id for each in call("get_recently_active_torrents")[0]] == [number]
    call("remove_torrent", number, delete_data=True)
    assert call("get_torrents") == []
    assert not (world.folder / "new" / "data").exists()
