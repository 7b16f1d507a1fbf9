"""How long peers can hold up everything else of a client: floods of each kind, on a torrent of very many pieces.

The rule: no turn of the event loop takes more than 50 ms of CPU time, whatever fifty peers send. The test suite runs a
part of this with fewer pieces.

    python scripts/stress_hub.py --pieces 2000000 --peers 50 --seconds 5 ["haves" "exchange" ...]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import gevent

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import geventbt
from geventbt import bencoding
from tests.loopback.floods import KINDS
from tests.loopback.harness import HubWatch, eventually

ROOT = Path(__file__).resolve().parent.parent
MOST = 0.05
PIECE = 64


def make_torrent(pieces: int) -> geventbt.Torrent:
    """A torrent of very many very small pieces, which no peer has."""
    info = {b"name": b"big", b"length": pieces * PIECE, b"piece length": PIECE, b"pieces": os.urandom(20) * pieces}
    return geventbt.Torrent.from_info(bencoding.encode(info))


@contextmanager
def flooders(torrent: geventbt.Torrent, kinds: Sequence[str]) -> Iterator[int]:
    """The port of a process that floods."""
    command = [sys.executable, "-m", "tests.loopback.floods", torrent.swarm_hash.hex(), str(torrent.geometry.pieces)]
    with subprocess.Popen([*command, *kinds], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def measure(job: geventbt.ActiveTorrent, kinds: Sequence[str], peers: int, seconds: float) -> float:
    """The CPU time of the longest turn in a flood of these kinds, after it has begun."""
    assert job.metainfo is not None
    with flooders(job.metainfo, kinds) as port:
        job.add_peers([(f"127.0.{1 + number // 250}.{1 + number % 250}", port) for number in range(peers)])
        watch = HubWatch()
        most, ends = 0, time.monotonic() + seconds
        while time.monotonic() < ends:
            gevent.sleep(0.1)
            most = max(most, len(job.peers))
        watch.stop()
    # What they have sent is worked off first.
    eventually(lambda: not job.peers, 120)
    name = kinds[0] if len(kinds) == 1 else "all of them"
    print(f"{name:<24}{1000 * watch.longest:8.1f} ms{most:5d} of {peers} peers at a time", flush=True)
    return watch.longest


def main() -> int:
    """Measure, and say whether the rule was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--pieces", type=int, default=2_000_000)
    parser.add_argument("--peers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each kind")
    options = parser.parse_args()
    folder = tempfile.mkdtemp()
    watch = HubWatch()
    try:
        with geventbt.Client(None, encryption="disable", dht=False, lsd=False) as client:
            job = client.add(make_torrent(options.pieces), folder)
            eventually(lambda: job.state == "downloading", 120)
            watch.stop()
            print(f"{'opening it':<24}{1000 * watch.longest:8.1f} ms", flush=True)
            groups = [[kind] for kind in options.kinds or KINDS]
            longest = [measure(job, kinds, options.peers, options.seconds) for kinds in groups]
            if not options.kinds:
                longest.append(measure(job, list(KINDS), options.peers, options.seconds))
    finally:
        shutil.rmtree(folder)
    return 1 if max(longest) > MOST else 0


if __name__ == "__main__":
    sys.exit(main())
