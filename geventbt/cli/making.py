"""``geventbt seed FOLDER``: the torrent of data that has none yet, kept beside the data."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

import geventbt
from geventbt.cli.errors import USAGE, CommandError
from geventbt.cli.hashing import shown_progress
from geventbt.cli.output import check_output, write_torrent


class Shared(NamedTuple):
    """A torrent made of data.

    Attributes:
        torrent: the torrent.
        output: its .torrent file.
    """

    torrent: geventbt.Torrent
    output: str


def is_data(path: str) -> bool:
    """Whether a path leads to data to be shared, and not to a .torrent file: a folder, or a file of another kind."""
    if os.path.isdir(path):
        return True
    if not os.path.isfile(path) or path.lower().endswith(".torrent"):
        return False
    with open(path, "rb") as file:
        return file.read(1) != b"d" or not _is_torrent(path)


def share(path: str, trackers: list[str], web_seeds: list[str], *, is_quiet: bool) -> Shared:
    """The torrent of a file or folder: the one beside it of an earlier time, if it is of these files, or a new one.

    Args:
        path: the file or folder.
        trackers: announce URLs for a new torrent.
        web_seeds: URLs of the data on web servers for a new torrent.
        is_quiet: show no progress.

    Raises:
        CommandError: a torrent of other files is in its place.
        MetainfoError: there is nothing to share.
        OSError: the data cannot be read, or the torrent not be written.
    """
    place = Path(os.path.abspath(path))
    output = str(place.with_name(f"{place.name}.torrent"))
    if os.path.exists(output):
        check_output(output)
        known = geventbt.Torrent.from_file(output)
        if not _is_of(known, place):
            raise CommandError(
                USAGE,
                f"{output} is there already, and not of what is in {path} now; remove it to make a new one, or name "
                "both: geventbt seed TORRENT DATA",
            )
        return Shared(known, output)
    check_output(output, None)
    with shown_progress(place.name, is_quiet) as progress:
        torrent = geventbt.create_torrent(
            place,
            trackers=trackers,
            web_seeds=web_seeds,
            created_by=f"geventbt {geventbt.__version__}",
            creation_date=int(time.time()),
            progress=progress,
        )
    write_torrent(torrent, output)
    return Shared(torrent, output)


def _is_torrent(path: str) -> bool:
    try:
        geventbt.Torrent.from_file(path)
    except geventbt.MetainfoError:
        return False
    return True


def _is_of(torrent: geventbt.Torrent, place: Path) -> bool:
    """Whether a torrent is of the files in a place, by their names and sizes."""
    if torrent.name != place.name or torrent.is_multi_file != place.is_dir():
        return False
    for file in torrent.files:
        path = place.parent.joinpath(*file.path)
        if file.stored and not (path.is_file() and path.stat().st_size == file.length):
            return False
    return True
