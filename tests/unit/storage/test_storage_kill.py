"""kill -9 at any moment: nothing bad is trusted, nothing good is fetched again, and no file of ours is refused.

By default a process is killed at every third change of the disk; with the environment variable GEVENTBT_TEST_KILLS, at
every one.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from geventbt.storage import Storage
from tests.unit.storage_crashes import SCENARIOS
from tests.unit.storage_helpers import B, C, seed

STRIDE = "1" if "GEVENTBT_TEST_KILLS" in os.environ else "3"
ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": ""}

WRITER = """
import random, sys
from pathlib import Path
from geventbt import Storage, Torrent
from tests.unit.storage_helpers import pieces_of

torrent, folder, choose = Torrent.from_file(sys.argv[1]), sys.argv[3], random.Random(int(sys.argv[4]))
pieces = pieces_of(Path(sys.argv[2]))
with Storage(torrent, folder, selected=[1, 2]) as storage:
    storage.check(pieces=storage.restore())
    while True:
        print("step", flush=True)
        step = choose.randrange(4)
        if step == 0:
            storage.select(choose.choice([[1], [1, 2], [0, 3], None]))
        elif step == 1:
            storage.checkpoint()
        else:
            piece = choose.randrange(len(pieces))
            storage.write_piece(piece, pieces[piece])
"""


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")


@pytest.mark.parametrize("scenario", [scenario.__name__ for scenario in SCENARIOS])
@pytest.mark.timeout(120)
def test_a_kill_at_any_change_of_the_disk_costs_nothing(tmp_path: Path, scenario: str):
    (tmp_path / "x.torrent").write_bytes(seed(tmp_path / "seeded").to_bytes())
    command = [sys.executable, "-m", "tests.unit.storage_crashes", "x.torrent", "seeded", "work", scenario, STRIDE]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


@pytest.mark.timeout(120)
def test_a_process_that_is_killed_at_random_trusts_only_what_is_good_and_finds_all_of_it(tmp_path: Path):
    torrent = seed(tmp_path / "seeded")
    (tmp_path / "x.torrent").write_bytes(torrent.to_bytes())
    choose = random.Random(5)
    for number in range(10):
        folder = tmp_path / f"downloads{number // 2}"
        kill_in_the_middle(tmp_path, folder, number, choose.randrange(1, 16))
        with Storage(torrent, folder, selected=[B, C]) as storage:
            suspect = storage.restore()
            trusted = storage.have.copy()
            found = storage.check(pieces=suspect)
            everything = storage.check()
            assert not (trusted & ~everything).any(), "something bad was trusted"
            assert found == everything, "something good would be fetched again"


def kill_in_the_middle(tmp_path: Path, folder: Path, number: int, steps: int) -> None:
    """Let a process take `steps` steps, and kill it in the next one."""
    command = [sys.executable, "-c", WRITER, tmp_path / "x.torrent", tmp_path / "seeded", folder, str(number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        for _ in range(steps):
            assert process.stdout.readline() == "step\n"
        process.kill()
