"""The budget of descriptors, in a process of its own for each limit."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from geventbt import limits
from geventbt.concurrency import descriptors

pytest.importorskip("resource", reason="no limits of descriptors here")

_LIMITED = """
import resource
from geventbt.concurrency import descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
{raise_it}
print(descriptors.max_descriptors(), descriptors.max_files(), descriptors.max_connections())
"""


def budget(soft: int, hard: int, *, raised: bool = False) -> tuple[int, int, int]:
    """The descriptors, files and connections of a process with these limits."""
    code = _LIMITED.format(soft=soft, hard=hard, raise_it="descriptors.raise_limit()" if raised else "")
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    whole, files, connections = map(int, output.split())
    return whole, files, connections


@pytest.mark.parametrize("limit", [256, 700, 1024])
def test_files_connections_and_the_reserve_fit_into_the_limit(limit: int) -> None:
    whole, files, connections = budget(limit, limit)
    assert whole == limit
    assert files + connections + limits.DESCRIPTORS_RESERVE == limit


def test_the_limit_is_raised_as_far_as_is_allowed() -> None:
    assert budget(300, 900, raised=True)[0] == 900
    assert budget(300, 300, raised=True)[0] == 300


def test_a_limit_below_the_reserve_leaves_a_few() -> None:
    _, files, connections = budget(64, 64)
    assert files > 0
    assert connections > 0


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OSError(errno.EMFILE, ""), True),
        (OSError(errno.ENFILE, ""), True),
        (OSError(errno.ENOBUFS, ""), True),
        (OSError(errno.ENOMEM, ""), True),
        (OSError(errno.ENOSPC, ""), False),
        (ConnectionRefusedError(errno.ECONNREFUSED, ""), False),
        (ValueError(), False),
    ],
)
def test_a_shortage_is_told_from_other_errors(error: Exception, passes: bool) -> None:
    assert descriptors.is_shortage(error) == passes


def test_a_client_has_no_more_connections_than_descriptors_allow() -> None:
    code = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
import geventbt
from geventbt.concurrency import descriptors
for wanted in (50, 1000):
    with geventbt.Client(0, host="127.0.0.1", max_connections=wanted, dht=False) as client:
        print(client.server.max_connections - geventbt.limits.PENDING_PEERS, descriptors.max_connections())
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    (few, possible), (most, _) = ([int(word) for word in line.split()] for line in result.stdout.splitlines())
    assert (few, most) == (50, possible)
    assert possible < 256
