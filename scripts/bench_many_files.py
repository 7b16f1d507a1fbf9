"""How long a client takes with a torrent of very many files, how much memory, and how long the hub stands still.

    python scripts/bench_many_files.py --files 400000

Each file has one byte; all of them are made below a temporary folder, and deleted at the end. "hub" is the longest turn
of the event loop in CPU time, in which no peer is served.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import geventbt
from geventbt import bencoding
from tests.loopback.harness import HubWatch

PIECE = 1 << 20


def make_torrent(files: int) -> geventbt.Torrent:
    """A torrent of files of one byte, a hundred folders of them; its data is random, and no peer has it."""
    paths = [[b"%d" % (number % 100), b"f%07d" % number] for number in range(files)]
    info = {
        b"name": b"many",
        b"piece length": PIECE,
        b"pieces": random.Random(1).randbytes(hashlib.sha1().digest_size * -(-files // PIECE)),
        b"files": [{b"length": 1, b"path": path} for path in paths],
    }
    return geventbt.Torrent.from_info(bencoding.encode(info))


@contextmanager
def step(name: str) -> Iterator[None]:
    """Measure a step, and print it."""
    watch, started, cpu = HubWatch(), time.monotonic(), time.process_time()
    yield
    gevent.sleep(0.02)
    watch.stop()
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    print(
        f"{name:<28}{seconds:8.2f} s{cpu:8.2f} s CPU{1000 * watch.longest:8.1f} ms hub{resident():7d} MiB", flush=True
    )


def resident() -> int:
    """Memory in use, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=400_000)
    parser.add_argument("--folder", default=None, help="make the temporary folder here")
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(dir=arguments.folder)
    torrent = make_torrent(arguments.files)
    path = Path(folder, "many.torrent")
    path.write_bytes(torrent.to_bytes())
    del torrent
    print(f"{arguments.files:,} files; {resident()} MiB at the start")
    try:
        for run in ("first start", "second start"):
            with geventbt.Client(None, dht=False, lsd=False) as client:
                with step(f"{run}: add"):
                    job = client.add(path, folder, trackers=["http://127.0.0.1:9/announce"])
                with step(f"{run}: open"):
                    while job.state != "downloading":
                        gevent.sleep(0.02)
                with step("progress"):
                    assert job.progress.wanted == arguments.files
                with step("files"):
                    assert len(job.files) == arguments.files
                with step("select none, then all"):
                    job.select([])
                    job.select(range(arguments.files))
                with step("check"):
                    job.check()
                with step("close"):
                    client.close()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
