"""Clients as programs on the hosts of an emulated network, and what they say."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wan.wan import Wan

import geventbt
from tests.wan.peer import PORT

ROOT = Path(__file__).parent.parent.parent


class Program:
    """A client on a host.

    Args:
        wan: the network.
        host: the name of the host.
        command: what runs.
        folder: where what it says is written.
    """

    def __init__(self, wan: Wan, host: str, command: list[str | Path], folder: Path) -> None:
        self.address = wan.address(host), PORT
        self._said = folder / f"{host}.out"
        self.log = folder / f"{host}.log"
        with self._said.open("w") as output, self.log.open("w") as errors:
            self._process = wan.popen(
                host,
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

    def connect(self, other: Program) -> None:
        """Have it connect to another one."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(other.address) + "\n")
        self._process.stdin.flush()

    @property
    def now(self) -> dict[str, Any]:
        """What it said last of its state and its peers; see `tests.wan.peer`."""
        *_, line = ["{}", *self._said.read_text().splitlines(keepends=True)]
        return json.loads(line) if line.endswith(("}", "}\n")) else {}

    def peer(self, other: Program) -> list[Any] | None:
        """How it is connected to another one: by which transport, and by which sources; None if it is not."""
        for host, _, transport, sources in self.now.get("peers", ()):
            if host == other.address[0]:
                return [transport, sources]
        return None

    def until(self, condition: Callable[[], Any], seconds: float = 20) -> Any:
        """Wait for something that it does. Returns what the condition does."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        return value

    def end(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.communicate()


class Swarm:
    """A torrent, and the clients that have or want it.

    Args:
        wan: the network.
        folder: for everything.
        size: bytes of the torrent's file.
    """

    def __init__(self, wan: Wan, folder: Path, size: int = 1_000_000) -> None:
        self._wan = wan
        self._folder = folder
        self._data = os.urandom(size)
        self._programs: list[Program] = []
        origin = folder / "origin" / "data.bin"
        origin.parent.mkdir()
        origin.write_bytes(self._data)
        self._torrent = folder / "data.torrent"
        torrent = geventbt.create_torrent(origin, piece_length=16384)
        self._torrent.write_bytes(torrent.to_bytes())
        self._magnet = str(geventbt.Magnet.from_torrent(torrent))

    def seed(self, host: str, client: str = "geventbt", *options: str) -> Program:
        """A client that has the file, and is ready."""
        folder = self._folder / host
        folder.mkdir()
        shutil.copy(self._folder / "origin" / "data.bin", folder)
        seed = self._start(host, client, folder, *options, source=self._torrent)
        if client != "transmission":
            seed.until(lambda: seed.now.get("state") == "seeding")
        return seed

    def leech(self, host: str, client: str = "geventbt", *options: str, magnet: bool = False) -> Program:
        """A client that wants the file, and maybe the metadata as well."""
        folder = self._folder / host
        folder.mkdir()
        return self._start(host, client, folder, *options, source=self._magnet if magnet else self._torrent)

    def _start(self, host: str, client: str, folder: Path, *options: str, source: str | Path) -> Program:
        command: list[str | Path] = [sys.executable, "-m", "tests.wan.peer", client, source, folder, *options]
        if client == "transmission":
            command = transmission(source, folder, self._config_of(host))
        self._programs.append(Program(self._wan, host, command, self._folder))
        return self._programs[-1]

    def has_all(self, host: str) -> bool:
        """Whether the file is there, and right."""
        path = self._folder / host / "data.bin"
        return path.exists() and path.read_bytes() == self._data

    def has_metadata(self, host: str) -> bool:
        """Whether Transmission has it."""
        return any((self._config_of(host) / "torrents").glob("*.torrent"))

    def _config_of(self, host: str) -> Path:
        return self._folder / f"{host}.config"

    def end(self) -> None:
        """End all programs."""
        for program in self._programs:
            program.end()


def transmission(source: str | Path, folder: Path, config: Path) -> list[str | Path]:
    """The command of Transmission, which looks for no peers by itself."""
    config.mkdir()
    settings = {"dht-enabled": False, "lpd-enabled": False, "port-forwarding-enabled": False, "utp-enabled": True}
    (config / "settings.json").write_text(json.dumps(settings))
    return ["transmission-cli", "-g", config, "-w", folder, "-p", str(PORT), "-M", source]
