"""The daemon as a process: signals, systemd, its configuration, and what a kill leaves."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import geventbt
from geventbt.cli.daemon import settings_of
from geventbt.cli.errors import DISK
from geventbt.cli.main import make_parser
from geventbt.service.record import TorrentRecord
from geventbt.service.store import StateStore
from tests.cli.daemon_process import Daemon
from tests.cli_harness import Call, assert_one_line
from tests.free_port import free_port


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def make(folder: Path, name: str) -> geventbt.Torrent:
    """A torrent whose data is where the daemon downloads to."""
    path = folder / "data" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(os.urandom(50_000))
    return geventbt.create_torrent(path, piece_length=16384)


def test_it_serves_until_it_is_ended_and_knows_its_torrents_when_it_is_started_again(tmp_path: Path) -> None:
    torrent = make(tmp_path, "a")
    config = tmp_path / "daemon.toml"
    config.write_text("limit-up = '100K'\nseeds = 1\nno-lsd = true\n")
    with Daemon(tmp_path, "--config", config) as daemon:
        number = daemon.add(torrent, labels=["x"])
        wait_for(lambda: daemon.torrents("status")[torrent.swarm_hash.hex()]["status"] == 6)
        daemon.call("session_set", seed_queue_size=2, peer_port=(port := free_port()))
        config.write_text("limit-up = '200K'\nseeds = 1\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_told("READY=1")
        settings = daemon.call("session_get", fields=["speed_limit_up", "seed_queue_size", "speed_limit_up_enabled"])
        assert settings == {"speed_limit_up": 204, "seed_queue_size": 2, "speed_limit_up_enabled": True}
        config.write_text("limit-upp = 5\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_told("READY=1")
        code, log = daemon.stop()
    assert code == 0
    assert "the configuration is wrong; the old one holds on" in log
    assert "is 'limit-up' meant?" in log
    assert "Traceback" not in log
    config.write_text("seeds = 1\n")
    with Daemon(tmp_path, "--config", config) as daemon:
        found = daemon.torrents("id", "labels", "done_date")[torrent.swarm_hash.hex()]
        assert (found["id"], found["labels"]) == (number, ["x"])
        assert found["done_date"] > 0
        kept = {"seed_queue_size": 2, "peer_port": port}
        assert daemon.call("session_get", fields=list(kept)) == kept
        assert daemon.stop(signal.SIGINT)[0] == 0


def test_a_kill_loses_no_torrent_that_was_added(tmp_path: Path) -> None:
    torrents = [make(tmp_path, name) for name in "abc"]
    added: dict[str, int] = {}
    for torrent in torrents:
        with Daemon(tmp_path) as daemon:
            assert {key: found["id"] for key, found in daemon.torrents("id").items()} == added
            added[torrent.swarm_hash.hex()] = daemon.add(torrent, labels=[torrent.name])
            assert daemon.stop(signal.SIGKILL)[0] == -signal.SIGKILL
    with Daemon(tmp_path) as daemon:
        assert [found["labels"] for found in daemon.torrents("labels").values()] == [["a"], ["b"], ["c"]]
        assert daemon.stop()[0] == 0


def test_damaged_state_costs_only_what_is_damaged_and_systemd_and_logrotate_are_served(tmp_path: Path) -> None:
    torrent, state, log, config = make(tmp_path, "a"), tmp_path / "state", tmp_path / "log", tmp_path / "c.toml"
    store = StateStore(state)
    store.add(torrent, TorrentRecord(id=7, folder=str(tmp_path / "data"), name="a"))
    store.close()
    (state / "torrents" / f"{'ab' * 20}.torrent").write_bytes(os.urandom(100))
    (state / "torrents" / f"{'cd' * 20}.magnet").write_bytes(b"magnet:?xt=")
    (state / "session.json").write_bytes(b'{"next_id": ')
    config.write_text("seeds = 1\n")
    with Daemon(tmp_path, "--config", config, "--log-file", log) as daemon:
        assert {key: each["id"] for key, each in daemon.torrents("id").items()} == {torrent.swarm_hash.hex(): 7}
        daemon.wait_told("STATUS=1 torrent, 1 running")
        assert len([line for line in log.read_text().splitlines() if "it is kept as" in line]) == 3
        assert len(list(state.rglob("*.bad"))) == 3
        log.rename(tmp_path / "log.1")
        config.write_text("seeds = 2\nwatch = '/nowhere'\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_told("RELOADING=1")
        daemon.wait_told("READY=1")
        assert "hold from the next start on: --watch" in log.read_text()
        daemon.process.send_signal(signal.SIGTERM)
        daemon.wait_told("STOPPING=1")
        assert daemon.process.wait(30) == 0
    assert "stopping" in log.read_text()
    assert "stopping" not in (tmp_path / "log.1").read_text()


def test_two_daemons_cannot_have_one_state(call: Call, tmp_path: Path) -> None:
    store = StateStore(tmp_path / "state")
    second = call("daemon", "--state", tmp_path / "state", "-o", tmp_path, "--port", 0, "--rpc", "127.0.0.1:0")
    store.close()
    assert second.returncode == DISK
    assert_one_line(second.stderr)
    assert "another daemon uses this folder" in second.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not there")
def test_systemd_finds_nothing_wrong_with_the_unit_of_the_guide(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "service.md").read_text()
    (unit,) = re.findall(r"```ini\n(.*?)```", guide, re.DOTALL)
    path = tmp_path / "geventbt.service"
    # Older ones do not know notify-reload, and there is neither this user nor this program.
    for name, there in (("notify-reload", "notify"), ("torrents", "root"), ("/opt/geventbt/bin/geventbt", "/bin/true")):
        unit = unit.replace(f"={name}", f"={there}")
    path.write_text(unit)
    found = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", path], capture_output=True, text=True, timeout=60
    )
    assert (found.returncode, found.stderr) == (0, "")


# ------------------------------------------------------------------ options


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("what = 1", "there is no option 'what'"),
        ("max-peer = 1", "there is no option 'max-peer'; is 'max-peers' meant?"),
        ("max-peers = 'x'", "max-peers: 'x' is not a number from 1 on"),
        ("max-peers = [1]", "max-peers: must be a text or a number"),
        ("paused = 1", "paused: must be true or false"),
        ("root = 'x'", "root: must be a list"),
        ("encryption = 'some'", "'some' is not one of"),
        ("config = 'x'", "there is no option 'config'"),
        ("max-peers =", "Invalid value"),
    ],
)
def test_a_wrong_configuration_is_refused_with_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    config = tmp_path / "daemon.toml"
    config.write_text(text)
    with pytest.raises(SystemExit) as caught:
        make_parser().parse_args(["daemon", "--config", str(config)])
    error = capsys.readouterr().err
    assert caught.value.code == 2
    assert_one_line(error)
    assert f"{config}: " in error
    assert message in error


def test_the_command_line_holds_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "daemon.toml"
    config.write_text(
        "limit-up = '1K'\nlimit-down = '1K'\nseeds = 3\ndownloads = 9\nroot = ['/a', '/b']\npaused = true\n"
        "incomplete = '/c'\nport = 7000\nencryption = 'allow'"
    )
    monkeypatch.setenv("GEVENTBT_CONFIG", str(config))
    monkeypatch.setenv("GEVENTBT_LIMIT_UP", "2K")
    monkeypatch.setenv("GEVENTBT_SEEDS", "4")
    arguments = make_parser().parse_args(["daemon", "--seeds", "5", "-o", "/data"])
    assert arguments.root == ["/a", "/b"]
    settings = settings_of(arguments)
    wanted = {
        "port": 7000,
        "encryption": "allow",
        "incomplete_dir": "/c",
        "has_incomplete_dir": True,
        "limit_up": 2048,
        "limit_down": 1024,
        "seeds": 5,
        "downloads": 9,
        "starts_added": False,
    }
    assert {name: settings[name] for name in wanted} == wanted
    # A socket that systemd hands on is not left for another port.
    assert settings_of(arguments, has_port=True)["port"] == 0


def test_what_is_wrong_is_said_in_a_line(call: Call, tmp_path: Path) -> None:
    missing = call("daemon", "--login-file", tmp_path / "nothing", "--check-config")
    assert missing.returncode != 0
    assert_one_line(missing.stderr)
    assert call("daemon", "--state", tmp_path / "state", "--check-config").returncode == 0
    assert not (tmp_path / "state").exists()
