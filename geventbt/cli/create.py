"""``geventbt create``."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import geventbt
from geventbt.cli.errors import DONE
from geventbt.cli.hashing import shown_progress
from geventbt.cli.text import human_size, printable


def run(arguments: argparse.Namespace) -> int:
    """Make a torrent of a file or folder, write it, and say what it is."""
    name = arguments.name or Path(os.path.abspath(arguments.path)).name
    torrent = _create(arguments, name)
    output = Path(arguments.output or f"{torrent.name}.torrent")
    output.write_bytes(torrent.to_bytes())
    geometry = torrent.geometry
    print(
        f"{printable(torrent.name)}: {human_size(geometry.length)} in {geometry.pieces} pieces of "
        f"{human_size(geometry.piece_length)}, info hash {torrent.info_hash.hex()}, in {printable(str(output))}"
    )
    return DONE


def _create(arguments: argparse.Namespace, name: str) -> geventbt.Torrent:
    with shown_progress(name, arguments.quiet) as progress:
        try:
            return geventbt.create_torrent(
                arguments.path,
                piece_length=arguments.piece_length,
                trackers=arguments.tracker,
                web_seeds=arguments.web_seed,
                private=arguments.private,
                comment=arguments.comment,
                source=arguments.source,
                name=arguments.name,
                created_by=f"geventbt {geventbt.__version__}",
                creation_date=int(time.time()),
                progress=progress,
            )
        except ValueError as error:
            # Too many pieces of a length that is in itself possible.
            raise geventbt.MetainfoError(str(error)) from error
