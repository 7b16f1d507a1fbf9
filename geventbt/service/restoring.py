"""The torrents of the last run, put into the client in the order of the queue."""

from __future__ import annotations

import logging

from geventbt.concurrency.threads import in_thread
from geventbt.errors import GeventBTError
from geventbt.metainfo import Magnet, Torrent
from geventbt.net.text import clean_text
from geventbt.service.adding import delete_data
from geventbt.service.keeper import Keeper
from geventbt.service.record import Removal, ServiceRecord, TorrentRecord
from geventbt.service.torrents import Torrents

_log = logging.getLogger("geventbt")


def restore(torrents: Torrents, keeper: Keeper, service: ServiceRecord) -> None:
    """Put in all that was kept, and finish the removals that were cut short.

    Args:
        torrents: takes them.
        keeper: has them.
        service: what is kept of the session itself.
    """
    folder = torrents.settings.download_dir
    found = [(source, record or _record_of_lost(source, folder)) for source, record in keeper.load()]
    for source, record in sorted(found, key=lambda each: each[1].position):
        service.next_id = max(service.next_id, record.id + 1)
        record.id = record.id or service.take_id()
        if record.removal:
            _finish_removal(keeper, source, record)
            continue
        try:
            torrents.put_in(source, record, is_restored=True)
        except (GeventBTError, LookupError, OSError, ValueError) as error:
            _log.error("%r cannot be added: %s", record.name, clean_text(str(error)))
    torrents.turns.close_gaps()
    torrents.turns.update()


def _record_of_lost(source: Torrent | Magnet, folder: str) -> TorrentRecord:
    """For a torrent of which nothing is known any more: it is not to begin by itself."""
    _log.warning("nothing is known of %r: it is stopped", source.name)
    return TorrentRecord(folder=folder, name=source.name or "", is_stopped=True)


def _finish_removal(keeper: Keeper, source: Torrent | Magnet, record: TorrentRecord) -> None:
    if record.removal == Removal.DELETES_FILES and isinstance(source, Torrent):
        try:
            in_thread(delete_data, source, record)
        except (GeventBTError, LookupError, ValueError) as error:
            _log.error("the files of %r cannot be deleted: %s", record.name, clean_text(str(error)))
    keeper.remove(source.swarm_hash)
