"""Benchmark of whole downloads, ours against libtorrent's, on the same machine in the same run.

    python scripts/bench_transfer.py [--repeat 5] [--rows download-1M,seed] [--json]

Every client is a whole process (`scripts/bench/`): Python's start and the imports count, and so does the end, by which
the files are verified and on disk; each is then compared with the original. Plaintext on loopback, over TCP where
nothing else is said, the payload in a folder that should be on tmpfs. libtorrent is measured twice in each row: at its
best, with the settings that are printed, and with its defaults, as most of its users have it; ours has no settings. The
clients of a row run in turns, so that they see the same machine; medians, with the range in brackets. Rows:

    download-256K, download-1M, download-4M   one libtorrent seeder at its best to one downloader: seconds
    download-rc4                              the same, encrypted, in pieces of 1 MiB
    download-v2, download-hybrid              the same, of version 2, or of both: all data is hashed by SHA-256 as well
    seed                                      one seeder to a libtorrent downloader at its best: CPU of the seeder
    seed-v2                                   the same of version 2
    seed-50, seed-200                         one seeder to 50, or 200, of them, 16 MiB each: seconds
    many                                      fifty libtorrent seeders to one downloader: seconds
    utp-download, utp-seed                    as download-1M and seed, over uTP
    utp-self                                  each to one of its own kind, over uTP: seconds
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from bench.libtorrent_client import settings
from bench.transfer import BEST, DEFAULTS, MIB, OURS, Bench, Side, libtorrents

SIDES = {"libtorrent, best": BEST, "libtorrent, defaults": DEFAULTS, "geventbt": OURS}
SMALL = 16
"""MiB that each of many downloaders fetches."""

Run = Callable[[Bench, Side], dict[str, float]]
"""Moves a payload once, with one of the sides in the place that the row is about."""


def download(**options: Any) -> Run:
    return lambda bench, side: bench.transfer(BEST, side, **options)


def seed(**options: Any) -> Run:
    return lambda bench, side: bench.transfer(side, BEST, **options)


def among_themselves(**options: Any) -> Run:
    return lambda bench, side: bench.transfer(side, side, **options)


def seed_many(count: int) -> Run:
    return lambda bench, side: bench.transfer(side, libtorrents(count), size=SMALL, copies=count)


def many(bench: Bench, side: Side) -> dict[str, float]:
    return bench.transfer(libtorrents(50), side)


ROWS: dict[str, tuple[str, Run]] = {
    "download-256K": ("wall", download(piece_length=MIB // 4)),
    "download-1M": ("wall", download()),
    "download-4M": ("wall", download(piece_length=4 * MIB)),
    "download-rc4": ("wall", download(policy="require")),
    "download-v2": ("wall", download(version="2")),
    "download-hybrid": ("wall", download(version="hybrid")),
    "seed": ("seed_cpu", seed()),
    "seed-v2": ("seed_cpu", seed(version="2")),
    "seed-50": ("wall", seed_many(50)),
    "seed-200": ("wall", seed_many(200)),
    "many": ("wall", many),
    "utp-download": ("wall", download(transport="utp")),
    "utp-seed": ("wall", seed(transport="utp")),
    "utp-self": ("wall", among_themselves(transport="utp")),
}
"""Each with the figure that is compared."""


def measure(bench: Bench, run: Run, repeat: int) -> dict[str, dict[str, list[float]]]:
    """The figures of each side, one for each of its turns."""
    figures: dict[str, dict[str, list[float]]] = {name: {} for name in SIDES}
    for _ in range(repeat):
        for name, side in SIDES.items():
            for key, value in run(bench, side).items():
                figures[name].setdefault(key, []).append(value)
    return figures


def ratio(figures: dict[str, dict[str, list[float]]], key: str, other: str) -> float:
    """How many times as good ours is; all that is compared is better when it is less."""
    return median(figures[other][key]) / median(figures["geventbt"][key])


def print_row(name: str, key: str, figures: dict[str, dict[str, list[float]]]) -> None:
    best, defaults = (ratio(figures, key, other) for other in ("libtorrent, best", "libtorrent, defaults"))
    print(f"{name}: {key} {best:.2f} times as good as libtorrent at its best, {defaults:.2f} as with its defaults")
    for side, several in figures.items():
        cells = [
            f"{key} {median(values):.4g} [{min(values):.4g} to {max(values):.4g}]" for key, values in several.items()
        ]
        print(f"  {side:21} " + "  ".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=1024, help="MiB of the payload")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--folder", help="for the data; default: a new one, on tmpfs where there is one")
    parser.add_argument("--json", action="store_true", help="print everything as JSON, every turn's figures as well")
    arguments = parser.parse_args()
    base = arguments.folder or ("/dev/shm" if os.path.isdir("/dev/shm") else None)
    chosen = {name: settings("disable", name) for name in ("best", "defaults")}
    results = {}
    if not arguments.json:
        print("libtorrent's settings where they are not its defaults:", json.dumps(chosen, indent=1))
        print("wall, end: s; rate: MB/s; cpu, seed_cpu: s; peak: MiB")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=base) as folder:
        bench = Bench(Path(folder), arguments.size)
        for name in arguments.rows.split(","):
            key, run = ROWS[name]
            results[name] = measure(bench, run, arguments.repeat)
            if not arguments.json:
                print_row(name, key, results[name])
    if arguments.json:
        print(json.dumps({"libtorrent": chosen, "size": arguments.size, "rows": results}, indent=1))


if __name__ == "__main__":
    main()
