"""``geventbt seed --workers N``: several processes on one port."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import geventbt
from tests.cli import test_signals as signals
from tests.cli_harness import process_of, run_here
from tests.loopback.harness import eventually

OPTIONS = ["--host", "127.0.0.1", "--workers", 2, "--no-dht", "--no-lsd", "--json"]
pytestmark = pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="this system has no SO_REUSEPORT")


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system has no /proc")


def children_of(process: subprocess.Popen[str]) -> list[int]:
    """The processes that a process has started."""
    return [int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def is_running(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def fetch_block(torrent: geventbt.Torrent, port: int) -> bytes:
    """Fetch a block from the process that the system chooses. Returns its peer id."""
    with geventbt.connect(("127.0.0.1", port)) as wire:
        peer_id = wire.handshake(torrent.info_hash, geventbt.new_peer_id()).peer_id
        wire.interested()
        wire.wait_unchoked(10)
        assert len(wire.read(0, 0, 16384)) == 16384
    return peer_id


class Tracker(signals.Tracker):
    """Also keeps what it is asked."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        super().__init__()

    def note(self, path: str) -> None:
        self.paths.append(path)
        super().note(path)


@pytest.fixture
def tracker() -> Iterator[Tracker]:
    tracker = Tracker()
    thread = threading.Thread(target=tracker.server.serve_forever, args=[0.05])
    thread.start()
    yield tracker
    tracker.server.shutdown()
    tracker.server.server_close()
    thread.join()


@needs_proc
def test_workers_share_the_port_are_started_anew_and_end_with_the_command(
    torrent_file: Path, origin: Path, tracker: Tracker
) -> None:
    torrent = geventbt.Torrent.from_file(torrent_file)
    with process_of("seed", torrent_file, origin, *OPTIONS, "--port", 0, "--tracker", tracker.url) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = (json.loads(line) for line in process.stdout)
        port = next(line["port"] for line in lines if line["event"] == "listening")
        peer_ids: list[bytes] = []

        def have_served(workers: int) -> bool:
            peer_ids.append(fetch_block(torrent, port))
            return len(set(peer_ids)) == workers

        eventually(lambda: have_served(2), 30)
        (worker,) = children_of(process)
        by_worker = peer_ids.count(peer_ids[-1])

        os.kill(worker, signal.SIGKILL)
        assert "worker 2 has ended (signal 9); started again in" in process.stderr.readline()
        eventually(lambda: have_served(3), 30)
        (worker,) = children_of(process)

        process.terminate()
        assert process.wait(20) == 143
        assert not is_running(worker)
    # One has announced; what the worker sent before it was killed may not have been reported.
    assert tracker.events == ["started", "stopped"]
    (uploaded,) = re.findall(r"uploaded=(\d+)", tracker.paths[-1])
    assert 0 <= len(peer_ids) - int(uploaded) / 16384 <= by_worker


@needs_proc
def test_workers_end_where_the_command_is_killed(torrent_file: Path, origin: Path) -> None:
    with process_of("seed", torrent_file, origin, *OPTIONS, "--port", 0) as process:
        eventually(lambda: children_of(process), 30)
        (worker,) = children_of(process)
        process.kill()
        eventually(lambda: not is_running(worker))


def test_a_port_that_another_program_has_is_not_shared(
    torrent_file: Path, origin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with geventbt.listen(("127.0.0.1", 0), reuse_port=True) as other:
        assert run_here("seed", torrent_file, origin, *OPTIONS, "--port", other.server_port) == 5
    assert "is in use" in capsys.readouterr().err


def test_workers_do_not_serve_over_utp_alone(
    torrent_file: Path, origin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here("seed", torrent_file, origin, *OPTIONS, "--transport", "utp") == 2
    assert "not with --transport utp" in capsys.readouterr().err
