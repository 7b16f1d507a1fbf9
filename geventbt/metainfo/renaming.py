"""Files and folders of a torrent under other names than it gives them. The torrent itself stays what it is: its info
hash, its trackers and its web seeds know nothing of it. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace

from geventbt.metainfo.files import TorrentFile
from geventbt.metainfo.paths import is_state_dir, safe_name
from geventbt.metainfo.torrent import Torrent


def renamed(torrent: Torrent, path: str, name: str) -> Torrent:
    """The torrent with a file or folder of another name.

    Args:
        torrent: the torrent.
        path: of the file or folder, with slashes; the first part is the torrent's own name.
        name: its new name, without a slash.

    Raises:
        LookupError: there is no such file or folder.
        ValueError: that cannot be a name, or is that of another file.
    """
    parts = tuple(path.split("/"))
    inside = [index for index, file in enumerate(torrent.files) if file.path[: len(parts)] == parts]
    if not inside:
        raise LookupError(f"no such file or folder in the torrent: {path!r}")
    _check_name(name)
    target = (*parts[:-1], name)
    others = (file for index, file in enumerate(torrent.files) if index not in set(inside))
    if any(file.path[: len(target)] == target for file in others):
        raise ValueError(f"cannot rename {path!r}: {name!r} is there already")
    files = list(torrent.files)
    for index in inside:
        files[index] = _moved(files[index], (*target, *files[index].path[len(parts) :]))
    return replace(torrent, name=name if len(parts) == 1 else torrent.name, files=tuple(files))


def all_renamed(torrent: Torrent, renames: Iterable[tuple[str, str]]) -> Torrent:
    """The torrent after several renames, each a path and a name, in their order. Raises: see `renamed`."""
    for path, name in renames:
        torrent = renamed(torrent, path, name)
    return torrent


def _check_name(name: str) -> None:
    if name != safe_name(os.fsencode(name)) or is_state_dir(name):
        raise ValueError(f"cannot be the name of a file: {name!r}")


def _moved(file: TorrentFile, path: tuple[str, ...]) -> TorrentFile:
    """A file in another place; web seeds go on to know it by the name in the torrent (BEP 19)."""
    raw_parts = file.raw_parts or tuple(os.fsencode(part) for part in file.path)
    return replace(file, path=path, raw_path=None, raw_parts=raw_parts)
