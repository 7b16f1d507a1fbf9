"""Emulated networks for tests, which are skipped where there cannot be any."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from wan.wan import Host, Wan, missing_requirement


@contextmanager
def network(*hosts: Host) -> Iterator[Wan]:
    """A network, or a test that is skipped where there cannot be one."""
    reason = missing_requirement()
    if reason is not None:
        pytest.skip(reason)
    with ExitStack() as stack:
        try:
            wan = stack.enter_context(Wan(*hosts))
        except subprocess.CalledProcessError as error:
            pytest.skip(f"there are no network namespaces here: {error}")
        yield wan
