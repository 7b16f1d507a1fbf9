"""Figures of a daemon with many idle torrents: start, memory, CPU time at rest, and a list of all.

    python scripts/bench_service.py --torrents 1000

Each torrent is a small file that is there. The daemon is measured from outside, by /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

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


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torrents", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--seconds", type=float, default=15.0, help="time at rest (default: 15)")
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    arguments = parser.parse_args()
    os.environ |= {"GEVENTBT_DHT_ROUTERS": "", "GEVENTBT_LSD_INTERFACES": ""}
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), arguments.torrents, arguments.seconds)
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:32} {value:10.2f}")


def measure(folder: Path, torrents: int, seconds: float) -> dict[str, float]:
    """The figures of one daemon that has been started again with its torrents."""
    torrent_files = [make(folder, number) for number in range(torrents)]
    with Daemon(folder) as daemon:
        started = time.monotonic()
        for torrent in torrent_files:
            daemon.add(torrent)
        adding = time.monotonic() - started
        await_seeding(daemon, torrents)
        daemon.stop()
    started = time.monotonic()
    with Daemon(folder) as daemon:
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


def await_seeding(daemon: Daemon, count: int) -> None:
    """Block until all torrents seed."""
    while sum(found["status"] == 6 for found in daemon.torrents("status").values()) < count:
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
