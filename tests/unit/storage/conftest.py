"""A torrent of several files, its data and pieces, and a folder to download into."""

from __future__ import annotations

from pathlib import Path

import pytest

from geventbt.metainfo import Torrent
from tests.unit.storage_helpers import pieces_of, seed


@pytest.fixture
def seeded(tmp_path: Path) -> Path:
    return tmp_path / "seeded"


@pytest.fixture
def torrent(seeded: Path) -> Torrent:
    return seed(seeded)


@pytest.fixture
def pieces(torrent: Torrent, seeded: Path) -> list[bytes]:
    return pieces_of(seeded)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "downloads"
