"""What happens to disks in use: they fill up, are unmounted, and things are put in each other's place.

After each of them a download says clearly what is wrong, or tries again; it goes on once that is mended, and no file of
the user is touched.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from geventbt import ActiveTorrent, Torrent, limits
from geventbt.metainfo.paths import STATE_DIR
from tests.loopback.world import World, eventually

PRECIOUS = b"precious" * 1000


@pytest.fixture
def torrent(world: World) -> Torrent:
    return world.torrent()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DISK_RETRY_FIRST", 0.2)
    monkeypatch.setattr(limits, "CHECKPOINT_INTERVAL", 0.2)


@pytest.fixture(autouse=True)
def no_bugs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No mishap is logged with a traceback."""
    yield
    assert not [record for record in caplog.records if record.exc_info and record.levelno >= logging.ERROR]


@pytest.fixture
def small_disk(world: World) -> Iterator[Callable[..., Path]]:
    """Mounts a file system in memory for the downloads, of a number of bytes and files."""
    out = world.folder / "out"

    def mount(size: int, files: int = 1000) -> Path:
        out.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes={files}", "tmpfs", str(out)]
        if os.getuid() or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("file systems cannot be mounted here")
        return out

    yield mount
    world.end()
    while os.path.ismount(out):
        subprocess.run(["umount", "-l", str(out)], check=True)


def failed(job: ActiveTorrent) -> OSError:
    """The error of a download that the disk has stopped, or stops soon."""
    eventually(lambda: job.error is not None, 20)
    assert isinstance(job.error, OSError), job.error
    return job.error


def ends_well(world: World, job: ActiveTorrent) -> None:
    """It goes on by itself, or when it is asked to."""
    for _ in range(3):
        # What is wrong with another file may be found only then.
        before = job.error
        if before is not None and job.retry_in is None:
            job.resume()
            eventually(lambda before=before: job.error is not before)
        eventually(lambda: job.state == "seeding" or (job.state == "failed" and job.retry_in is None), 20)
    assert job.state == "seeding"
    assert job.metainfo is not None
    world.assert_complete(job.metainfo)


# ------------------------------------------------------------------ full disks


def test_a_disk_that_is_full_for_a_while(world: World, torrent: Torrent, small_disk: Callable[..., Path]) -> None:
    ballast = small_disk(1_200_000) / "ballast"
    ballast.write_bytes(bytes(700_000))
    job = world.download(torrent, world.seeds(torrent, 1))
    assert failed(job).errno == errno.ENOSPC
    ballast.unlink()
    ends_well(world, job)


def test_a_disk_without_room_for_one_more_file(world: World, torrent: Torrent, small_disk: Callable[..., Path]) -> None:
    ballast = small_disk(4_000_000, 9) / "ballast"
    ballast.mkdir()
    for number in range(3):
        (ballast / f"{number}").touch()
    job = world.download(torrent, world.seeds(torrent, 1))
    assert failed(job).errno == errno.ENOSPC
    shutil.rmtree(ballast)
    ends_well(world, job)


def test_a_disk_without_room_for_the_record(world: World, torrent: Torrent, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, is_full = os.replace, [True]

    def full(source: object, target: object) -> None:
        if is_full[0] and str(target).endswith(".resume"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)  # type: ignore[arg-type]

    seeds = world.seeds(torrent, 1)
    monkeypatch.setattr(os, "replace", full)
    job = world.download(torrent, seeds)
    assert failed(job).errno == errno.ENOSPC
    is_full[0] = False
    ends_well(world, job)


# ------------------------------------------------------------------ calls that fail for a while


CALLS = ("pwrite", "open", "fstat", "close", "fdatasync")


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_fails_for_a_while(
    world: World, torrent: Torrent, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    call, out, failures = getattr(os, name), str(world.folder / "out"), [2]

    def failing(target: int | str | os.PathLike[str], *arguments: object, **options: object) -> object:
        path = target
        if isinstance(target, int):
            try:
                path = os.readlink(f"/proc/self/fd/{target}")
            except OSError:
                path = ""
        if failures[0] > 0 and str(path).startswith(out):
            failures[0] -= 1
            if name == "close":
                call(target)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return call(target, *arguments, **options)

    seeds = world.seeds(torrent, 1)
    monkeypatch.setattr(os, name, failing)
    job = world.download(torrent, seeds)
    eventually(lambda: job.state in ("seeding", "failed"), 20)
    ends_well(world, job)


# ------------------------------------------------------------------ things in each other's place


def folder_removed(out: Path) -> None:
    # Moved first, for the download may be adding to it.
    shutil.rmtree(out.rename(out.parent / "removed"))


def folder_renamed(out: Path) -> None:
    out.rename(out.parent / "elsewhere")


def record_is_a_folder(out: Path) -> None:
    (record,) = (out / ".geventbt").glob("*.resume")
    while not record.is_dir():
        # The download may be writing it anew.
        record.unlink()
        with suppress(FileExistsError):
            record.mkdir()


def file_is_a_folder(out: Path) -> None:
    (out / "data" / "c").unlink()
    (out / "data" / "c").mkdir()


def file_is_a_pipe(out: Path) -> None:
    (out / "data" / "c").unlink()
    os.mkfifo(out / "data" / "c")


def file_is_a_link(out: Path) -> None:
    (out.parent / "precious").write_bytes(PRECIOUS)
    (out / "data" / "c").unlink()
    (out / "data" / "c").symlink_to(out.parent / "precious")


def folder_is_a_link(out: Path) -> None:
    (out / "data").rename(out.parent / "moved")
    (out.parent / "precious").mkdir()
    (out.parent / "precious" / "c").write_bytes(PRECIOUS)
    (out / "data").symlink_to(out.parent / "precious")


def folder_is_a_file(out: Path) -> None:
    shutil.rmtree(out / "data")
    (out / "data").write_bytes(PRECIOUS)


def file_is_the_users(out: Path) -> None:
    (out / "data" / "c").unlink()
    (out / "data" / "c").write_bytes(PRECIOUS)


def mend(out: Path) -> None:
    """Put away what is in the way."""
    for path in (out / ".geventbt", out / "data", out / "data" / "c", *out.glob(".geventbt/*.resume")):
        if path.is_symlink() or path.is_fifo() or (path.is_file() and path.name != "c" and path.suffix != ".resume"):
            path.unlink()
        elif path.is_dir() and (path.name == "c" or path.suffix == ".resume"):
            path.rmdir()
        elif path.is_file() and path.read_bytes() == PRECIOUS:
            path.unlink()


MISHAPS = [
    folder_removed,
    folder_renamed,
    record_is_a_folder,
    file_is_a_folder,
    file_is_a_pipe,
    file_is_a_link,
    folder_is_a_link,
    folder_is_a_file,
    file_is_the_users,
]


@pytest.mark.parametrize("mishap", MISHAPS, ids=lambda mishap: mishap.__name__)
def test_something_is_put_in_the_place_of_something_else(
    world: World, torrent: Torrent, mishap: Callable[[Path], None]
) -> None:
    out = world.folder / "out"
    job = world.download(torrent, world.seeds(torrent, 1), limit_down=800_000)
    eventually(lambda: job.pieces[14:].count() > 2 and job.pieces[:12].count() > 2)
    mishap(out)
    job.set_limits()
    eventually(lambda: job.done, 20)
    # Our own files come and go.
    paths = [path for path in world.folder.rglob("*") if STATE_DIR not in path.parts and path.is_file()]
    precious = [path for path in paths if path.stat().st_size == len(PRECIOUS)]
    assert all(path.read_bytes() == PRECIOUS for path in precious)
    assert bool(precious) == (mishap in (file_is_a_link, folder_is_a_link, folder_is_a_file, file_is_the_users))
    if job.state == "failed":
        mend(out)
    ends_well(world, job)


def test_a_disk_that_is_unmounted(world: World, torrent: Torrent, small_disk: Callable[..., Path]) -> None:
    out = small_disk(4_000_000)
    job = world.download(torrent, world.seeds(torrent, 1), limit_down=800_000)
    eventually(lambda: job.pieces.count() > 5)
    subprocess.run(["umount", "-l", str(out)], check=True)
    job.set_limits()
    eventually(lambda: job.done, 20)
    ends_well(world, job)
