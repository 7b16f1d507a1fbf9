"""Native threads at the end of the interpreter."""

from __future__ import annotations

import subprocess
import sys

LATE = """
import _thread, os, time

start = _thread.start_new_thread

def start_late(function, arguments):
    def run():
        time.sleep(0.2)
        os.write(1, b"runs")
        function(*arguments)

    start(run, ())

_thread.start_new_thread = start_late
from geventbt.concurrency.native import start_thread
"""
"""A program whose threads start late, as those of a busy system do."""


def output_of(program: str) -> bytes:
    return subprocess.run([sys.executable, "-c", LATE + program], capture_output=True, check=True, timeout=60).stdout


def test_the_interpreter_ends_only_when_every_thread_runs() -> None:
    assert output_of("start_thread(int); start_thread(int)") == b"runsruns"


def test_a_forked_child_does_not_wait_for_a_thread_that_only_its_parent_has() -> None:
    fork = "start_thread(int); child = os.fork(); child and os.waitpid(child, 0)"
    assert output_of(fork) == b"runs"
