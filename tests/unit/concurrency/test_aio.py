"""Coroutines of several callers in one loop, which begins with the first of them and ends with the last."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from geventbt.concurrency.aio import AsyncCaller

ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": ""}


async def echo(value: str) -> str:
    await asyncio.sleep(0)
    return value


async def hang(begun: threading.Event) -> None:
    begun.set()
    await asyncio.sleep(3600)


def start_hanging(caller: AsyncCaller) -> tuple[threading.Thread, list[str]]:
    """A call that never ends by itself, in a thread; and what it has raised in the end."""
    begun, raised = threading.Event(), list[str]()

    def call() -> None:
        try:
            caller.call(partial(hang, begun), 3600)
        except RuntimeError as error:
            raised.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    assert begun.wait(10)
    return thread, raised


def test_all_callers_share_a_loop_that_ends_with_the_last_of_them():
    first, second = AsyncCaller(), AsyncCaller()
    loop = first.loop
    assert second.loop is loop
    first.close()
    first.close()
    assert not loop.is_closed()
    assert second.call(lambda: echo("still there"), 10) == "still there"
    second.close()
    assert loop.is_closed()
    third = AsyncCaller()
    assert third.loop is not loop
    third.close()


def test_closing_a_caller_ends_its_own_calls_only():
    first, second = AsyncCaller(), AsyncCaller()
    (one, one_raised), (other, other_raised) = start_hanging(first), start_hanging(second)
    first.close()
    one.join(10)
    assert one_raised == ["it is closed"]
    assert other.is_alive()
    second.close()
    other.join(10)
    assert other_raised == ["it is closed"]


def test_a_closed_caller_calls_no_more():
    caller = AsyncCaller()
    caller.close()
    with pytest.raises(RuntimeError, match="closed"):
        caller.call(lambda: echo(""), 10)


def test_a_call_that_takes_too_long_is_a_timeout():
    caller = AsyncCaller()
    with pytest.raises(TimeoutError):
        caller.call(partial(hang, threading.Event()), 0.01)
    assert caller.call(lambda: echo("goes on"), 10) == "goes on"
    caller.close()


FORKING = """
import asyncio, os, gc
from geventbt.concurrency.aio import AsyncCaller

async def echo(value):
    await asyncio.sleep(0.01)
    return value

caller = AsyncCaller()
assert caller.call(lambda: echo(1), 10) == 1
child = os.fork()
if not child:
    try:
        caller.call(lambda: echo(2), 10)
    except RuntimeError:
        pass
    else:
        os._exit(3)
    caller.close()
    own = AsyncCaller()
    assert own.call(lambda: echo(4), 10) == 4
    own.close()
    del caller
    gc.collect()
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert caller.call(lambda: echo(5), 10) == 5
print("done")
# It is not closed: the thread ends with the process.
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("patched", [False, True], ids=["not patched", "patched"])
def test_a_forked_child_has_a_loop_of_its_own_and_leaves_that_of_its_parent_alone(patched: bool):
    program = ("from gevent import monkey; monkey.patch_all()\n" if patched else "") + FORKING
    # Python warns of any fork beside a thread.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.returncode) == ("done\n", 0), ended.stderr
    assert not ended.stderr
