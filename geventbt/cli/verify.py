"""``geventbt verify``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from bitarray import bitarray

import geventbt
from geventbt.cli.errors import CORRUPT, DONE
from geventbt.cli.hashing import shown_progress
from geventbt.cli.text import printable
from geventbt.storage import locate


def run(arguments: argparse.Namespace) -> int:
    """Hash all data, and say which of it is as the torrent says. Nothing is changed or made.

    The exit code is that of wrong data unless all is good.
    """
    torrent = geventbt.Torrent.from_file(arguments.torrent)
    folder = locate(torrent, arguments.data)
    with geventbt.Storage(torrent, folder) as storage, shown_progress(torrent.name, arguments.quiet) as progress:
        good = storage.check(progress)
        incomplete = list(_incomplete(storage, good))
    print(f"{printable(torrent.name)}: {good.count()} of {len(good)} pieces are good")
    for line in incomplete:
        print(f"  {printable(line)}")
    return DONE if good.all() and not incomplete else CORRUPT


def _incomplete(storage: geventbt.Storage, good: bitarray) -> Iterator[str]:
    """A line about each file that is missing or has pieces that are not good."""
    piece_length = storage.torrent.geometry.piece_length
    for index, file in enumerate(storage.torrent.files):
        if not file.stored:
            continue
        pieces = good[file.offset // piece_length : -(-(file.offset + file.length) // piece_length)]
        name = "/".join(file.path)
        if not storage.path(index).exists():
            yield f"{name}: missing"
        elif file.length and not pieces.all():
            yield f"{name}: {pieces.count()} of {len(pieces)} pieces are good"
