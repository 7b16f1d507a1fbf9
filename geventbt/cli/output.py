"""Where a command writes: a torrent never over anything but a torrent, and whole or not at all; data into a folder."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import geventbt
from geventbt.cli.errors import DISK, NOT_FOUND, USAGE, CommandError


def check_output(path: str, data: str | None = None) -> None:
    """See that a torrent can be written there, before there is any work for it.

    Args:
        path: the file.
        data: the file or folder that the torrent is of.

    Raises:
        CommandError: there is no such folder, or something would be lost.
        OSError: it is a folder, or cannot be read.
    """
    if _is_special(path):
        return
    place = Path(os.path.realpath(path))
    if data is not None and Path(os.path.realpath(data)) in (place, *place.parents):
        raise CommandError(USAGE, f"{path}: it would be part of the data itself; choose another place with -o")
    if not place.parent.is_dir():
        raise CommandError(NOT_FOUND, f"{path}: there is no folder {place.parent}; make it first, or choose another")
    try:
        geventbt.Torrent.from_file(place)
    except FileNotFoundError:
        return
    except geventbt.MetainfoError:
        raise CommandError(USAGE, f"{path}: a file that is no torrent is there already; choose another name") from None


def make_folder(path: str) -> None:
    """Make the folder that data is put into, with those that it is in, where it is not there yet.

    Raises:
        CommandError: it cannot be made.
    """
    if "://" in path:
        return
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        reason = "a file is there" if isinstance(error, FileExistsError) else error.strerror
        raise CommandError(DISK, f"{path}: the folder cannot be made: {reason}; choose another with -o") from error


def write_torrent(torrent: geventbt.Torrent, path: str) -> None:
    """Write it beside its place, and then put it there: a full disk leaves what was there, and no half a file.

    Raises:
        OSError: it cannot be written; names the file.
    """
    data = torrent.to_bytes()
    try:
        if _is_special(path):
            Path(path).write_bytes(data)
        else:
            _replace(Path(os.path.realpath(path)), data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


def _replace(place: Path, data: bytes) -> None:
    beside = place.with_name(f".geventbt-{os.getpid()}")
    try:
        beside.write_bytes(data)
        beside.replace(place)
    finally:
        # There is none after success.
        with suppress(OSError):
            beside.unlink()


def _is_special(path: str) -> bool:
    """Whether it is a device or a pipe, such as /dev/stdout: nothing there can be lost."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
