"""What the command line does with files that are not the torrent's, that are wrong, or that are linked to."""

from __future__ import annotations

import errno
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest

import geventbt
from geventbt import limits
from geventbt.cli.errors import CORRUPT, DISK, DONE
from tests.cli_harness import COMMAND, assert_one_line, json_lines, of_event, run_here
from tests.loopback.harness import eventually

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to tell the files of the download")


@pytest.fixture
def download(torrent_file: Path, seeder: str, tmp_path: Path) -> list[object]:
    """The arguments of a download."""
    return ["download", torrent_file, "-o", tmp_path / "out", "--peer", seeder, "-q", "--port", "0"]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """The disk that downloads are written to."""
    monkeypatch.setattr(limits, "DISK_RETRY_FIRST", 0.2)
    disk = Disk(os.pwrite)
    monkeypatch.setattr(os, "pwrite", disk.write)
    return disk


class Disk:
    """A disk that is full, or fails otherwise, for as long as it is told.

    Args:
        pwrite: writes to it.

    Attributes:
        failures: how many of the next writes fail.
        number: the error number.
    """

    def __init__(self, pwrite: Callable[[int, memoryview, int], int]) -> None:
        self._pwrite = pwrite
        self.failures = 0.0
        self.number = errno.ENOSPC

    def write(self, descriptor: int, data: memoryview, offset: int) -> int:
        """As `os.pwrite`."""
        if self.failures > 0 and "/out/" in os.readlink(f"/proc/self/fd/{descriptor}"):
            self.failures -= 1
            raise OSError(self.number, os.strerror(self.number))
        return self._pwrite(descriptor, data, offset)


def rot(path: Path) -> None:
    """Change a byte, the size and the time as they were."""
    status = path.stat()
    with open(path, "r+b") as file:
        byte = file.read(1)
        file.seek(0)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_file_of_the_user_is_kept_without_overwrite(
    download: list[object], origin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "out" / "shared" / "one.bin"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"precious")
    assert run_here(*download) == DISK
    assert "--overwrite" in capsys.readouterr().err
    assert own.read_bytes() == b"precious"
    assert run_here(*download, "--overwrite") == DONE
    assert own.read_bytes() == (origin / "one.bin").read_bytes()


@on_linux
def test_a_download_waits_for_room_on_the_disk_and_says_so(
    download: list[object], disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    disk.failures = 2
    assert run_here(*download) == DONE
    told = capsys.readouterr().err
    assert_one_line(told)
    assert "the disk is full" in told
    assert "next try in" in told


@on_linux
def test_a_download_gives_a_full_disk_up_after_the_stall_timeout(
    download: list[object], disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    disk.failures = math.inf
    assert run_here(*download, "--stall-timeout", "1") == DISK
    assert "make room" in capsys.readouterr().err
    disk.failures = 0
    assert run_here(*download) == DONE


@on_linux
@pytest.mark.parametrize("number", [errno.EROFS, errno.EFBIG])
def test_a_download_does_not_wait_for_what_needs_its_user(download: list[object], disk: Disk, number: int) -> None:
    disk.failures, disk.number = math.inf, number
    assert run_here(*download) == DISK


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_file_that_is_deleted_or_replaced_midway_is_a_fault_of_the_disk(
    download: list[object], tmp_path: Path, origin: Path, how: str
) -> None:
    path = tmp_path / "out" / "shared" / "one.bin"
    theirs = b"precious" * 1000

    def harm() -> None:
        eventually(lambda: path.exists() and any(path.read_bytes()))
        path.unlink()
        if how == "replaced":
            path.write_bytes(theirs)

    harming = gevent.spawn(harm)
    assert run_here(*download, "--limit-down", "400K") == DISK
    harming.get(timeout=5)
    if how == "replaced":
        assert path.read_bytes() == theirs
        assert run_here(*download) == DISK
        path.unlink()
    assert run_here(*download) == DONE
    assert path.read_bytes() == (origin / "one.bin").read_bytes()


def test_verify_has_the_next_download_fetch_what_has_rotted(
    download: list[object], torrent_file: Path, origin: Path, tmp_path: Path
) -> None:
    path = tmp_path / "out" / "shared" / "one.bin"
    assert run_here(*download) == DONE
    rot(path)
    assert run_here("verify", "-q", torrent_file, tmp_path / "out") == CORRUPT
    assert run_here(*download) == DONE
    assert path.read_bytes() == (origin / "one.bin").read_bytes()


def test_a_download_with_check_trusts_no_record(download: list[object], origin: Path, tmp_path: Path) -> None:
    path = tmp_path / "out" / "shared" / "one.bin"
    assert run_here(*download) == DONE
    rot(path)
    assert run_here(*download) == DONE
    assert path.read_bytes() != (origin / "one.bin").read_bytes()
    assert run_here(*download, "--check") == DONE
    assert path.read_bytes() == (origin / "one.bin").read_bytes()


def test_a_seed_with_check_trusts_no_record(
    download: list[object], torrent_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(*download) == DONE
    rot(tmp_path / "out" / "shared" / "one.bin")
    seed = ["seed", torrent_file, tmp_path / "out", "--port", "0", "-q", "--seed-time", "0"]
    assert run_here(*seed) == DONE
    assert run_here(*seed, "--check") == CORRUPT


def test_verify_tells_of_a_file_that_is_too_long(
    torrent_file: Path, origin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open(origin / "one.bin", "ab") as file:
        file.write(b"junk")
    assert run_here("verify", "-q", torrent_file, origin) == CORRUPT
    assert "4 bytes too long" in capsys.readouterr().out
    assert run_here("verify", "-q", "--json", torrent_file, origin) == CORRUPT
    checked = of_event(json_lines(capsys.readouterr().out), "checked")
    assert {file["path"]: file["excess"] for file in checked}["shared/one.bin"] == 4


@pytest.mark.skipif(os.name != "posix", reason="links need rights here")
def test_data_behind_a_link_that_the_user_names_is_seeded(
    torrent_file: Path, origin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "shared").symlink_to(origin)
    arguments = ["--port", "0", "-q", "--seed-time", "0"]
    assert run_here("seed", torrent_file, tmp_path / "links" / "shared", *arguments) == DONE
    assert "symbolic link" in capsys.readouterr().err


def test_a_name_that_the_system_cannot_write_is_an_error_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "ü☃").write_bytes(b"data")
    source = tmp_path / "source.torrent"
    source.write_bytes(geventbt.create_torrent(tmp_path / "ü☃").to_bytes())
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [*COMMAND, "download", source, "-o", tmp_path / "out", "--peer", "127.0.0.1:1", "-q"]
    done = subprocess.run(command, env={**os.environ, **ascii_only}, capture_output=True, text=True, timeout=50)
    assert done.returncode == DISK
    assert "set PYTHONUTF8=1" in done.stderr
    assert_one_line(done.stderr)
