"""Where a command writes: .torrent files whole or not at all, and only over other .torrent files; and data."""

from __future__ import annotations

import os
from pathlib import Path

import geventbt
from geventbt.cli.backends import is_store
from geventbt.cli.errors import DISK, NOT_FOUND, USAGE, CommandError
from geventbt.concurrency.replace_file import replace_file


def check_output(path: str, data: str | None = None) -> None:
    """Check that a torrent can be written to a path, before any work is done for it.

    Args:
        path: the file.
        data: the file or folder that the torrent is of.

    Raises:
        CommandError: there is no such folder, it cannot be written, or another file would be overwritten.
        OSError: it is a folder, or cannot be read.
    """
    if _is_special(path):
        return
    place = Path(os.path.realpath(path))
    if data is not None and Path(os.path.realpath(data)) in (place, *place.parents):
        raise CommandError(USAGE, f"{path}: it would be part of the data itself; choose another place with -o")
    if not place.parent.is_dir():
        raise CommandError(NOT_FOUND, f"{path}: there is no folder {place.parent}; make it first, or choose another")
    if not os.access(place.parent, os.W_OK):
        raise CommandError(DISK, f"{path}: nothing can be written in the folder {place.parent}; choose another place")
    try:
        geventbt.Torrent.from_file(place)
    except FileNotFoundError:
        return
    except geventbt.MetainfoError:
        raise CommandError(
            USAGE, f"{path}: there is already a file that is not a torrent; choose another name"
        ) from None


def make_folder(path: str) -> None:
    """Make the folder that data is put into, with those that it is in, where it is not there yet.

    Raises:
        CommandError: it cannot be made.
    """
    if is_store(path):
        return
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        reason = "a file is there" if isinstance(error, FileExistsError) else error.strerror
        raise CommandError(DISK, f"{path}: the folder cannot be made: {reason}; choose another with -o") from error


def write_torrent(torrent: geventbt.Torrent, path: str) -> None:
    """Write a torrent as a whole, or not at all: if the disk is full, the old file stays as it was.

    Raises:
        OSError: it cannot be written; names the file.
    """
    data = torrent.to_bytes()
    try:
        if _is_special(path):
            Path(path).write_bytes(data)
        else:
            replace_file(Path(os.path.realpath(path)), data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


def _is_special(path: str) -> bool:
    """Whether it is a device or a pipe, such as /dev/stdout, where nothing can be overwritten."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
