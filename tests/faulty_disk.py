"""Commands on a disk that fails: calls on the files of one folder fail, or do half of what they were asked for.

The rule: nothing right that was there is lost, nothing of the user's is touched, there is never a traceback nor a hang,
exit code 0 is only given to what is right, and the same command on a disk that works again ends well.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from select import select
from typing import NamedTuple

from bitarray import bitarray

import geventbt
from geventbt.cli.errors import CORRUPT, DISK, DONE, NOT_FOUND, TERMINATED, TIMED_OUT, UNFINISHED
from geventbt.storage import Storage
from tests.cli_harness import make_origin, make_torrent_file
from tests.loopback.harness import eventually

SOURCE = Path(__file__).with_name("faulty_disk.c")
ROOT = Path(__file__).parent.parent
ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EACCES", "EMFILE", "ESTALE")
CALLS = ("open", "read", "write", "sync", "truncate", "stat", "rename", "unlink", "mkdir", "close")
CHANGES = ("write", "sync", "truncate", "rename", "unlink", "mkdir", "close")
"""Those without which all can be read."""
ALONE = ("--no-dht", "--no-lsd", "--no-port-mapping")
HALF = "half"
"""In place of an error: a read or write does less."""
PRECIOUS = b"precious" * 1000
PROGRAM = """
import sys
from geventbt import limits
from geventbt.cli.main import run

limits.DISK_RETRY_FIRST = limits.CHECKPOINT_INTERVAL = 0.05
sys.exit(run(sys.argv[1:]))
"""


class Fault(NamedTuple):
    """What fails.

    Attributes:
        call: one of `CALLS`.
        error: the name of its error, or `HALF`.
        first: the number of the first call that fails, from 1.
        times: how many fail.
    """

    call: str
    error: str
    first: int
    times: int

    @classmethod
    def drawn(cls, choose: Random) -> Fault:
        """Any fault: mostly early ones, that pass or stay."""
        call = choose.choice(CALLS)
        errors = {"read": (*ERRORS, HALF, HALF), "write": (*ERRORS, HALF, HALF), "close": ERRORS[:3]}.get(call, ERRORS)
        return cls(call, choose.choice(errors), int(2 ** choose.uniform(0, 6)), choose.choice([1, 2, 5, 1_000_000]))


def compiled(folder: Path) -> Path | None:
    """The library that makes calls fail, in a folder; None without a compiler, or where it is not for this system."""
    library = folder / "faulty_disk.so"
    if shutil.which("gcc") is None or sys.platform != "linux" or sys.maxsize < 1 << 32:
        return None
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    return library


class Stage:
    """A torrent, its data, and commands on a disk that fails.

    Args:
        folder: an empty folder.
        library: see `compiled`.
    """

    def __init__(self, folder: Path, library: Path) -> None:
        self._folder = folder
        self._library = library
        self.origin = make_origin(folder)
        self.torrent_file = make_torrent_file(folder, self.origin)
        self.torrent = geventbt.Torrent.from_file(self.torrent_file)
        self._log = folder / "failed"
        self.out = folder / "out"

    @property
    def has_failed(self) -> bool:
        """Whether any call has failed so far."""
        return self._log.exists()

    def start(self, arguments: list[object], fault: Fault | None = None) -> subprocess.Popen[str]:
        """Start a command."""
        variables = {**os.environ, "PYTHONPATH": os.fspath(ROOT)}
        if fault is not None:
            number = 0 if fault.error == HALF else getattr(errno, fault.error)
            variables |= {
                "LD_PRELOAD": os.fspath(self._library),
                "FAULTY_PATH": os.fspath(self.out),
                "FAULTY_CALL": fault.call,
                "FAULTY_FIRST": str(fault.first),
                "FAULTY_COUNT": str(fault.times),
                "FAULTY_ERRNO": str(number),
                "FAULTY_LOG": os.fspath(self._log),
            }
        command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
        return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, arguments: list[object], fault: Fault | None = None) -> tuple[int, str]:
        """Run a command to its end. Returns its exit code, and what it wrote."""
        return finished(self.start(arguments, fault))

    def fill(self, pieces: int) -> None:
        """Put the first pieces there, and a file of the user's, as a download that was ended before."""
        self.out.mkdir()
        (self.out / "users").write_bytes(PRECIOUS)
        data = b"".join(path.read_bytes() for path in self._files(self._folder / "origin"))
        geometry = self.torrent.geometry
        with Storage(self.torrent, self.out) as storage:
            storage.restore()
            storage.prepare()
            for piece in range(pieces):
                start = geometry.start_of(piece)
                assert storage.write_piece(piece, data[start : start + geometry.piece_size(piece)])
            storage.checkpoint()

    def good(self) -> bitarray:
        """The pieces that are right on the disk, found out by hashing all."""
        with Storage(self.torrent, self.out) as storage:
            return storage.check()

    def assert_right(self) -> None:
        """All data is there, byte for byte."""
        for ours, theirs in zip(self._files(self.out), self._files(self._folder / "origin"), strict=True):
            assert ours.read_bytes() == theirs.read_bytes(), f"{ours} is not right"

    def assert_kept(self, before: bitarray) -> None:
        """What was there is there, and the user's own file as it was."""
        assert not (before & ~self.good()).any(), "pieces that were right are lost"
        assert (self.out / "users").read_bytes() == PRECIOUS

    def _files(self, folder: Path) -> list[Path]:
        return [folder.joinpath(*file.path) for file in self.torrent.files]


def finished(process: subprocess.Popen[str], seconds: float = 30) -> tuple[int, str]:
    """The exit code of a process, and what it wrote, with the hub running meanwhile."""
    try:
        eventually(lambda: process.poll() is not None, seconds)
    finally:
        process.kill()
        output, errors = process.communicate()
    assert "Traceback" not in errors, errors
    return process.returncode, output + errors


# ------------------------------------------------------------------ commands


def downloading(stage: Stage, fault: Fault, *, there: int = 0) -> None:
    """A download to a disk that fails, and once more when it works."""
    stage.fill(there)
    before = stage.good()
    with geventbt.seed(stage.torrent, stage.origin, ("127.0.0.1", 0)) as seeder:
        arguments: list[object] = ["download", stage.torrent_file, "-o", stage.out, "-q"]
        arguments += ["--peer", f"127.0.0.1:{seeder.port}", "--stall-timeout", 1, *ALONE]
        code, text = stage.run(arguments, fault)
        assert code in (DONE, DISK, NOT_FOUND, TIMED_OUT), (code, text)
        if code == DONE:
            stage.assert_right()
        stage.assert_kept(before)
        code, text = stage.run(arguments)
        assert code == DONE, (code, text)
    stage.assert_right()


def resuming(stage: Stage, fault: Fault) -> None:
    """The rest of a download that was ended before."""
    downloading(stage, fault, there=12)


def verifying(stage: Stage, fault: Fault) -> None:
    """Data that is right cannot be told from wrong one by a disk that fails, but wrong is never right."""
    pieces = stage.torrent.geometry.pieces
    stage.fill(pieces)
    arguments: list[object] = ["verify", stage.torrent_file, stage.out, "-q"]
    code, text = stage.run(arguments, fault)
    assert code in (DONE, CORRUPT, DISK, NOT_FOUND), (code, text)
    stage.assert_right()
    assert stage.run(arguments)[0] == DONE
    with open(stage.out / "shared" / "one.bin", "r+b") as file:
        file.write(b"wrong")
    code, text = stage.run(arguments, fault)
    assert code in (CORRUPT, DISK, NOT_FOUND), (code, text)
    assert stage.run(arguments)[0] == CORRUPT


def creating(stage: Stage, fault: Fault) -> None:
    """A torrent that was made is right; one that was there is kept if it fails."""
    stage.fill(stage.torrent.geometry.pieces)
    path = stage.out / "made.torrent"
    arguments: list[object] = ["create", stage.out / "shared", "-o", path, "--piece-length", 16384, "-q"]
    code, text = stage.run(arguments, fault)
    assert code in (DONE, DISK, NOT_FOUND), (code, text)
    if code == DONE or path.exists():
        assert geventbt.Torrent.from_file(path).piece_hashes == stage.torrent.piece_hashes
    path.unlink(missing_ok=True)
    assert stage.run(arguments)[0] == DONE
    stage.assert_right()


def seeding(stage: Stage, fault: Fault) -> None:
    """A seed sends nothing wrong, and goes on with what it can read."""
    stage.fill(stage.torrent.geometry.pieces)
    shutil.rmtree(stage.out / ".geventbt")
    arguments: list[object] = ["seed", stage.torrent_file, stage.out, "--host", "127.0.0.1", "--port", 0, *ALONE]
    process = stage.start(arguments, fault)
    assert process.stdout is not None
    line = process.stdout.readline() if select([process.stdout], [], [], 20)[0] else ""
    is_served = line.startswith("seeding ")
    if is_served:
        folder = stage.out.parent / "fetched"
        with geventbt.Client(None, dht=False, lsd=False) as client:
            address = ("127.0.0.1", int(line.rpartition(":")[2]))
            job = client.add(stage.torrent, folder, peers=[address], fail_without_peers=False)
            job.wait(1)
            assert not job.banned
        process.send_signal(signal.SIGTERM)
    code, text = finished(process)
    assert is_served or fault.call not in CHANGES, text
    assert code in (TERMINATED, CORRUPT, DISK, NOT_FOUND, UNFINISHED), (code, text)
    stage.assert_right()


COMMANDS: dict[str, Callable[[Stage, Fault], None]] = {
    "download": downloading,
    "resume": resuming,
    "verify": verifying,
    "create": creating,
    "seed": seeding,
}
