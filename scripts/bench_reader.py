"""Benchmark of a reader over an emulated wide area network, by us and by libtorrent's deadlines of pieces.

    python scripts/bench_reader.py [ten one] [--repeat 2] [--json]

Each host is a namespace with its own uplink, delay and loss, and runs one client; the seeds are ours and listen before
the reader connects. Needs root, gcc and, for the comparison, libtorrent.

Columns, in seconds: from the first connection to the first byte; from a seek to the next byte, the median and the
worst; and for how long playback stood still in all, but for the first half second behind the start and each seek.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from wan.wan import Host, Wan, congestion_control, missing_requirement

import geventbt

ROOT = Path(__file__).resolve().parent.parent
MIB = 1 << 20
MBIT = 125_000
PROGRAM = ROOT / "scripts" / "bench" / "reader_client.py"
READERS = ("geventbt", "libtorrent")


@dataclass(frozen=True)
class Scenario:
    """A reader and its seeds.

    Attributes:
        seeds: (Mbit/s, delay in ms, loss in percent) of each.
        rate: Mbit/s that are played.
        mib: the size of the file.
        starts: seconds of the download before it is read.
    """

    seeds: tuple[tuple[float, float, float], ...]
    rate: float
    mib: int
    starts: float = 0.0


TEN = tuple(
    zip(
        (1, 2, 3, 5, 8, 10, 11.5, 13, 14, 20),
        (10, 150, 20, 80, 40, 120, 30, 60, 100, 50),
        (0, 1, 0, 0.2, 0, 0.5, 0, 0.1, 0, 0.2),
        strict=True,
    )
)
SCENARIOS = {
    "ten": Scenario(TEN, 20, 192),
    "quarter": Scenario(TEN, sum(up for up, _, _ in TEN) / 4, 192),
    "one": Scenario(((8, 1, 0),), 2, 64, starts=4),
}
"""Ten seeds of 1 to 20 Mbit/s, at 20 Mbit/s and at a quarter of what they give; one of 1 MB/s."""
PLAYS = 2.5
PLACES = (0.8, 0.3, 0.6, 0.45)


def run(scenario: Scenario, reader: str, folder: Path) -> dict[str, Any]:
    """Read once. Returns the columns."""
    names = [f"seed{number}" for number in range(len(scenario.seeds))]
    hosts = [
        Host(name, up, 100, delay, loss=loss) for name, (up, delay, loss) in zip(names, scenario.seeds, strict=True)
    ]
    session = {
        "starts": scenario.starts,
        "rate": scenario.rate * MBIT,
        "plays": PLAYS,
        "places": [int(part * scenario.mib * MIB) for part in PLACES],
    }
    processes: list[subprocess.Popen[str]] = []
    with Wan(*hosts, Host("reader", 20, 200, 5)) as wan:

        def start(role: str, name: str, place: Path) -> subprocess.Popen[str]:
            process = wan.popen(
                name,
                [sys.executable, str(PROGRAM), role, str(folder / "torrent"), str(place), wan.address(name)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}"},
            )
            processes.append(process)
            return process

        try:
            for name in names:
                place = folder / name
                place.mkdir(exist_ok=True)
                if not (place / "payload").exists():
                    os.link(folder / "payload", place / "payload")
                start("seed", name, place)
            with tempfile.TemporaryDirectory(dir=folder) as out:
                reading = start(reader, "reader", Path(out))
                for process in processes:
                    read_line(process)
                session["peers"] = [(wan.address(name), 6881) for name in names]
                assert reading.stdin is not None
                reading.stdin.write(json.dumps(session) + "\n")
                reading.stdin.flush()
                told = read_line(reading)
        finally:
            for process in processes:
                process.kill()
                process.communicate()
    seeks = told["seeks"]
    return {"first": told["first"], "seek": median(seeks), "worst": max(seeks), "stalled": told["stalled"]}


def read_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a program says next."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("a client ended before it said anything")
    told: dict[str, Any] = json.loads(line)
    return told


def main() -> int:
    """Run the scenarios, and print a table or JSON."""
    parser = argparse.ArgumentParser(description="Benchmark of a reader over an emulated wide area network.")
    parser.add_argument("scenarios", nargs="*", choices=[[], *SCENARIOS], metavar="SCENARIO", help=" ".join(SCENARIOS))
    parser.add_argument("--reader", action="append", choices=READERS, help="default: both")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--folder", help="where the data is; /dev/shm for instance")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if (missing := missing_requirement()) is not None:
        print(f"cannot run: {missing}", file=sys.stderr)
        return 2
    if not options.json:
        print(f"TCP: {congestion_control()}")
        print(f"{'scenario':10} {'reader':12} {'first':>7} {'seek':>7} {'worst':>7} {'stalled':>8}")
    for name in options.scenarios or SCENARIOS:
        scenario = SCENARIOS[name]
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            payload = Path(folder, "payload")
            payload.write_bytes(os.urandom(scenario.mib * MIB))
            torrent = geventbt.create_torrent(payload, piece_length=256 << 10)
            Path(folder, "torrent").write_bytes(torrent.to_bytes())
            for _ in range(options.repeat):
                for reader in options.reader or READERS:
                    row = run(scenario, reader, Path(folder))
                    if options.json:
                        print(json.dumps({"scenario": name, "reader": reader, **row}), flush=True)
                    else:
                        columns = " ".join(f"{row[key]:7.2f}" for key in ("first", "seek", "worst", "stalled"))
                        print(f"{name:10} {reader:12} {columns}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
