"""SIGINT, SIGTERM and SIGHUP end every command cleanly, each with its exit code; the second one at once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.cli_harness import COMMAND, OnTerminal, json_lines, make_torrent_file, of_event
from tests.cli_harness import run_here as run

CODES = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


class Tracker:
    """A tracker that keeps the events that it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self._changed = threading.Condition()
        tracker = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                tracker.note(self.path)
                body = b"d8:intervali1800e5:peers0:e"
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/announce"

    def note(self, path: str) -> None:
        with self._changed:
            self.events += [part[6:] for part in path.split("&") if part.startswith("event=")]
            self._changed.notify_all()

    def wait_for(self, event: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: event in self.events, 30), self.events


@pytest.fixture
def tracker() -> Iterator[Tracker]:
    tracker = Tracker()
    thread = threading.Thread(target=tracker.server.serve_forever, args=(0.05,))
    thread.start()
    yield tracker
    tracker.server.shutdown()
    thread.join()
    tracker.server.server_close()


def command_of(kind: str, tracker: Tracker, origin: Path, tmp_path: Path) -> list[str]:
    """A seeder, or a download without peers, known to the tracker."""
    torrent_file = make_torrent_file(tmp_path, origin, trackers=[[tracker.url]])
    where = [str(origin)] if kind == "seed" else ["-o", str(tmp_path / "out")]
    return [*COMMAND, kind, str(torrent_file), *where, "--host", "127.0.0.1", "--port", "0"]


def wait_until_known(process: subprocess.Popen[str], tracker: Tracker) -> None:
    """Wait until the tracker's answer has come to a command with --json, which shows its progress once a second."""
    tracker.wait_for("started")
    assert process.stdout is not None
    for _ in range(2):
        while (line := process.stdout.readline()) and '"progress"' not in line:
            pass


@pytest.mark.parametrize("kind", ["seed", "download"])
@pytest.mark.parametrize(("number", "code"), CODES)
def test_each_signal_tells_the_trackers_and_programs(
    kind: str, number: int, code: int, tracker: Tracker, origin: Path, tmp_path: Path
) -> None:
    command = [*command_of(kind, tracker, origin, tmp_path), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until_known(process, tracker)
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert tracker.events[-1] == "stopped"
    assert len(of_event(json_lines(output), "interrupted")) == 1
    assert errors.splitlines()[-1].startswith("interrupted: ")
    assert "Traceback" not in errors


@pytest.mark.parametrize(("number", "code"), CODES)
def test_each_signal_leaves_the_terminal_with_its_cursor(
    number: int, code: int, torrent_file: Path, origin: Path
) -> None:
    with OnTerminal("seed", torrent_file, origin, "--host", "127.0.0.1", "--port", "0") as terminal:
        terminal.read_until(lambda shown: "complete" in shown)
        terminal.process.send_signal(number)
        assert terminal.wait() == code
    assert terminal.output.rindex(SHOW) > terminal.output.rindex(HIDE)
    assert "interrupted: run the same command to seed again" in terminal.output.splitlines()[-1]


@pytest.mark.parametrize(("number", "code"), CODES)
@pytest.mark.parametrize("command", ["create", "verify"])
def test_hashing_ends_at_each_signal_with_the_cursor_shown(
    command: str, number: int, code: int, tmp_path: Path
) -> None:
    data = tmp_path / "large"
    with open(data, "wb") as file:
        file.truncate(1 << 36)
    arguments: list[object] = [data, "-o", tmp_path / "large.torrent", "--piece-length", "16M"]
    if command == "verify":
        torrent = tmp_path / "small.torrent"
        from geventbt import Torrent, bencoding

        info = {"name": "large", "piece length": 1 << 24, "pieces": bytes(20 << 12), "length": 1 << 36}
        torrent.write_bytes(Torrent.from_info(bencoding.encode(info)).to_bytes())
        arguments = [torrent, data]
    with OnTerminal(command, *arguments) as terminal:
        terminal.read_until(lambda shown: "pieces" in shown)
        terminal.process.send_signal(number)
        assert terminal.wait() == code
    assert terminal.output.rindex(SHOW) > terminal.output.rindex(HIDE)
    assert "Traceback" not in terminal.output
    assert not (tmp_path / "large.torrent").exists()


def test_a_terminal_that_is_gone_is_no_error_of_the_command(tracker: Tracker, origin: Path, tmp_path: Path) -> None:
    arguments = command_of("seed", tracker, origin, tmp_path)[len(COMMAND) :]
    with OnTerminal(*arguments) as terminal:
        tracker.wait_for("started")
        terminal.hang_up()
        terminal.process.send_signal(signal.SIGHUP)
        assert terminal.process.wait(30) == 129


def test_nohup_is_respected(tracker: Tracker, origin: Path, tmp_path: Path) -> None:
    command = ["nohup", *command_of("seed", tracker, origin, tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        tracker.wait_for("started")
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="only root of Linux can make a process 1",
)
@pytest.mark.parametrize(("number", "code"), CODES)
def test_process_1_of_a_container_stops_cleanly(
    number: int, code: int, tracker: Tracker, origin: Path, tmp_path: Path
) -> None:
    command = ["unshare", "--pid", "--fork", *command_of("seed", tracker, origin, tmp_path), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        wait_until_known(process, tracker)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), number)
        process.wait(30)
    assert process.returncode == code
    assert tracker.events[-1] == "stopped"


def test_the_handlers_of_the_caller_are_left_as_they_were(torrent_file: Path, tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number, _ in CODES]
    assert run("info", torrent_file) == 0
    assert run("download", torrent_file, "-o", tmp_path, "--peer", "127.0.0.1:1") == 5
    assert [signal.getsignal(number) for number, _ in CODES] == before


def test_ctrl_c_while_the_command_is_loaded_leaves_no_traceback() -> None:
    code = """
import signal, sys

class Finder:
    def find_spec(self, name, *arguments):
        if name == "geventbt.cli.main":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Finder())
from geventbt.__main__ import main

sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
