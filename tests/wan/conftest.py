"""What the tests over an emulated wide area network share. Each module has a fixture `wan` of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from wan.wan import Wan

from tests.wan.programs import Swarm


@pytest.fixture
def swarm(wan: Wan, tmp_path: Path) -> Iterator[Swarm]:
    """Programs on the hosts of the network, which end with the test."""
    made = Swarm(wan, tmp_path)
    yield made
    made.end()
