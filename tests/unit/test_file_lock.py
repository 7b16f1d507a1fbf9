"""A lock of a file between programs, and between parts of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from geventbt.concurrency.file_lock import FileLock

TAKE = "import sys; from pathlib import Path; from geventbt.concurrency.file_lock import FileLock; "
TAKE += "sys.exit(not FileLock(Path(sys.argv[1])).take())"


def is_free(path: Path) -> bool:
    """Whether another program gets the lock."""
    return subprocess.run([sys.executable, "-c", TAKE, str(path)]).returncode == 0


def test_one_at_a_time_has_it(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    first, second = FileLock(path), FileLock(path)
    assert first.take()
    assert first.take(), "it has it"
    assert not second.take()
    assert not is_free(path)
    first.release()
    assert second.take()
    second.release()
    assert is_free(path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
def test_a_forked_child_does_not_keep_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = FileLock(path)
    assert lock.take()
    is_ready, (end, ends) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.close(ends)
        os.write(is_ready[1], b"!")
        os.read(end, 1)
        os._exit(0)
    try:
        os.read(is_ready[0], 1)
        lock.release()
        assert FileLock(path).take()
    finally:
        for descriptor in (ends, end, *is_ready):
            os.close(descriptor)
        os.waitpid(child, 0)
