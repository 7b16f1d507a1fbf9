"""`Torrents`: the torrents of a session, each in the client as its record says, and what happens to them there."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable

from geventbt import signals
from geventbt.client.client import Client
from geventbt.client.torrent.active_torrent import ActiveTorrent
from geventbt.concurrency.greenlets import spawn
from geventbt.errors import GeventBTError
from geventbt.metainfo import Magnet, Torrent
from geventbt.net.text import clean_text
from geventbt.service import moving
from geventbt.service.adding import add_to_client
from geventbt.service.groups import Groups
from geventbt.service.keeper import Keeper
from geventbt.service.record import ServiceRecord, Settings, TorrentRecord
from geventbt.service.settings import LiveSettings
from geventbt.service.torrent import ServiceTorrent
from geventbt.service.turns import Turns

_log = logging.getLogger("geventbt")

_REMOVED = 1000
"""Torrents that were removed last, of which is remembered when."""


class Torrents:
    """The torrents of a session. Those that the program adds to, or removes from, the client itself come and go here as
    well. A `TurnsOwner`.

    Args:
        client: the client.
        keeper: keeps their records.
        service: what is kept of the session itself.
        settings: of the session.
        groups: of torrents that share rates.
        now: the time, in seconds since 1970.

    Attributes:
        turns: lets those run whose turn it is.
        removed: when torrents were removed, and their numbers; the last ones.
    """

    def __init__(
        self,
        client: Client,
        keeper: Keeper,
        service: ServiceRecord,
        settings: LiveSettings,
        groups: Groups,
        now: Callable[[], int],
    ) -> None:
        self._client = client
        self._keeper = keeper
        self._service = service
        self._settings = settings
        self._groups = groups
        self.now = now
        self._by_hash: dict[bytes, ServiceTorrent] = {}
        self._leaving: set[bytes] = set()
        self._is_closed = False
        self.removed: deque[tuple[int, int]] = deque(maxlen=_REMOVED)
        self.turns = Turns(self)
        # Those of all torrents in common: own signals for each of a thousand would take 4 MiB.
        signals.complete.connect(self._note_complete)
        signals.error.connect(self._note_error)

    def close(self) -> None:
        """Follow the client no more."""
        self.follow_client()
        self._is_closed = True
        signals.complete.disconnect(self._note_complete)
        signals.error.disconnect(self._note_error)
        self.turns.stop()

    @property
    def settings(self) -> Settings:
        """The settings that hold now."""
        return self._settings.current

    @property
    def torrents(self) -> list[ServiceTorrent]:
        """All torrents, in the order in which they were added."""
        self.follow_client()
        return list(self._by_hash.values())

    def find(self, info_hash: bytes) -> ServiceTorrent | None:
        """The torrent with an info hash, or None."""
        self.follow_client()
        return self._by_hash.get(info_hash)

    def new_record(self, source: Torrent | Magnet, folder: str) -> TorrentRecord:
        """The record of a torrent that comes now."""
        name = source.name or source.swarm_hash.hex()
        record = TorrentRecord(folder=folder, name=name, position=len(self._by_hash), added=self.now())
        record.id = self._service.take_id()
        return record

    def follow_client(self) -> None:
        """Take note of torrents that the program has added to the client, or removed from it."""
        theirs = self._client.torrents
        if self._is_closed or theirs.keys() == self._by_hash.keys():
            return
        for info_hash in theirs.keys() - self._by_hash.keys() - self._leaving:
            active = theirs[info_hash]
            record = self.new_record(active.source, os.path.abspath(active.folder))
            self._by_hash[info_hash] = ServiceTorrent(active.source, record, active, from_program=True)
            self._follow(self._by_hash[info_hash])
            spawn("keeping a torrent", self._keeper.add, active.source, record, self._service)
        for info_hash in self._by_hash.keys() - theirs.keys() - self._leaving:
            self.removed.append((self.now(), self._by_hash.pop(info_hash).record.id))
            spawn("forgetting a torrent", self._keeper.remove, info_hash)

    def put_in(self, source: Torrent | Magnet, record: TorrentRecord, *, is_restored: bool = False) -> ServiceTorrent:
        """Put a torrent into the client; see `add_to_client`. It waits for its turn."""
        active = self._add(source, record, is_restored=is_restored)
        torrent = self._by_hash[source.swarm_hash] = ServiceTorrent(source, record, active)
        self._have_wait(torrent)
        self._follow(torrent)
        return torrent

    def _add(self, source: Torrent | Magnet, record: TorrentRecord, *, is_restored: bool = False) -> ActiveTorrent:
        active = add_to_client(self._client, source, record, self.settings, is_restored=is_restored)
        active.rate_group = self._groups.rates_of(record)
        active.rate_weight = record.rate_weight
        return active

    def put_in_again(self, torrent: ServiceTorrent) -> None:
        """Put a torrent into the client anew, after its record has changed."""
        info_hash = torrent.info_hash
        with torrent.switching:
            self._leaving.add(info_hash)
            try:
                torrent.count(self.now(), 0)
                torrent.active.remove()
                torrent.replace(self._add(torrent.source, torrent.record))
            finally:
                self._leaving.discard(info_hash)
            self._have_wait(torrent)
            self._follow(torrent)
        self.turns.update()

    def take_out(self, torrent: ServiceTorrent, *, delete: bool) -> None:
        """Take a torrent out of the client, and forget it.

        Raises:
            StorageError: its files cannot be deleted; it is out nevertheless.
        """
        info_hash = torrent.info_hash
        with torrent.switching:
            self._leaving.add(info_hash)
            try:
                torrent.active.remove(delete=delete)
            finally:
                self._forget(info_hash)
                self._leaving.discard(info_hash)

    def _forget(self, info_hash: bytes) -> None:
        torrent = self._by_hash.pop(info_hash, None)
        if torrent is not None:
            self.removed.append((self.now(), torrent.record.id))
            self.turns.close_gaps()
            self._keeper.remove(info_hash)
            self.turns.update()

    def _have_wait(self, torrent: ServiceTorrent) -> None:
        """Have a torrent wait, before it has connected to any peer, until it is its turn."""
        torrent.runs = False
        torrent.active.pause()

    def _follow(self, torrent: ServiceTorrent) -> None:
        """Do what the record says as soon as that can be done."""
        active, record = torrent.active, torrent.record
        if active.metainfo is None:
            spawn(f"waiting for the metadata of {torrent.name!r}", self._await_metadata, torrent)
        elif record.priorities:
            self.choose_files_soon(torrent)
        if record.trackers is not None:
            spawn(f"setting the trackers of {torrent.name!r}", active.set_trackers, record.trackers)

    def _await_metadata(self, torrent: ServiceTorrent) -> None:
        try:
            torrent.source = torrent.active.wait_metadata()
        except GeventBTError:
            return
        torrent.changed_at = self.now()
        self._keeper.save_source(torrent.source)
        if torrent.record.unwanted or torrent.record.priorities:
            self.choose_files_soon(torrent)

    def choose_files_soon(self, torrent: ServiceTorrent) -> None:
        """Have the client fetch the files that the record says, in the background."""
        spawn(f"choosing files of {torrent.name!r}", torrent.choose_files)

    def _torrent_of(self, sender: object) -> ServiceTorrent | None:
        """The torrent that sends a signal; None where it is not, or no longer, one of this session."""
        if not isinstance(sender, ActiveTorrent):
            return None
        torrent = self._by_hash.get(sender.info_hash)
        return torrent if torrent is not None and torrent.active is sender else None

    def _note_complete(self, sender: object) -> None:
        torrent = self._torrent_of(sender)
        if torrent is None:
            return
        torrent.changed_at = self.now()
        if not torrent.record.completed:
            torrent.record.completed = self.now()
            _log.info("%r is complete", torrent.name)
        moving.is_moved(torrent)
        comes_home = moving.bring_home(torrent)
        self._keeper.save(torrent.info_hash, torrent.record)
        if comes_home:
            spawn(f"moving {torrent.name!r}", self.put_in_again, torrent)
        self.turns.update_soon()

    def _note_error(self, sender: object, error: Exception, wire: object = None) -> None:
        # That of a server, which tells of each peer that has left with an error, has the wire as well.
        torrent = self._torrent_of(sender)
        if torrent is None:
            return
        torrent.changed_at = self.now()
        _log.error("%r: %s", torrent.name, clean_text(str(error)))
        if moving.take_back(torrent, error):
            self._keeper.save(torrent.info_hash, torrent.record)
            spawn(f"going on with {torrent.name!r}", self.put_in_again, torrent)
