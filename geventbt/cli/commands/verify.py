"""``geventbt verify``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import geventbt
from geventbt.cli import parsing, shared_options
from geventbt.cli.errors import CORRUPT, DONE, exit_code_if_output_closes
from geventbt.cli.hashing import shown_progress
from geventbt.cli.json_lines import emit
from geventbt.cli.sources import folder_of, read_torrent
from geventbt.cli.text import counted, printable, say

if TYPE_CHECKING:
    from bitarray import bitarray

_EXAMPLES = "geventbt verify photos.torrent photos/"
_SOURCE = "a .torrent file, an http(s) URL of one, or - for standard input"


class _Checked(NamedTuple):
    """A file, and how many of its pieces are good; None where it is missing.

    `excess` is the number of bytes that it is too long.
    """

    number: int
    name: str
    good: int | None
    pieces: int
    excess: int

    @property
    def is_good(self) -> bool:
        """Whether it is exactly as in the torrent."""
        return self.good == self.pieces and not self.excess


def add_parser(commands: parsing.Commands) -> None:
    """Add the command."""
    parser = parsing.add_command(commands, "verify", "compare data on disk with a torrent", _EXAMPLES)
    shared_options.add_source(parser, _SOURCE)
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="?",
        help=f"{shared_options.DATA} (default: the folder that the .torrent file is in)",
    )
    shared_options.add_quiet(parser)
    shared_options.add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Hash all data and compare it with the torrent. No data is changed; what is wrong is taken out of our own record.

    The exit code is CORRUPT unless all of it is good.
    """
    from geventbt.storage import locate

    torrent = read_torrent(arguments.source, "verify", arguments)
    folder = locate(torrent, arguments.data or folder_of(arguments.source))
    with (
        geventbt.Storage(torrent, folder) as storage,
        shown_progress(torrent.name, arguments.quiet or arguments.json) as progress,
    ):
        good = storage.check(progress)
        files = list(_files(storage, good))
        if not good.all():
            _withdraw(storage)
    is_complete = bool(good.all()) and all(file.is_good for file in files)
    code = DONE if is_complete else CORRUPT
    with exit_code_if_output_closes(code):
        _report(torrent, good, files, is_complete, as_json=arguments.json)
    return code


def _withdraw(storage: geventbt.Storage) -> None:
    """Have the next download fetch what is wrong, even where a file looks as it did when its pieces were right."""
    if not storage.is_recorded:
        return
    try:
        storage.withdraw()
    except geventbt.StorageError as error:
        say(f"what is wrong is still recorded as right: {error}; geventbt download --check finds it")


def _report(
    torrent: geventbt.Torrent, good: bitarray, files: list[_Checked], is_complete: bool, *, as_json: bool
) -> None:
    if as_json:
        for file in files:
            emit(
                "checked",
                index=file.number,
                path=file.name,
                good=file.good,
                pieces=file.pieces,
                excess=file.excess,
            )
        emit(
            "verified",
            info_hash=torrent.swarm_hash.hex(),
            name=torrent.name,
            good=good.count(),
            pieces=len(good),
            complete=is_complete,
        )
    else:
        print(f"{printable(torrent.name)}: {_good_of(good.count(), len(good))}")
        for file in files:
            if not file.is_good:
                result = "missing" if file.good is None else _good_of(file.good, file.pieces)
                result += f", {counted(file.excess, 'byte')} too long" if file.excess else ""
                print(f"  {printable(file.name)}: {result}")


def _good_of(good: int, pieces: int) -> str:
    return f"{good} of {counted(pieces, 'piece')} {'is' if pieces == 1 else 'are'} good"


def _files(storage: geventbt.Storage, good: bitarray) -> Iterator[_Checked]:
    for index, file in enumerate(storage.torrent.files):
        if not file.stored:
            continue
        of_file = storage.torrent.geometry.pieces_of(file.offset, file.length)
        pieces = good[of_file.start : of_file.stop]
        path = storage.path(index)
        is_there = os.path.exists(path)
        excess = max(0, path.stat().st_size - file.length) if is_there else 0
        yield _Checked(index, "/".join(file.path), pieces.count() if is_there else None, len(pieces), excess)
