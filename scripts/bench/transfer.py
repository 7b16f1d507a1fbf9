"""One transfer between two whole processes: made, timed, and compared with the original."""

from __future__ import annotations

import compileall
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import geventbt

MIB = 1 << 20
Version: TypeAlias = Literal["1", "2", "hybrid"]
"""Of a torrent: 1 (BEP 3), 2 (BEP 52) or both."""
PROGRAMS = Path(__file__).parent
PACKAGE = Path(geventbt.__file__).parent


@dataclass(frozen=True)
class Side:
    """A client with its settings.

    Attributes:
        program: of this folder.
        arguments: of the program, behind those that all have.
    """

    program: str
    arguments: tuple[str, ...] = ()


OURS = Side("geventbt_client.py")
BEST = Side("libtorrent_client.py", ("best", "1"))
DEFAULTS = Side("libtorrent_client.py", ("defaults", "1"))


def libtorrents(count: int) -> Side:
    """Several sessions at their best, in one process."""
    return Side("libtorrent_client.py", ("best", str(count)))


class Process:
    """A client in a process of its own, which speaks lines of JSON."""

    def __init__(self, action: str, side: Side, torrent: Path, folder: Path, how: tuple[str, str], *ports: int) -> None:
        command = [sys.executable, str(PROGRAMS / side.program), action, str(torrent), str(folder), *how]
        self.started = time.monotonic()
        self._child = subprocess.Popen(
            [*command, *side.arguments, *map(str, ports)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        )
        self._said: dict[str, Any] = {}

    def read(self, key: str) -> Any:
        """Block until the client has said this, and return it."""
        assert self._child.stdout is not None
        while key not in self._said:
            line = self._child.stdout.readline()
            if not line:
                raise RuntimeError(f"a client ended before it said {key!r}: {self._child.args!r}")
            self._said |= json.loads(line)
        return self._said[key]

    def ask(self, key: str) -> Any:
        """Let the client go on, and return what it then says."""
        assert self._child.stdin is not None
        self._child.stdin.write("\n")
        self._child.stdin.flush()
        return self.read(key)

    def wait(self) -> Any:
        """Block until it has ended by itself. Returns what it has used, as `resource.getrusage` does."""
        _, status, usage = os.wait4(self._child.pid, 0)
        self._child.returncode = os.waitstatus_to_exitcode(status)
        self._close()
        if self._child.returncode:
            raise RuntimeError(f"a client ended with {self._child.returncode}: {self._child.args!r}")
        return usage

    def kill(self) -> None:
        """End it, if it has not ended."""
        self._child.kill()
        self._child.wait()
        self._close()

    def _close(self) -> None:
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe is not None
            pipe.close()


@dataclass
class Bench:
    """Makes the payloads, and moves them.

    Args:
        folder: for everything.
        size: MiB of a payload, where nothing else is said.
    """

    folder: Path
    size: int
    _torrents: dict[tuple[int, int, Version], Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # As pip does when it installs the package.
        compileall.compile_dir(PACKAGE, quiet=1)

    def torrent(self, size: int, piece_length: int, version: Version) -> Path:
        """The .torrent file of a payload of `size` MiB in the folder "data"."""
        data = self._data(size)
        if not data.exists():
            data.parent.mkdir(exist_ok=True)
            with open(data, "wb") as file:
                for _ in range(size):
                    file.write(os.urandom(MIB))
        path = self._torrents.get((size, piece_length, version))
        if path is None:
            path = self.folder / f"{size}-{piece_length}-{version}.torrent"
            path.write_bytes(geventbt.create_torrent(data, version=version, piece_length=piece_length).to_bytes())
            self._torrents[size, piece_length, version] = path
        return path

    def transfer(
        self,
        seeder: Side,
        downloader: Side,
        *,
        size: int | None = None,
        piece_length: int = MIB,
        version: Version = "1",
        policy: str = "disable",
        transport: str = "tcp",
        copies: int = 1,
    ) -> dict[str, float]:
        """Move a payload once.

        Args:
            seeder, downloader: who moves it.
            size: MiB of the payload.
            piece_length: bytes of a piece.
            version: of the torrent.
            policy: of both about encryption: "prefer", "require" or "disable".
            transport: of both: "tcp" or "utp".
            copies: how many downloads the downloader's process makes.

        Returns:
            `wall`: seconds from the start of the downloader's process until its files are verified and on disk;
            `end`: until the process has ended; `rate`: MB/s between the seeder's first connection and `wall`, where the
            seeder tells of it; `cpu`: seconds of the downloader's whole process; `seed_cpu`: seconds of the seeder for
            the transfer; `peak`: MiB that the downloader had in memory.
        """
        size = size or self.size
        torrent = self.torrent(size, piece_length, version)
        target = self.folder / "out"
        how = policy, transport
        seed = Process("seed", seeder, torrent, self.folder / "data", how)
        try:
            ports = seed.read("ports")
            load = Process("download", downloader, torrent, target, how, *ports)
            try:
                done = load.read("done")
                usage = load.wait()
                ended = time.monotonic()
            finally:
                load.kill()
            result = {
                "wall": done - load.started,
                "end": ended - load.started,
                "cpu": usage.ru_utime + usage.ru_stime,
                "seed_cpu": seed.ask("cpu"),
                "peak": usage.ru_maxrss / 1024,
            }
            if seeder is not OURS:
                result["rate"] = size * copies * MIB / 1e6 / (done - seed.read("connected"))
            self._compare(target, size, copies)
        finally:
            seed.kill()
            shutil.rmtree(target, ignore_errors=True)
        return result

    def _data(self, size: int) -> Path:
        return self.folder / "data" / f"{size}.bin"

    def _compare(self, target: Path, size: int, copies: int) -> None:
        """Raise unless each copy is what was seeded."""
        for number in range(copies):
            copy = target / (str(number) if number else "") / f"{size}.bin"
            if subprocess.run(["cmp", self._data(size), copy]).returncode:
                raise RuntimeError(f"a download is not what was seeded: {copy}")
