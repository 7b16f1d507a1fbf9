"""`Rounds`: what a session looks after now and then: counters, moves, goals of seeding, the queue, its records."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol

import gevent

from geventbt import limits
from geventbt.concurrency.greenlets import spawn
from geventbt.errors import GeventBTError
from geventbt.net.text import clean_text
from geventbt.service import moving
from geventbt.service.keeper import Keeper
from geventbt.service.record import ServiceRecord
from geventbt.service.torrent import ServiceTorrent
from geventbt.service.torrents import Torrents

_log = logging.getLogger("geventbt")


class RoundsOwner(Protocol):
    """Acts on what is found."""

    def finish(self, torrent: ServiceTorrent) -> None:
        """Stop a torrent that has reached its goal."""

    def follow_schedule(self) -> None:
        """Let the slow rates hold or not, as the schedule says."""


class Rounds:
    """Looks after the torrents of a session until it is stopped.

    Args:
        torrents: the torrents.
        keeper: keeps their records.
        service: what is kept of the session itself.
        owner: acts on what is found.
    """

    def __init__(self, torrents: Torrents, keeper: Keeper, service: ServiceRecord, owner: RoundsOwner) -> None:
        self._torrents = torrents
        self._keeper = keeper
        self._service = service
        self._owner = owner
        self._counted_at = self._saved_at = self._all_saved_at = torrents.now()
        self._greenlet: gevent.Greenlet = spawn("session", self._run)

    def stop(self) -> None:
        """Look no more, and keep all."""
        self._greenlet.kill()
        self._count(self._torrents.now())
        self.save()

    def save(self) -> None:
        """Keep all that has changed. Raises StorageError."""
        self._all_saved_at = self._torrents.now()
        self._save(self._torrents.torrents)

    def _save_soon(self, now: int) -> None:
        """Keep what is due: with a thousand torrents it takes seconds to write all."""
        if now - self._all_saved_at >= limits.SERVICE_SAVE_ALL:
            self.save()
        elif now - self._saved_at >= limits.SERVICE_SAVE:
            self._save(each for each in self._torrents.torrents if each.changed_at >= self._saved_at)

    def _save(self, torrents: Iterable[ServiceTorrent]) -> None:
        records = [(torrent.info_hash, torrent.record) for torrent in torrents]
        self._saved_at = self._torrents.now()
        self._keeper.save_all(records, self._service)

    def _run(self) -> None:
        while True:
            gevent.sleep(limits.SERVICE_ROUND)
            try:
                self._look()
            except (GeventBTError, OSError) as error:
                _log.error("the state cannot be kept: %s", clean_text(str(error)))

    def _look(self) -> None:
        now, settings = self._torrents.now(), self._torrents.settings
        self._count(now)
        self._owner.follow_schedule()
        for torrent in self._torrents.torrents:
            if moving.is_moved(torrent):
                self._keeper.save(torrent.info_hash, torrent.record)
            if torrent.has_reached(settings, now):
                _log.info("%r has reached its goal", torrent.name)
                self._owner.finish(torrent)
        self._torrents.turns.update()
        self._save_soon(now)

    def _count(self, now: int) -> None:
        seconds, self._counted_at = max(0, now - self._counted_at), now
        self._service.seconds += seconds
        for torrent in self._torrents.torrents:
            downloaded, uploaded = torrent.count(now, seconds)
            self._service.downloaded += downloaded
            self._service.uploaded += uploaded
