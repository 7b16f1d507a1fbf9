"""``geventbt magnet``."""

from __future__ import annotations

import argparse

import geventbt
from geventbt.cli.errors import DONE


def run(arguments: argparse.Namespace) -> int:
    """Print the magnet link of a torrent."""
    print(geventbt.Magnet.from_torrent(geventbt.Torrent.from_file(arguments.torrent)))
    return DONE
