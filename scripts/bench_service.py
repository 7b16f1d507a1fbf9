"""Figures of a daemon with many idle torrents: start, memory, CPU time at rest, and a list of all.

    python scripts/bench_service.py --torrents 1000
    python scripts/bench_service.py --torrents 1000 --transmission

Each torrent is a small file that is there. The daemon is measured from outside, by /proc; with --transmission that is
transmission-daemon in place of geventbt, without DHT, local discovery and port mapping.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import geventbt
from tests.cli.daemon_process import Daemon

FIELDS = [
    *("id", "name", "status", "error", "error_string", "percent_done", "left_until_done", "size_when_done"),
    *("total_size", "rate_download", "rate_upload", "eta", "upload_ratio", "peers_connected", "peers_sending_to_us"),
    *("peers_getting_from_us", "queue_position", "added_date", "download_dir", "is_finished", "labels"),
    *("metadata_percent_complete", "recheck_progress", "uploaded_ever", "seed_ratio_limit"),
]
"""What a web page asks for, 25 fields."""
_SEEDING = 6


class Service(Protocol):
    """A daemon that runs."""

    process: subprocess.Popen[str]

    def __enter__(self) -> Service:
        """Begin."""

    def __exit__(self, *error: object) -> None:
        """End it at once."""

    def add(self, torrent: geventbt.Torrent) -> object:
        """Add a torrent."""

    def torrents(self, *fields: str) -> dict[str, dict[str, Any]]:
        """Fields of all torrents, in snake_case, by their info hashes."""

    def stop(self) -> object:
        """End it."""


class Transmission:
    """transmission-daemon of a folder, over the older spelling of its RPC; a `Service`.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._url = f"http://127.0.0.1:{port}/transmission/rpc"
        self._session_id = ""
        words = ["-f", "-g", folder / "transmission", "-w", folder / "data", "-p", port, "--no-auth", "--no-dht"]
        words += ["--no-lpd", "--no-portmap", "-P", 0, "--no-utp"]
        self.process = subprocess.Popen(
            ["transmission-daemon", *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
        )
        while not self._answers():
            time.sleep(0.05)

    def __enter__(self) -> Transmission:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()

    def add(self, torrent: geventbt.Torrent) -> None:
        """Add a torrent."""
        self._call("torrent-add", metainfo=base64.b64encode(torrent.to_bytes()).decode())

    def torrents(self, *fields: str) -> dict[str, dict[str, Any]]:
        """Fields of all torrents, in snake_case, by their info hashes."""
        names = {_camel(field): field for field in ("hash_string", *fields)}
        found = self._call("torrent-get", fields=list(names))["torrents"]
        return {each["hashString"]: {names[name]: value for name, value in each.items()} for each in found}

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(60)

    def _answers(self) -> bool:
        try:
            self._call("session-stats")
        except OSError:
            return False
        return True

    def _call(self, method: str, **arguments: Any) -> dict[str, Any]:
        body = json.dumps({"method": method, "arguments": arguments}).encode()
        for _ in range(2):
            request = urllib.request.Request(self._url, body, {"X-Transmission-Session-Id": self._session_id})
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return dict(json.load(answer)["arguments"])
            except urllib.error.HTTPError as error:
                self._session_id = error.headers["X-Transmission-Session-Id"]
        raise ConnectionError("the session id was refused")


def _camel(name: str) -> str:
    return re.sub("_(.)", lambda match: match[1].upper(), name)


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torrents", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--seconds", type=float, default=15.0, help="time at rest (default: 15)")
    parser.add_argument("--transmission", action="store_true", help="measure transmission-daemon instead")
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    arguments = parser.parse_args()
    os.environ |= {"GEVENTBT_DHT_ROUTERS": "", "GEVENTBT_LSD_INTERFACES": ""}
    with tempfile.TemporaryDirectory() as folder:
        start = Transmission if arguments.transmission else Daemon
        figures = measure(start, Path(folder), arguments.torrents, arguments.seconds)
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:32} {value:10.2f}")


def measure(start: Callable[[Path], Service], folder: Path, torrents: int, seconds: float) -> dict[str, float]:
    """The figures of one daemon that has been started again with its torrents."""
    torrent_files = [make(folder, number) for number in range(torrents)]
    with start(folder) as daemon:
        started = time.monotonic()
        for torrent in torrent_files:
            daemon.add(torrent)
        adding = time.monotonic() - started
        await_seeding(daemon, torrents)
        daemon.stop()
    started = time.monotonic()
    with start(folder) as daemon:
        ready = time.monotonic() - started
        await_seeding(daemon, torrents)
        all_seed = time.monotonic() - started
        time.sleep(3)
        process = daemon.process.pid
        before = cpu_seconds(process)
        time.sleep(seconds)
        idle = (cpu_seconds(process) - before) / seconds
        before = cpu_seconds(process)
        started = time.monotonic()
        for _ in range(5):
            daemon.torrents(*FIELDS)
        listing, listing_cpu = (time.monotonic() - started) / 5, (cpu_seconds(process) - before) / 5
        figures = {
            "torrents": float(torrents),
            "add over RPC, s": adding,
            "start until ready, s": ready,
            "start until all seed, s": all_seed,
            "memory, MiB": memory(process) / 2**20,
            "CPU at rest, % of a core": 100 * idle,
            "list of all, ms": 1000 * listing,
            "list of all, ms of CPU": 1000 * listing_cpu,
        }
        daemon.stop()
    return figures


def make(folder: Path, number: int) -> geventbt.Torrent:
    """A torrent of a file of 64 KiB, in four pieces."""
    path = folder / "data" / f"file-{number}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(os.urandom(65536))
    return geventbt.create_torrent(path, piece_length=16384)


def await_seeding(daemon: Service, count: int) -> None:
    """Block until all torrents seed."""
    while sum(found["status"] == _SEEDING for found in daemon.torrents("status").values()) < count:
        time.sleep(0.1)


def cpu_seconds(process: int) -> float:
    """The CPU time that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(process: int) -> int:
    """The resident memory of a process, in bytes."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
