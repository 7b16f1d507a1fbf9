"""``geventbt demo``: the main job on this machine, with real sockets between real processes."""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic

import geventbt
from geventbt.cli.download import follow
from geventbt.cli.errors import DONE, UNFINISHED
from geventbt.cli.text import human_size

_FILES = 3


def run(arguments: argparse.Namespace) -> int:
    """Generate a payload, seed it from several processes, download it, and say what came of it."""
    with tempfile.TemporaryDirectory(prefix="geventbt-demo-") as folder, ExitStack() as stack:
        payload = Path(folder, "seeded", "demo")
        print(f"generating {human_size(arguments.size)}", flush=True)
        _generate(payload, arguments.size)
        torrent = geventbt.create_torrent(payload)
        torrent_file = Path(folder, "demo.torrent")
        torrent_file.write_bytes(torrent.to_bytes())
        peers = [stack.enter_context(_seeder(torrent_file, payload)) for _ in range(arguments.seeders)]
        print(f"{len(peers)} seeders: {', '.join(f'{host}:{port}' for host, port in peers)}", flush=True)
        started = monotonic()
        with geventbt.Client(None, encryption="disable") as client:
            job = client.add(torrent, Path(folder, "downloaded"), peers=peers, ends_alone=True)
            follow(job, quiet=arguments.quiet)
            seconds = monotonic() - started
            verified = job.progress.done
            served = sum(1 for count in job.served.values() if count)
        print(
            f"verified {human_size(verified)} in {seconds:.2f} s, {human_size(verified / seconds)}/s, "
            f"served by {served} of {len(peers)} peers"
        )
        return DONE if verified == torrent.geometry.length else UNFINISHED


def _generate(folder: Path, size: int) -> None:
    """A folder of a few files, whose sizes add up to `size`."""
    folder.mkdir(parents=True)
    chunk = random.Random(size).randbytes(1 << 20)
    left = size
    for number in range(_FILES, 0, -1):
        length = left if number == 1 else left // 2
        left -= length
        with open(folder / f"file-{_FILES - number + 1}.bin", "wb") as file:
            for start in range(0, length, len(chunk)):
                # A number in front makes every chunk different, so that no piece could stand in for another.
                block = (number * length + start).to_bytes(16, "big") + chunk[16:]
                file.write(block[: length - start])


@contextmanager
def _seeder(torrent: Path, data: Path) -> Iterator[tuple[str, int]]:
    """A `geventbt seed` in a process of its own; gives its address."""
    command = [sys.executable, "-m", "geventbt", "seed", str(torrent), str(data), "--host", "127.0.0.1", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise geventbt.DownloadError("a seeder could not be started")
        yield "127.0.0.1", int(line.rpartition(":")[2])
    finally:
        process.terminate()
        process.wait()
