"""Commands on a disk that fails in ways that have found a fault, and a few that stand for the others.

`scripts/fuzz_disk.py` tries hundreds at random.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faulty_disk import COMMANDS, HALF, Fault, Stage, compiled

ALWAYS = 1_000_000
CASES = [
    # The lock of the folder could not be released.
    ("resume", Fault("close", "EIO", 4, 5)),
    # Blamed on the network.
    ("create", Fault("open", "EMFILE", 3, ALWAYS)),
    # Never began to serve, and was busy with it.
    ("seed", Fault("close", "ESTALE", 1, ALWAYS)),
    ("seed", Fault("rename", "ENOSPC", 1, ALWAYS)),
    # Was not served because the disk had no room for the lock.
    ("seed", Fault("mkdir", "ENOSPC", 1, ALWAYS)),
    ("download", Fault("write", HALF, 2, ALWAYS)),
    ("download", Fault("rename", "ENOSPC", 1, 2)),
    ("resume", Fault("stat", "EIO", 20, ALWAYS)),
    ("verify", Fault("read", "EIO", 2, 3)),
    ("create", Fault("write", HALF, 1, ALWAYS)),
    ("seed", Fault("read", "ESTALE", 5, 2)),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = compiled(tmp_path_factory.mktemp("library"))
    if path is None:
        pytest.skip("there is no gcc here, or this is not Linux of 64 bits")
    return path


@pytest.mark.parametrize(
    ("command", "fault"), CASES, ids=[f"{name}-{'-'.join(map(str, fault))}" for name, fault in CASES]
)
def test_a_command_on_a_disk_that_fails_loses_nothing_and_says_why(
    tmp_path: Path, library: Path, command: str, fault: Fault
) -> None:
    stage = Stage(tmp_path, library)
    COMMANDS[command](stage, fault)
    assert stage.has_failed
