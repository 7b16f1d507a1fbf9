"""Finds the data of a torrent where its user says that it is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from geventbt.errors import StorageError
from geventbt.metainfo import Torrent


def locate(torrent: Torrent, data: str | os.PathLike[str]) -> Path:
    """Find the folder for a `Storage`, given where the user says that the data is.

    Args:
        torrent: the torrent.
        data: the torrent's file or folder itself, or the folder that holds it.

    Returns:
        The folder that holds it.

    Raises:
        StorageError: if it is not there (``errno.ENOENT``).
    """
    path = Path(os.path.abspath(data))
    stored = [name for file in torrent.files if file.stored for name in (file.path, file.raw_path) if name]
    candidates = ([path.parent] if path.name in {name[0] for name in stored} else []) + [path]
    for folder in candidates:
        if any(os.path.lexists(folder.joinpath(*parts)) for parts in stored):
            return folder
    raise StorageError(
        errno.ENOENT,
        f"the data of {torrent.name!r} is not there: name its file or folder, or the one that holds it",
        os.fspath(path),
    )
