"""``geventbt magnet``."""

from __future__ import annotations

import argparse

import geventbt
from geventbt.cli import parsing, shared_options
from geventbt.cli.errors import DONE
from geventbt.cli.sources import resolve_source


def add_parser(commands: parsing.Commands) -> None:
    """Add the command."""
    parser = parsing.add_command(
        commands, "magnet", "print the magnet link of a torrent", "geventbt magnet ubuntu.torrent"
    )
    shared_options.add_source(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the magnet link of a torrent."""
    source = resolve_source(arguments.source, arguments)
    print(geventbt.Magnet.from_torrent(source) if isinstance(source, geventbt.Torrent) else source)
    return DONE
