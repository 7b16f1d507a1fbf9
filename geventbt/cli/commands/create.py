"""``geventbt create``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import geventbt
from geventbt.cli import parsing, shared_options, values
from geventbt.cli.errors import DONE, USAGE, CommandError
from geventbt.cli.hashing import shown_progress
from geventbt.cli.json_lines import created_fields, emit
from geventbt.cli.output import check_output, write_torrent
from geventbt.cli.text import counted, human_size, info_hashes, printable, say

_EXAMPLES = """
geventbt create photos/ --tracker http://tracker.example/announce
geventbt create film.mkv -o film.torrent --piece-length 1M --comment 'for you'
"""


def add_parser(commands: parsing.Commands) -> None:
    """Add the command."""
    parser = parsing.add_command(
        commands,
        "create",
        "make a torrent of a file or folder",
        _EXAMPLES,
        # In other commands it is the folder for downloads.
        without_variables={"output"},
    )
    parser.add_argument("path", metavar="PATH", help="the file or folder")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE.torrent",
        help="file to write, or - for standard output (default: NAME.torrent in the current folder)",
    )
    parser.add_argument(
        "--piece-length", type=values.piece_length, metavar="SIZE", help="such as 256K (default: chosen by the size)"
    )
    shared_options.add_repeatable(
        parser, "--tracker", values.url, "URL", "announce URL; repeatable, the preferred one first"
    )
    shared_options.add_repeatable(
        parser, "--web-seed", values.web_seed, "URL", "URL of the data on a web server; repeatable"
    )
    parser.add_argument(
        "--torrent-version",
        choices=["1", "2", "hybrid"],
        default="1",
        help="version of BitTorrent: 1, which every client reads; 2 (BEP 52); or both (default: 1)",
    )
    parser.add_argument("--private", action="store_true", help="peers may come from the trackers only")
    parser.add_argument("--comment", metavar="TEXT", help="text for people")
    parser.add_argument("--source", metavar="TEXT", help="text that changes the info hash, for private trackers")
    parser.add_argument("--name", help="name of the torrent (default: that of PATH)")
    shared_options.add_quiet(parser)
    shared_options.add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make a torrent of a file or folder, write it, and print a summary."""
    name = arguments.name or Path(os.path.abspath(arguments.path)).name
    if arguments.output == "-":
        return _create_to_output(arguments, name)
    output = arguments.output or f"{name}.torrent"
    check_output(output, arguments.path)
    torrent = _create(arguments, name)
    write_torrent(torrent, output)
    if arguments.json:
        emit("created", **created_fields(torrent, output))
        return DONE
    print(f"{_summary(torrent)}, in {printable(output)}")
    return DONE


def _create_to_output(arguments: argparse.Namespace, name: str) -> int:
    if arguments.json:
        raise CommandError(USAGE, "-o - and --json both write to standard output; leave one of them out")
    torrent = _create(arguments, name)
    sys.stdout.buffer.write(torrent.to_bytes())
    say(_summary(torrent))
    return DONE


def _summary(torrent: geventbt.Torrent) -> str:
    geometry = torrent.geometry
    return (
        f"{printable(torrent.name)}: {human_size(torrent.length)} in {counted(geometry.pieces, 'piece')} of "
        f"{human_size(geometry.piece_length)}, info hash {' and '.join(info_hashes(torrent))}"
    )


def _create(arguments: argparse.Namespace, name: str) -> geventbt.Torrent:
    with shown_progress(name, arguments.quiet or arguments.json) as progress:
        try:
            return geventbt.create_torrent(
                arguments.path,
                version=arguments.torrent_version,
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
            # The piece length is valid in itself, but gives too many pieces.
            raise geventbt.MetainfoError(str(error)) from error
