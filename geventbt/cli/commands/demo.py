"""``geventbt demo``: seeders and a downloader on this machine, as processes with real sockets."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import geventbt
from geventbt.cli import parsing, shared_options, values
from geventbt.cli.errors import DONE, UNFINISHED, exit_code_if_output_closes
from geventbt.cli.following import StallTimer, follow
from geventbt.cli.running import running_client
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
        commands, "demo", "run seeders and a downloader on this machine, as a check", _EXAMPLES
    )
    parser.add_argument(
        "--size", type=values.size, default=256 << 20, help="bytes to transfer, such as 64M (default: 256M)"
    )
    parser.add_argument(
        "--seeders", type=values.at_least_one, default=3, metavar="N", help="number of seeders (default: 3)"
    )
    shared_options.add_quiet(parser)
    shared_options.add_verbose(parser)
    parser.set_defaults(run=run, json=False)


def run(arguments: argparse.Namespace) -> int:
    """Generate a payload, seed it from several processes, download it, and print the result."""
    with exit_code_if_output_closes(UNFINISHED):
        result = _transfer(arguments)
    print(
        f"verified {human_size(result.verified)} in {result.seconds:.2f} s, "
        f"{human_size(result.verified / result.seconds)}/s, served by {result.serving} of {arguments.seeders} peers"
    )
    return DONE


class _Result(NamedTuple):
    """Bytes verified, seconds that it took, and peers that served."""

    verified: int
    seconds: float
    serving: int


def _transfer(arguments: argparse.Namespace) -> _Result:
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
        with running_client(is_kept=False, encryption="disable", dht=False, lsd=False, port_mapping=False) as client:
            job = client.add(torrent, Path(folder, "downloaded"), peers=peers, fail_without_peers=True)
            with closing(make_view(arguments)) as view:
                follow(job, view, StallTimer(None))
            seconds = monotonic() - started
            return _Result(job.progress.done, seconds, sum(1 for count in job.served.values() if count))


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
                # A number in front makes every chunk different, so that no two pieces are the same.
                block = (number * length + start).to_bytes(16, "big") + chunk[16:]
                file.write(block[: length - start])


@contextmanager
def _seeder(torrent: Path, data: Path) -> Iterator[tuple[str, int]]:
    """Run `geventbt seed` in a process of its own; yields its address."""
    import subprocess

    command = [sys.executable, "-m", "geventbt", "seed", str(torrent), str(data), "--host", "127.0.0.1", "--port", "0"]
    command += ["--no-dht", "--no-lsd", "--no-port-mapping"]
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
