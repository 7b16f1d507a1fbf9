"""What `cat` and `stream` share: one file of a torrent, used while it is fetched, and kept or not."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import geventbt
from geventbt.cli import parsing, shared_options
from geventbt.cli.backends import backend_of
from geventbt.cli.following import StallTimer, add_source, web_seed_options
from geventbt.cli.output import make_folder
from geventbt.cli.selection import select_file
from geventbt.cli.sources import Source
from geventbt.cli.views import View


def add_one_file(parser: parsing.Parser, default: str) -> None:
    """Add SOURCE, FILE, --output, where data comes from, and --stall-timeout.

    Args:
        parser: of the command.
        default: which file it is where none is named.
    """
    shared_options.add_source(parser)
    parser.add_argument(
        "file", metavar="FILE", nargs="?", help=f"its path in the torrent, its index, or a glob (default: {default})"
    )
    shared_options.add_output(parser, help="folder to keep the downloaded data in (default: do not keep it)")
    shared_options.add_sources_of_peers(parser)
    shared_options.add_web_seeds(parser)
    shared_options.add_stall_timeout(parser)


@contextmanager
def data_folder(arguments: argparse.Namespace) -> Iterator[str]:
    """The folder of --output, which is made; without it, a temporary one."""
    import tempfile

    if arguments.output:
        make_folder(arguments.output)
        yield arguments.output
        return
    with tempfile.TemporaryDirectory(prefix="geventbt-") as folder:
        yield folder


def add_torrent(
    client: geventbt.Client,
    source: Source,
    folder: str,
    default: Callable[[geventbt.Torrent], int],
    view: View,
    arguments: argparse.Namespace,
) -> tuple[geventbt.ActiveTorrent, int]:
    """Add a torrent to a client, and select its one file. Blocks until the metadata is known.

    Args:
        client: the client.
        source: the torrent, or a link to it.
        folder: for its data.
        default: the index of the file where none is named.
        view: shows the progress.
        arguments: of a command with `add_one_file`.

    Returns:
        The torrent, and the index of the file.
    """

    def choose(torrent: geventbt.Torrent) -> int:
        return default(torrent) if arguments.file is None else select_file(torrent, arguments.file)

    torrent = add_source(
        client,
        source,
        folder,
        lambda torrent: [choose(torrent)],
        peers=arguments.peer,
        trackers=arguments.tracker,
        view=view,
        stall=StallTimer(arguments.stall_timeout),
        storage=backend_of(arguments.output, arguments),
        **web_seed_options(arguments),
    )
    return torrent, choose(torrent.wait_metadata())
