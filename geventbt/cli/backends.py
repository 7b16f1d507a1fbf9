"""Where a command has its data: in a folder, or in a store with a URL, such as a bucket."""

from __future__ import annotations

from importlib.util import find_spec

import geventbt
from geventbt.cli.errors import USAGE, CommandError


def is_store(place: str) -> bool:
    """Whether data is in a store, and not in a folder."""
    return "://" in place


def backend_of(place: str | None, *, overwrite: bool = False) -> geventbt.FsspecBackend | None:
    """What makes the backends for the data of torrents; None for files in a folder.

    Args:
        place: the folder or URL.
        overwrite: whether an object that is not the torrent's may be replaced.

    Raises:
        CommandError: fsspec is not installed.
    """
    if place is None or not is_store(place):
        return None
    if find_spec("fsspec") is None:
        raise CommandError(USAGE, f"{place} is a URL, which needs fsspec: pip install 'geventbt[fsspec]'")
    return geventbt.FsspecBackend(place, overwrite=overwrite)
