"""``geventbt demo``: the main job on this machine, with real sockets between real processes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import monotonic

import geventbt
from geventbt.cli import parsing, values
from geventbt.cli.errors import DONE, UNFINISHED
from geventbt.cli.running import StallWatch, follow, running_client
from geventbt.cli.text import human_address, human_size
from geventbt.cli.views import make_view

_EXAMPLES = """
geventbt demo
geventbt demo --size 64M --seeders 5 -v
"""
_FILES = 3


def add_parser(commands: parsing.Commands) -> None:
    """Add the command."""
    parser = parsing.add_command(
        commands, "demo", "seeders and a downloader on this machine, to see that it works", _EXAMPLES
    )
    parser.add_argument(
        "--size", type=values.size, default=256 << 20, help="bytes to transfer, such as 64M (default: 256M)"
    )
    parser.add_argument("--seeders", type=values.at_least_one, default=3, metavar="N", help="how many (default: 3)")
    parsing.add_quiet(parser)
    parsing.add_verbose(parser)
    parser.set_defaults(run=run, code_if_cut_off=UNFINISHED, json=False)


def run(arguments: argparse.Namespace) -> int:
    """Generate a payload, seed it from several processes, download it, and say what came of it."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="geventbt-demo-") as folder, ExitStack() as stack:
        payload = Path(folder, "seeded", "demo")
        print(f"generating {human_size(arguments.size)}", flush=True)
        _generate(payload, arguments.size)
        torrent = geventbt.create_torrent(payload)
        torrent_file = Path(folder, "demo.torrent")
        torrent_file.write_bytes(torrent.to_bytes())
        peers = [stack.enter_context(_seeder(torrent_file, payload)) for _ in range(arguments.seeders)]
        print(f"{len(peers)} seeders: {', '.join(map(human_address, peers))}", flush=True)
        started = monotonic()
        with running_client(is_kept=False, encryption="disable") as client:
            job = client.add(torrent, Path(folder, "downloaded"), peers=peers, fail_without_peers=True)
            with closing(make_view(arguments)) as view:
                follow(job, view, StallWatch(None))
            seconds = monotonic() - started
            verified = job.progress.done
            arguments.code_if_cut_off = code = DONE if verified == torrent.geometry.length else UNFINISHED
            served = sum(1 for count in job.served.values() if count)
        print(
            f"verified {human_size(verified)} in {seconds:.2f} s, {human_size(verified / seconds)}/s, "
            f"served by {served} of {len(peers)} peers"
        )
        return code


def _generate(folder: Path, size: int) -> None:
    """A folder of a few files, whose sizes add up to `size`."""
    import random

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
    import subprocess

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
