"""kill -9 of downloads, again and again: the end is right, nothing bad is trusted, and little is fetched twice.

By default a download is killed 8 times; the environment variable GEVENTBT_TEST_KILLS asks for more.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from bitarray import bitarray
from bitarray.util import zeros

import geventbt
from geventbt.storage import Storage
from tests.loopback.harness import eventually

KILLS = int(os.environ.get("GEVENTBT_TEST_KILLS", "8"))
ROOT = Path(__file__).parents[3]
PIECE = 65536
MIB = 1 << 20
RATE = 4 * MIB
IN_FLIGHT = 12 * PIECE
"""What may be lost with a kill, on average: pieces that are not all there, or wait for the hash and the disk, and what
the seeder has sent and nobody has read yet: as much as a quarter of a second's at the start."""
IN_ONE_TICK = 3
"""Pieces written within the same tick of the file system's clock as a checkpoint, before a kill: their file looks as it
did, so they are fetched again. Very rarely there is one."""

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are not killed like this here"),
    pytest.mark.timeout(60 + 10 * KILLS),
]

DOWNLOAD = """
import sys
from geventbt import limits
from geventbt.cli.main import run

limits.CHECKPOINT_INTERVAL = float(sys.argv[1])
sys.exit(run(["download", *sys.argv[2:]]))
"""

IN_ORDER = """
import sys
from geventbt import Client, limits

limits.CHECKPOINT_INTERVAL = float(sys.argv[1])
with Client(None) as client:
    client.add(sys.argv[2], sys.argv[3], peers=[("127.0.0.1", int(sys.argv[4]))], sequential=True).wait()
"""


@pytest.fixture
def torrent(tmp_path: Path) -> geventbt.Torrent:
    """About 20 MiB in files smaller than a piece and over many, below the folder origin."""
    folder = tmp_path / "origin" / "data"
    generator = random.Random(11)
    sizes = {"a": 9 * MIB + 1, "b/empty": 0, "b/tiny": 13, "c": 5 * MIB, "d": 100_001}
    sizes |= {f"many/{number}": 700_000 + number for number in range(8)}
    for name, size in sizes.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(generator.randbytes(size))
    torrent = geventbt.create_torrent(folder, piece_length=PIECE)
    (tmp_path / "data.torrent").write_bytes(torrent.to_bytes())
    return torrent


@pytest.fixture
def seeder(torrent: geventbt.Torrent, tmp_path: Path) -> Iterator[geventbt.Client]:
    """Serves the torrent, not too fast."""
    client = geventbt.seed(torrent, tmp_path / "origin", ("127.0.0.1", 0), limit_up=RATE)
    yield client
    client.close(timeout=1)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a script with arguments; whatever still runs is killed in the end."""
    processes: list[subprocess.Popen[bytes]] = []

    def make(script: str, *arguments: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", script, *map(str, arguments)]
        processes.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
        return processes[-1]

    yield make
    for process in processes:
        process.kill()
        process.communicate()


def uploaded(client: geventbt.Client) -> int:
    (active,) = client.torrents.values()
    return active.progress.uploaded


def connections(client: geventbt.Client) -> int:
    (active,) = client.torrents.values()
    return active.progress.peers


def on_disk(torrent: geventbt.Torrent, folder: Path) -> bitarray:
    """Which pieces are there, found out without the storage."""
    stream = b""
    for file in torrent.files:
        path = folder.joinpath(*file.path)
        data = path.read_bytes() if path.exists() else b""
        stream += data[: file.length].ljust(file.length, b"\0")
    starts = range(0, len(stream), PIECE)
    hashes = [hashlib.sha1(stream[at : at + PIECE]).digest() for at in starts]
    return bitarray([digest == torrent.piece_hash(piece) for piece, digest in enumerate(hashes)], endian="big")


def check_trust(torrent: geventbt.Torrent, folder: Path, good: bitarray) -> int:
    """A restart would trust nothing bad, and find all that is good. Returns how many pieces it would not hash."""
    with Storage(torrent, folder) as storage:
        suspect = storage.restore()
        trusted = storage.have.copy()
        assert not (trusted & ~good).any(), "something bad is trusted"
        found = storage.check(pieces=suspect)
        assert not (found & ~good).any(), "something bad passes the check"
        assert (good & ~found).count() <= IN_ONE_TICK, "much that is good would be fetched again"
    return int(trusted.count())


def damage(torrent: geventbt.Torrent, folder: Path, good: bitarray, choose: random.Random) -> None:
    """Do to the file of some good piece what a user or a bad disk could do."""
    if not good.any():
        return
    damaged = choose.choice([piece for piece, is_good in enumerate(good) if is_good])
    offset = PIECE * damaged
    for file in torrent.files:
        if offset < file.length:
            break
        offset -= file.length
    path = folder.joinpath(*file.path)
    kind = choose.choice(["overwrite", "truncate", "delete"])
    if kind == "delete" and file.length < MIB:
        path.unlink()
    # A file that is cut, and of which nothing is right, is not known to be ours.
    elif kind == "truncate" and file.length - offset < MIB and offset >= PIECE and good[damaged - 1]:
        os.truncate(path, offset)
    else:
        with open(path, "r+b") as opened:
            opened.seek(offset)
            opened.write(b"!")


def kill_at_random(process: subprocess.Popen[bytes], served: Callable[[], int], choose: random.Random) -> None:
    """Kill a download while it starts, or when it has fetched something between nothing and its share of all."""
    if choose.random() < 0.25:
        gevent.sleep(choose.random() / 2)
    else:
        share = served() + choose.randrange(int(1.2 * 20 * MIB / KILLS))
        eventually(lambda: served() > share or process.poll() is not None, seconds=30)
    process.kill()
    eventually(lambda: process.poll() is not None)


def test_a_download_that_is_killed_again_and_again_ends_right(torrent, seeder, start, tmp_path):
    seed = random.randrange(1 << 32)
    choose = random.Random(seed)
    folder, good = tmp_path / "out", zeros(torrent.geometry.pieces, "big")
    peer = f"127.0.0.1:{seeder.port}"
    lost, damaged, unhashed = [], 0, 0

    def run() -> subprocess.Popen[bytes]:
        interval = choose.choice([0.02, 0.3, 10])
        return start(DOWNLOAD, interval, tmp_path / "data.torrent", "-o", folder, "--peer", peer, "-q")

    for number in range(KILLS):
        before, had = uploaded(seeder), int(good.count())
        process = run()
        kill_at_random(process, lambda: uploaded(seeder), choose)
        assert process.returncode in (0, -signal.SIGKILL), process.communicate()
        eventually(lambda: not connections(seeder))
        good = on_disk(torrent, folder)
        lost.append(uploaded(seeder) - before - (int(good.count()) - had) * PIECE)
        unhashed += check_trust(torrent, folder, good)
        if number % 3 == 2:
            damage(torrent, folder, good, choose)
            rest = on_disk(torrent, folder)
            damaged += int((good & ~rest).count())
            good = rest
            check_trust(torrent, folder, good)

    process = run()
    eventually(lambda: process.poll() is not None, seconds=60)
    assert process.returncode == 0, process.communicate()
    assert on_disk(torrent, folder).all()
    for file in torrent.files:
        assert (folder.joinpath(*file.path)).read_bytes() == tmp_path.joinpath("origin", *file.path).read_bytes()
    fetched, length = uploaded(seeder), torrent.geometry.length
    print(
        f"{KILLS} kills, seed {seed}: fetched {fetched} for {length} bytes, {damaged} pieces damaged, "
        f"lost with a kill {max(lost)} at most and {sum(lost)} in all, {unhashed} pieces trusted unhashed"
    )
    assert fetched <= length + damaged * PIECE + KILLS * IN_FLIGHT


def test_files_that_a_checkpoint_has_recorded_are_not_hashed_after_a_kill(torrent, seeder, start, tmp_path):
    folder = tmp_path / "out"
    seeder.set_limits(up=2 * RATE)
    process = start(IN_ORDER, 0.05, tmp_path / "data.torrent", folder, seeder.port)
    eventually(lambda: uploaded(seeder) > 0.8 * torrent.geometry.length, seconds=30)
    process.kill()
    process.wait()
    good = on_disk(torrent, folder)
    assert not good.all()
    # The first file alone is nearly half of it.
    assert check_trust(torrent, folder, good) > 0.4 * torrent.geometry.pieces
