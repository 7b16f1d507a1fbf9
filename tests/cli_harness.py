"""Helpers for the tests of the command line: a small torrent, and the command as a process, on a terminal or not."""

from __future__ import annotations

import json
import os
import pty
import select
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ
from typing import Any

import geventbt
from geventbt.cli.main import run

COMMAND = [sys.executable, "-m", "geventbt"]
Call = Callable[..., "subprocess.CompletedProcess[str]"]
FILES = {"one.bin": 300_001, "sub/two.bin": 70_000, "sub/three.txt": 100}
PIECES = 23


def make_origin(tmp_path: Path) -> Path:
    """A folder "shared" of three files."""
    folder = tmp_path / "origin" / "shared"
    for name, length in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(os.urandom(length))
    return folder


def make_torrent_file(tmp_path: Path, origin: Path, **options: Any) -> Path:
    """A torrent of a folder, as a file."""
    path = tmp_path / "shared.torrent"
    path.write_bytes(geventbt.create_torrent(origin, piece_length=16384, **options).to_bytes())
    return path


def run_here(*arguments: object) -> int:
    """The command in this process, where peers may run as well. Returns its exit code."""
    return run(list(map(str, arguments)))


@contextmanager
def seeding_process(torrent_file: Path, data: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A seeder in a process of its own, and its address."""
    with process_of("seed", torrent_file, data, "--host", "127.0.0.1", "--port", "0") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("seeding "), line
        yield process, line.split()[-1]


@contextmanager
def process_of(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, which is killed at the end."""
    command = [*COMMAND, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def json_lines(text: str) -> list[dict[str, Any]]:
    """The objects of the option --json."""
    return [json.loads(line) for line in text.splitlines()]


def of_event(lines: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    """Those objects that are of an event."""
    return [line for line in lines if line["event"] == event]


def assert_one_line(text: str) -> None:
    """An error message: one line, without a traceback."""
    assert text.count("\n") == 1, text
    assert "Traceback" not in text


def _environment() -> dict[str, str]:
    """One in which it is the terminal that says how large it is."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    return {**inherited, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}


class OnTerminal:
    """The command with a terminal for standard output and error.

    Attributes:
        output: what has been shown so far.
    """

    def __init__(self, *arguments: object, command: list[str] | None = None, columns: int = 120) -> None:
        self.output = ""
        self._ours, theirs = pty.openpty()
        ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        self.process = subprocess.Popen(
            [*(command or COMMAND), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env=_environment(),
        )
        os.close(theirs)

    def read_until(self, condition: Callable[[str], object], seconds: float = 30) -> None:
        """Read until what is shown is so; fails when it is not in time, or the command ends before."""
        deadline = time.monotonic() + seconds
        while not condition(self.output):
            assert time.monotonic() < deadline, self.output
            assert self._read(), self.output

    def wait(self, seconds: float = 30) -> int:
        """Read to the end. Returns the exit code."""
        deadline = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < deadline, self.output
        return self.process.wait(seconds)

    def hang_up(self) -> None:
        """Close the terminal. It is the kernel that tells the command so, where that leads a session."""
        os.close(self._ours)
        self._ours = -1

    def _read(self) -> bool:
        """Whether there may be more."""
        if not select.select([self._ours], [], [], 0.1)[0]:
            return True
        try:
            data = os.read(self._ours, 65536)
        except OSError:
            # So a terminal says that its last writer has closed it.
            return False
        self.output += data.decode(errors="replace")
        return bool(data)

    def __enter__(self) -> OnTerminal:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        if self._ours >= 0:
            os.close(self._ours)
