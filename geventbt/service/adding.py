"""Torrents put into the client as their records say: where their data is, under which names, which files are wanted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from geventbt.client.client import Client
from geventbt.client.torrent.active_torrent import ActiveTorrent
from geventbt.concurrency.threads import in_thread
from geventbt.metainfo import Magnet, Torrent
from geventbt.metainfo.renaming import all_renamed
from geventbt.service.record import Settings, TorrentRecord
from geventbt.storage import Place, Storage


def add_to_client(
    client: Client,
    source: Torrent | Magnet,
    record: TorrentRecord,
    settings: Settings,
    *,
    is_restored: bool = False,
) -> ActiveTorrent:
    """Add a torrent to a client.

    Args:
        client: the client.
        source: the torrent, with the names that it gives its files.
        record: what is kept of it.
        settings: of the session.
        is_restored: whether it was there in an earlier run: then data that should be there, and is not, is an error,
            and the torrent fails. A disk that is not mounted must not be filled anew.

    Raises:
        ValueError: see `Client.add`.
    """
    whole, place = source, None
    files: list[int] | None = None
    if isinstance(source, Torrent):
        whole = renamed_as_kept(source, record.renames)
        place = _former_place(source, record)
        unwanted = set(record.unwanted)
        files = [index for index in range(len(source.files)) if index not in unwanted] if unwanted else None
    should_be_there = is_restored and place is None and bool(record.completed or record.downloaded)
    return client.add(
        whole,
        record.place,
        files=files,
        sequential=record.sequential,
        max_peers=record.peer_limit or settings.peer_limit,
        limit_down=record.rate_down,
        limit_up=record.rate_up,
        move_from=place,
        seed_only=should_be_there and isinstance(whole, Torrent) and not in_thread(_has_any_file, whole, record.place),
    )


def incomplete_folder(source: Torrent | Magnet, folder: str, settings: Settings) -> str:
    """The folder for a torrent until it is complete; "" for `folder` itself, where any of its files is already."""
    if not settings.has_incomplete_dir or settings.incomplete_dir == folder:
        return ""
    is_there = isinstance(source, Torrent) and in_thread(_has_any_file, source, folder)
    return "" if is_there else settings.incomplete_dir


def renamed_as_kept(torrent: Torrent, renames: Iterable[Sequence[str]]) -> Torrent:
    """A torrent with its files and folders renamed."""
    return all_renamed(torrent, [(path, name) for path, name in renames])


def delete_data(torrent: Torrent, record: TorrentRecord) -> None:
    """Delete the data of a torrent that is in no client; blocks on the disk.

    Raises:
        StorageError: it cannot be deleted.
    """
    with Storage(renamed_as_kept(torrent, record.renames), record.place) as storage:
        storage.restore()
        storage.delete()


def _former_place(source: Torrent, record: TorrentRecord) -> Place | None:
    """Where the data is to be moved from, or a part of it."""
    if record.moved_from is None:
        return None
    return Place(renamed_as_kept(source, record.moved_from["renames"]), record.moved_from["folder"])


def _has_any_file(torrent: Torrent, folder: str) -> bool:
    return any(file.stored and os.path.lexists(os.path.join(folder, *file.path)) for file in torrent.files)
