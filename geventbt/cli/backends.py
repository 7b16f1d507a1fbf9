"""Where a command has its data: in a folder, or in a store with a URL, such as a bucket."""

from __future__ import annotations

import argparse
from importlib.util import find_spec

import geventbt
from geventbt.cli.errors import USAGE, CommandError
from geventbt.cli.network import network_of


def is_store(place: str) -> bool:
    """Whether data is in a store, and not in a folder."""
    return "://" in place


def backend_of(
    place: str | None, arguments: argparse.Namespace, *, overwrite: bool = False
) -> geventbt.FsspecBackend | None:
    """What makes the backends for the data of torrents; None for files in a folder.

    Args:
        place: the folder or URL.
        arguments: of a command with `add_network`.
        overwrite: whether an object that is not the torrent's may be replaced.

    Raises:
        CommandError: fsspec is not installed, or the store would be reached past a proxy or an interface.
    """
    if place is None or not is_store(place):
        return None
    if find_spec("fsspec") is None:
        raise CommandError(USAGE, f"{place} is a URL, which needs fsspec: pip install 'geventbt[fsspec]'")
    if not network_of(arguments).is_default:
        option = "--proxy" if arguments.proxy else "--interface"
        raise CommandError(USAGE, f"{place} would be reached past {option}; give a folder, or leave the option out")
    return geventbt.FsspecBackend(place, overwrite=overwrite)
