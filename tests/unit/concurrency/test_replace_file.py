"""A file that is replaced is the old one or the new one, whatever happens, and nothing stays beside it."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from geventbt.concurrency.replace_file import replace_file, sync_folder

OLD, NEW = b"old", b"new" * 10_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    return path


def left_beside(path: Path) -> Path:
    """What a writer of a file leaves beside it when it is killed in the middle."""

    class Killed(BaseException):
        pass

    def kill(*paths: Any) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        # It does not come to the clearing up.
        patch.setattr(os, "replace", kill)
        patch.setattr(os, "unlink", kill)
        with pytest.raises(Killed):
            replace_file(path, b"half of a long file")
    return next(path.parent.glob(".geventbt-*"))


def test_a_file_is_made_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (NEW, b"", OLD):
        replace_file(path, data)
        assert path.read_bytes() == data
        assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_has_the_permissions_that_are_asked_for(tmp_path: Path) -> None:
    replace_file(tmp_path / "file", NEW, mode=0o600)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    replace_file(path, NEW)
    assert path.read_bytes() == NEW


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_kill_at_any_change_of_the_disk_leaves_one_of_both_and_the_next_write_clears_up(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.unit.replace_crashes", tmp_path]
    environment = {"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Made, synced, renamed; and its name synced.
    assert int(done.stdout) == 4


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_disk_that_fails_keeps_the_old_file_and_nothing_is_left(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="No space left") as caught:
            replace_file(path, NEW)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == OLD
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of the size of files")
def test_a_disk_that_is_full_in_the_middle_keeps_the_old_file_and_nothing_is_left(path: Path) -> None:
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from geventbt.concurrency.replace_file import replace_file\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try:\n    replace_file(Path(sys.argv[1]), b'x' * 100_000)\nexcept OSError as error:\n    print(error.errno)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.stdout == f"{errno.EFBIG}\n", done.stderr
    assert path.read_bytes() == OLD
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "nowhere" / "file", NEW)


def test_several_writers_do_so_one_after_the_other(path: Path) -> None:
    size, errors = 100_000, []

    def write(number: int) -> None:
        try:
            for _ in range(25):
                replace_file(path, bytes([number]) * size)
        except BaseException as error:
            errors.append(error)

    path.write_bytes(bytes(size))
    threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        found = path.read_bytes()
        assert len(found) == size
        assert len(set(found)) == 1
    assert errors == []
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_writer_has_left_is_used_up_by_the_next(path: Path) -> None:
    left = left_beside(path)
    assert path.read_bytes() == OLD
    assert left_beside(path) == left
    replace_file(path, b"short")
    assert path.read_bytes() == b"short"
    assert list(path.parent.iterdir()) == [path]


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(path: Path) -> None:
    users = path.with_name("users")
    users.write_bytes(b"precious")
    left = left_beside(path)
    left.unlink()
    left.symlink_to(users)
    replace_file(path, NEW)
    assert path.read_bytes() == NEW
    assert users.read_bytes() == b"precious"
    assert not left.is_symlink()


def test_what_another_user_has_left_is_removed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = left_beside(path)
    system_open = os.open

    def refuse(name: Path, *arguments: int) -> int:
        if left.exists():
            raise PermissionError(errno.EACCES, "Permission denied")
        return system_open(name, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    replace_file(path, NEW)
    assert path.read_bytes() == NEW


def test_a_link_is_replaced_and_not_followed(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    replace_file(link, NEW)
    assert not link.is_symlink()
    assert link.read_bytes() == NEW
    assert path.read_bytes() == OLD


@pytest.mark.parametrize("error", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_drive_that_syncs_no_folders_is_no_reason_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "fsync", refuse)
    sync_folder(tmp_path)


def test_a_folder_that_is_lost_while_it_is_synced_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        sync_folder(tmp_path)
