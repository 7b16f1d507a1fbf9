"""A user's program passes strict type checking."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import geventbt

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CONSUMER = HERE / "consumer.py"


def run(folder: Path, *command: str) -> None:
    """Check the program as a user does: outside the repository, with geventbt as an installed package."""
    (folder / CONSUMER.name).write_text(CONSUMER.read_text())
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, CONSUMER.name], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_consumer_uses_every_public_name() -> None:
    text = CONSUMER.read_text()
    unused = [name for name in geventbt.__all__ if not re.search(rf"\b{name}\b", text)]
    assert unused == [], f"use these in {CONSUMER.name}, with the types that a user would expect"


def test_the_consumer_passes_mypy_strict(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    keeps_cache = request.config.pluginmanager.hasplugin("cacheprovider")
    cache = request.config.cache.mkdir("mypy") if keeps_cache else tmp_path / "cache"
    run(tmp_path, sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache))


def test_the_consumer_passes_pyright(tmp_path: Path) -> None:
    pyright = shutil.which("pyright")
    if pyright is None:
        pytest.skip("pyright is not installed (npm install -g pyright)")
    run(tmp_path, pyright, "--pythonpath", sys.executable)
