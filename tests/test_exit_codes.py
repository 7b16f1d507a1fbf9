"""Exit codes of processes that tests start and wait for on the hub."""

from __future__ import annotations

import subprocess
import sys

from gevent import subprocess as gevent_subprocess

from tests.loopback.harness import eventually, release_children


def test_gevents_subprocess_does_not_take_the_exit_codes_of_later_tests() -> None:
    gevent_subprocess.run([sys.executable, "-c", ""], check=True)
    release_children()
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(5)"])
    eventually(lambda: process.poll() is not None)
    assert process.returncode == 5
