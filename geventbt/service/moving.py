"""Moves of data by a session, which an end of the process at any moment only delays.

Before anything is moved, the record says where the data was; from then on each start goes on with the move
(`Client.add`, `move_from`), until it is done and the record forgets the old place. A move that fails has changed
nothing, and is taken back.
"""

from __future__ import annotations

import os

from geventbt.metainfo import Magnet, Torrent
from geventbt.metainfo.renaming import renamed
from geventbt.net.text import clean_text
from geventbt.service.torrent import ServiceTorrent


def change_folder(torrent: ServiceTorrent, folder: str, *, moves_files: bool) -> bool:
    """Have the record say that the data is to be in another folder.

    Args:
        torrent: the torrent.
        folder: the folder.
        moves_files: the files are moved there; otherwise they are there already.

    Returns:
        Whether that is another one.
    """
    record = torrent.record
    if os.path.realpath(folder) == os.path.realpath(record.place):
        return False
    if moves_files and isinstance(torrent.source, Torrent):
        _remember_place(torrent)
    record.folder, record.incomplete_folder = folder, ""
    return True


def bring_home(torrent: ServiceTorrent) -> bool:
    """Have the record say that the data of a complete torrent is to be in its folder. Returns whether it was not."""
    if not torrent.record.incomplete_folder:
        return False
    _remember_place(torrent)
    torrent.record.incomplete_folder = ""
    return True


def change_name(torrent: ServiceTorrent, path: str, name: str) -> None:
    """Have the record say that a file or folder is to be called otherwise.

    Raises:
        LookupError: there is none, or the metadata is not known yet.
        ValueError: that cannot be its name, or it is taken.
    """
    metainfo = torrent.active.metainfo
    if metainfo is None:
        raise LookupError("the files of the torrent are not known yet")
    renamed(metainfo, path, name)
    if isinstance(torrent.source, Magnet):
        torrent.source = metainfo
    _remember_place(torrent)
    torrent.record.renames = [*torrent.record.renames, [path, name]]


def is_moved(torrent: ServiceTorrent) -> bool:
    """Whether data was being moved, and has arrived; the record then forgets the old place."""
    if torrent.record.moved_from is None or not torrent.moves_data or torrent.active.storage is None:
        return False
    torrent.record.moved_from = None
    return True


def take_back(torrent: ServiceTorrent, error: Exception) -> bool:
    """Have the record say the old place again, where a move has failed. Returns whether that is so."""
    record = torrent.record
    if record.moved_from is None or not torrent.moves_data or torrent.active.storage is not None:
        return False
    if not record.incomplete_folder:
        record.folder = record.moved_from["folder"]
    record.renames, record.moved_from = record.moved_from["renames"], None
    torrent.problem = f"cannot be moved: {clean_text(str(error))}"
    return True


def _remember_place(torrent: ServiceTorrent) -> None:
    record = torrent.record
    # The next one in the client does; this one has its data in the old place.
    torrent.moves_data = False
    if record.moved_from is None:
        record.moved_from = {"folder": record.place, "renames": record.renames}
