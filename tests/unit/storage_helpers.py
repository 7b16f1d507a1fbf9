"""A small torrent with borders inside its pieces, for the tests of storage."""

from __future__ import annotations

import random
from pathlib import Path

from geventbt.metainfo import Torrent
from geventbt.metainfo.create import create_torrent
from geventbt.storage import DiskBackend

PIECE = 1024
LENGTHS = {"a": 1500, "b": 700, "c": 2000, "d": 3000}
"""Pieces: a 0-1, b 1-2, c 2-4, d 4-7."""
A, B, C, D = range(4)


class RecordingBackend(DiskBackend):
    """A disk that notes what is read for a check, as (file, offset)."""

    def __init__(self, torrent: Torrent, folder: Path) -> None:
        super().__init__(torrent, folder)
        self.reads: list[tuple[int, int]] = []

    def read_into(self, file: int, offset: int, view: memoryview) -> None:
        self.reads.append((file, offset))
        super().read_into(file, offset, view)


def seed(folder: Path) -> Torrent:
    """Make the folder "torrent" with good data below a folder, and the torrent of it."""
    source = random.Random(1)
    for name, length in LENGTHS.items():
        path = folder / "torrent" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.randbytes(length))
    return create_torrent(folder / "torrent", piece_length=PIECE)


def pieces_of(folder: Path) -> list[bytes]:
    """The pieces of the data that `seed` made."""
    stream = b"".join((folder / "torrent" / name).read_bytes() for name in LENGTHS)
    return [stream[at : at + PIECE] for at in range(0, len(stream), PIECE)]
