"""``geventbt seed --workers N``: several processes on one port."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

import geventbt
from tests.cli_harness import process_of, run_here
from tests.loopback.harness import eventually

pytestmark = pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="this system has no SO_REUSEPORT")


def children_of(process: subprocess.Popen[str]) -> list[int]:
    """The processes that a process has started."""
    return [int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def is_running(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def serves(torrent: geventbt.Torrent, port: int, peer_ids: set[bytes]) -> bool:
    """Fetch a piece of whoever the system chooses, and note its peer id."""
    with geventbt.connect(("127.0.0.1", port)) as wire:
        peer_ids.add(wire.handshake(torrent.info_hash, geventbt.new_peer_id()).peer_id)
        wire.interested()
        wire.wait_unchoked(10)
        return len(wire.read(0, 0, 16384)) == 16384


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system has no /proc")
def test_workers_share_the_port_are_started_anew_and_end_with_the_command(torrent_file: Path, origin: Path) -> None:
    torrent = geventbt.Torrent.from_file(torrent_file)
    options = ["--host", "127.0.0.1", "--port", 0, "--workers", 2, "--no-dht", "--no-lsd", "--json"]
    with process_of("seed", torrent_file, origin, *options) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = (json.loads(line) for line in process.stdout)
        port = next(line["port"] for line in lines if line["event"] == "listening")
        peer_ids: set[bytes] = set()
        eventually(lambda: serves(torrent, port, peer_ids) and len(peer_ids) == 2, 30)
        (worker,) = children_of(process)

        os.kill(worker, signal.SIGKILL)
        assert "worker 2 has ended (signal 9); started again in" in process.stderr.readline()
        eventually(lambda: serves(torrent, port, peer_ids) and len(peer_ids) == 3, 30)
        (worker,) = children_of(process)

        process.terminate()
        assert process.wait(20) == 143
        eventually(lambda: not is_running(worker))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system has no /proc")
def test_the_status_is_the_sum_and_workers_end_where_the_command_is_killed(torrent_file: Path, origin: Path) -> None:
    torrent = geventbt.Torrent.from_file(torrent_file)
    options = ["--host", "127.0.0.1", "--port", 0, "--workers", 2, "--no-dht", "--no-lsd", "--json"]
    with process_of("seed", torrent_file, origin, *options) as process:
        assert process.stdout is not None
        lines = (json.loads(line) for line in process.stdout)
        port = next(line["port"] for line in lines if line["event"] == "listening")
        peer_ids: set[bytes] = set()
        served = 0

        def both_have_served() -> bool:
            nonlocal served
            served += serves(torrent, port, peer_ids)
            return len(peer_ids) == 2

        eventually(both_have_served, 30)
        shown = (line["uploaded"] for line in lines if line["event"] == "progress")
        assert next(uploaded for uploaded in shown if uploaded >= served * 16384) == served * 16384
        (worker,) = children_of(process)
        process.kill()
        eventually(lambda: not is_running(worker))


def test_a_port_that_another_program_has_is_not_shared(
    torrent_file: Path, origin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with geventbt.listen(("127.0.0.1", 0), reuse_port=True) as other:
        options = ["--host", "127.0.0.1", "--port", other.server_port, "--workers", 2, "--no-dht", "--no-lsd"]
        assert run_here("seed", torrent_file, origin, *options) == 5
    assert "is in use" in capsys.readouterr().err
