"""What the tests of the command line begin with; other tests have their own by the same names."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import geventbt
from tests.cli_harness import make_origin, make_torrent_file

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # So a shell starts what it puts in the background, and so would be all that the tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Let the programs that tests start share their bytecode where none is to be written beside the sources: each of
    some hundred would compile the whole package."""
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        os.environ["PYTHONPYCACHEPREFIX"] = folder = tempfile.mkdtemp(prefix="pycache-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path)


@pytest.fixture
def torrent_file(tmp_path: Path, origin: Path) -> Path:
    return make_torrent_file(tmp_path, origin)


@pytest.fixture
def seeder(torrent_file: Path, origin: Path) -> Iterator[str]:
    """The address of a seeder."""
    with geventbt.seed(torrent_file, origin, ("127.0.0.1", 0)) as client:
        yield f"127.0.0.1:{client.port}"
