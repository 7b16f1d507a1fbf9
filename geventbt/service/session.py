"""`Session`: the torrents of a client as a service has them: numbered, queued, and kept over restarts."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import gevent

from geventbt.client.client import Client, read_source
from geventbt.client.status import TorrentState
from geventbt.client.torrent.active_torrent import ActiveTorrent
from geventbt.concurrency.greenlets import spawn
from geventbt.concurrency.threads import in_thread
from geventbt.errors import GeventBTError, StorageError
from geventbt.metainfo import Magnet, Torrent
from geventbt.net.text import clean_text
from geventbt.service import moving, queue
from geventbt.service.adding import add_to_client, delete_data
from geventbt.service.blocklist import Blocklist
from geventbt.service.folders import inside
from geventbt.service.groups import Groups
from geventbt.service.keeper import Keeper
from geventbt.service.record import Removal, Settings, TorrentRecord
from geventbt.service.settings import LiveSettings
from geventbt.service.store import StateStore
from geventbt.service.torrent import ServiceTorrent
from geventbt.service.turns import Order, Turns

_log = logging.getLogger("geventbt")

_TICK = 5.0
"""Seconds between two looks at what was transferred, at goals, and at the queue."""
_ARRIVAL = 10.0
"""Seconds that a move waits for the one before it."""
_SAVE = 60
"""Seconds between two times that counters are written."""
_REMOVED = 1000
"""Torrents that were removed last, of which is remembered when."""


class AlreadyThere(ValueError):
    """The session has this torrent.

    Attributes:
        torrent: the one that it has.
    """

    def __init__(self, torrent: ServiceTorrent) -> None:
        super().__init__(f"the torrent is there already: {torrent.info_hash.hex()}")
        self.torrent = torrent


class Session:
    """The torrents of a client. Those that the program adds to, or removes from, the client itself come and go here as
    well. To be closed before its client.

    What changes a torrent or a setting is kept when the call returns; where it cannot be, it raises StorageError.

    Args:
        client: the client.
        store: where all is kept; None to keep nothing.
        settings: what the configuration says; see `Settings`.
        roots: the folders that data may be in; None for the download folder alone.
        ip_filter: the file that the client's filter of IP addresses was read from; None if there is none.
        now: the time, in seconds since 1970.

    Attributes:
        client: see above.
        record: what is kept of the session itself.
        groups: the groups of torrents that share rates.
        blocklist: the IP addresses that are left alone.
        removed: when torrents were removed, and their numbers; the last ones.
        started: when this run began.
    """

    def __init__(
        self,
        client: Client,
        *,
        store: StateStore | None = None,
        settings: Mapping[str, Any] | None = None,
        roots: Sequence[str | os.PathLike[str]] | None = None,
        ip_filter: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.client = client
        self._now = now
        self._keeper = Keeper(store)
        self.record = self._keeper.load_service()
        self.record.runs += 1
        self.removed: deque[tuple[int, int]] = deque(maxlen=_REMOVED)
        self.started = self._counted_at = self._saved_at = self.now()
        self._roots = roots
        self._torrents: dict[bytes, ServiceTorrent] = {}
        self._leaving: set[bytes] = set()
        self._is_closed = False
        self.groups = Groups(client, self.record)
        self.blocklist = Blocklist(client, None if store is None else store.folder / "blocklist", ip_filter)
        self.blocklist.restore()
        self._settings = LiveSettings(client, self.record, Settings(download_dir=os.getcwd()))
        self._settings.configure(settings or {})
        self._settings.follow_schedule(self.now())
        self.blocklist.set_on(self.settings.has_blocklist)
        self._turns = Turns(self)
        self._restore()
        self._greenlet: gevent.Greenlet = spawn("session", self._run)

    def now(self) -> int:
        """The time, in seconds since 1970."""
        return int(self._now())

    # ------------------------------------------------------------------ what there is

    @property
    def torrents(self) -> list[ServiceTorrent]:
        """All torrents, in the order in which they were added."""
        self._follow_client()
        return list(self._torrents.values())

    def find(self, info_hash: bytes) -> ServiceTorrent | None:
        """The torrent with an info hash, or None."""
        self._follow_client()
        return self._torrents.get(info_hash)

    def check_folder(self, folder: str | os.PathLike[str]) -> str:
        """A folder that data may be in, without links on the way.

        Raises:
            ValueError: it is not absolute, or outside the folders of the session.
        """
        return inside(folder, self._roots if self._roots is not None else [self.settings.download_dir])

    def torrent_path(self, torrent: ServiceTorrent) -> str:
        """Where its .torrent file is kept; "" if nowhere."""
        return self._keeper.torrent_path(torrent.info_hash)

    def is_stalled(self, torrent: ServiceTorrent) -> bool:
        """Whether a torrent runs and has transferred nothing for a while."""
        return self._turns.is_stalled(torrent)

    # ------------------------------------------------------------------ settings

    @property
    def settings(self) -> Settings:
        """The settings that hold now; not to be changed directly."""
        return self._settings.current

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Take over what the configuration says now: where it says something else than before, that holds."""
        self._settings.configure(settings)
        self._note_settings()

    def change_settings(self, changes: Mapping[str, Any]) -> None:
        """Change settings until the configuration says something else."""
        self._settings.change(changes)
        self._note_settings()

    def change_group(self, name: str, changes: Mapping[str, Any]) -> None:
        """Change, or make, a group of torrents that share rates; see `GroupRecord`. Raises: see `Groups.change`."""
        self.groups.change(name, changes)
        self._keeper.save_all([], self.record)

    def _note_settings(self) -> None:
        self._settings.follow_schedule(self.now())
        self.blocklist.set_on(self.settings.has_blocklist)
        for torrent in self._torrents.values():
            torrent.active.max_peers = torrent.record.peer_limit or self.settings.peer_limit
        self._keeper.save_all([], self.record)
        self._turns.update()

    # ------------------------------------------------------------------ torrents that come and go

    def add(
        self, source: Torrent | Magnet | str | os.PathLike[str], folder: str | None = None, **options: Any
    ) -> ServiceTorrent:
        """Add a torrent.

        Args:
            source: the torrent, the path of its .torrent file, or a magnet link.
            folder: the folder for its file or folder; None for the download folder.
            options: attributes of its `TorrentRecord`, such as `is_stopped` and `labels`.

        Raises:
            AlreadyThere: the session has it.
            MetainfoError: it is not a torrent; a MagnetError is one.
        """
        whole = in_thread(read_source, source)
        known = self.find(whole.swarm_hash)
        if known is not None:
            raise AlreadyThere(known)
        record = self._new_record(whole, folder or self.settings.download_dir)
        record.is_stopped, record.sequential = not self.settings.starts_added, self.settings.sequential
        record.change(options)
        self.record.added += 1
        self._keeper.add(whole, record, self.record)
        try:
            torrent = self._start(whole, record)
        except BaseException:
            self._keeper.remove(whole.swarm_hash)
            raise
        self._turns.update_soon()
        return torrent

    def remove(self, torrent: ServiceTorrent, *, delete: bool = False) -> None:
        """Remove a torrent.

        Args:
            torrent: the torrent.
            delete: delete its files, too.

        Raises:
            StorageError: its files cannot be deleted; it is removed nevertheless.
        """
        info_hash = torrent.info_hash
        if info_hash not in self._torrents:
            return
        torrent.record.removal = Removal.DELETES_FILES if delete else Removal.KEEPS_FILES
        self._save(torrent)
        with torrent.switching:
            self._leaving.add(info_hash)
            try:
                torrent.active.remove(delete=delete)
            finally:
                self._forget(info_hash)
                self._leaving.discard(info_hash)

    def _forget(self, info_hash: bytes) -> None:
        torrent = self._torrents.pop(info_hash, None)
        if torrent is not None:
            self.removed.append((self.now(), torrent.record.id))
            self._turns.close_gaps()
            self._keeper.remove(info_hash)
            self._turns.update()

    def _new_record(self, source: Torrent | Magnet, folder: str) -> TorrentRecord:
        name = source.name or source.swarm_hash.hex()
        record = TorrentRecord(folder=folder, name=name, position=len(self._torrents), added=self.now())
        record.id = self.record.take_id()
        return record

    def _follow_client(self) -> None:
        """Take note of torrents that the program has added to the client, or removed from it."""
        theirs = self.client.torrents
        if self._is_closed or theirs.keys() == self._torrents.keys():
            return
        for info_hash in theirs.keys() - self._torrents.keys() - self._leaving:
            active = theirs[info_hash]
            record = self._new_record(active.source, os.path.abspath(active.folder))
            self._torrents[info_hash] = ServiceTorrent(active.source, record, active)
            self._watch(self._torrents[info_hash])
            spawn("keeping a torrent", self._keeper.add, active.source, record, self.record)
        for info_hash in self._torrents.keys() - theirs.keys() - self._leaving:
            self.removed.append((self.now(), self._torrents.pop(info_hash).record.id))
            spawn("forgetting a torrent", self._keeper.remove, info_hash)

    # ------------------------------------------------------------------ the last run

    def _restore(self) -> None:
        """Add all that was kept to the client, in the order of the queue."""
        found = [(source, record or self._record_of_lost(source)) for source, record in self._keeper.load()]
        for source, record in sorted(found, key=lambda each: each[1].position):
            self.record.next_id = max(self.record.next_id, record.id + 1)
            record.id = record.id or self.record.take_id()
            if record.removal:
                self._finish_removal(source, record)
                continue
            try:
                self._start(source, record, is_restored=True)
            except (GeventBTError, LookupError, OSError, ValueError) as error:
                _log.error("%r cannot be added: %s", record.name, clean_text(str(error)))
        self._turns.close_gaps()
        self._turns.update()

    def _record_of_lost(self, source: Torrent | Magnet) -> TorrentRecord:
        """For a torrent of which nothing is known any more: it is not to begin by itself."""
        _log.warning("nothing is known of %r: it is stopped", source.name)
        return TorrentRecord(folder=self.settings.download_dir, name=source.name or "", is_stopped=True)

    def _finish_removal(self, source: Torrent | Magnet, record: TorrentRecord) -> None:
        if record.removal == Removal.DELETES_FILES and isinstance(source, Torrent):
            try:
                in_thread(delete_data, source, record)
            except (GeventBTError, LookupError, ValueError) as error:
                _log.error("the files of %r cannot be deleted: %s", record.name, clean_text(str(error)))
        self._keeper.remove(source.swarm_hash)

    # ------------------------------------------------------------------ in the client

    def _start(self, source: Torrent | Magnet, record: TorrentRecord, *, is_restored: bool = False) -> ServiceTorrent:
        active = add_to_client(self.client, source, record, self.settings, is_restored=is_restored)
        active.rate_group = self.groups.rates_of(record)
        torrent = self._torrents[source.swarm_hash] = ServiceTorrent(source, record, active)
        self._have_wait(torrent)
        self._watch(torrent)
        return torrent

    def _start_again(self, torrent: ServiceTorrent) -> None:
        """Put a torrent into the client anew, after its record has changed."""
        info_hash = torrent.info_hash
        with torrent.switching:
            self._leaving.add(info_hash)
            try:
                torrent.count(self.now(), 0)
                torrent.active.remove()
                torrent.replace(add_to_client(self.client, torrent.source, torrent.record, self.settings))
                torrent.active.rate_group = self.groups.rates_of(torrent.record)
            finally:
                self._leaving.discard(info_hash)
            self._have_wait(torrent)
            self._watch(torrent)
        self._turns.update()

    def _have_wait(self, torrent: ServiceTorrent) -> None:
        """Have a torrent wait, before it has connected to any peer, until it is its turn."""
        torrent.runs = False
        torrent.active.pause()

    def _watch(self, torrent: ServiceTorrent) -> None:
        active, record = torrent.active, torrent.record
        active.on("complete", lambda active: self._note_complete(torrent))
        active.on("error", lambda active, error: self._note_error(torrent, active, error))
        if active.metainfo is None:
            spawn(f"waiting for the metadata of {torrent.name!r}", self._await_metadata, torrent)
        elif record.priorities:
            self._choose_files_soon(torrent)
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
            self._choose_files_soon(torrent)

    def _choose_files_soon(self, torrent: ServiceTorrent) -> None:
        spawn(f"choosing files of {torrent.name!r}", torrent.choose_files)

    def _note_complete(self, torrent: ServiceTorrent) -> None:
        torrent.changed_at = self.now()
        if not torrent.record.completed:
            torrent.record.completed = self.now()
            _log.info("%r is complete", torrent.name)
        moving.is_moved(torrent)
        self._save(torrent)
        self._turns.update_soon()

    def _note_error(self, torrent: ServiceTorrent, active: ActiveTorrent, error: Exception) -> None:
        if active is not torrent.active:
            return
        torrent.changed_at = self.now()
        _log.error("%r: %s", torrent.name, clean_text(str(error)))
        if moving.take_back(torrent, error):
            self._save(torrent)
            spawn(f"going on with {torrent.name!r}", self._start_again, torrent)

    # ------------------------------------------------------------------ control

    def start(self, torrent: ServiceTorrent, *, forced: bool = False) -> None:
        """Let a torrent run, in its turn.

        Args:
            torrent: the torrent.
            forced: whatever the queue says.
        """
        record = torrent.record
        record.is_stopped, record.is_finished, record.is_forced = False, False, forced
        record.started = torrent.changed_at = self.now()
        torrent.problem = ""
        self._save(torrent)
        if torrent.active.state is TorrentState.FAILED:
            self._start_again(torrent)
        self._turns.update()

    def stop(self, torrent: ServiceTorrent, *, is_finished: bool = False) -> None:
        """Stop a torrent.

        Args:
            torrent: the torrent.
            is_finished: a goal has stopped it.
        """
        record = torrent.record
        record.is_stopped, record.is_forced, record.is_finished = True, False, is_finished
        torrent.changed_at = self.now()
        self._save(torrent)
        self._turns.update()

    def verify(self, torrent: ServiceTorrent) -> None:
        """Hash all data of a torrent again, in the background."""
        torrent.changed_at = self.now()
        spawn(f"checking {torrent.name!r}", torrent.verify)

    def change(self, torrent: ServiceTorrent, **changes: Any) -> None:
        """Change attributes of the record of a torrent, which hold at once. A group that is not there is made."""
        record, active = torrent.record, torrent.active
        if changes.get("group"):
            self.change_group(changes["group"], {})
        record.change(changes)
        record.edited = torrent.changed_at = self.now()
        self._save(torrent)
        active.rate_group = self.groups.rates_of(record)
        active.set_limits(down=record.rate_down, up=record.rate_up)
        active.max_peers = record.peer_limit or self.settings.peer_limit
        active.sequential = record.sequential
        if changes.keys() & {"unwanted", "priorities"} and active.metainfo is not None:
            self._choose_files_soon(torrent)
        if "trackers" in changes:
            spawn(f"setting the trackers of {torrent.name!r}", active.set_trackers, record.trackers or [])

    def move(self, torrent: ServiceTorrent, folder: str, *, moves_files: bool = True) -> None:
        """Have the data of a torrent in another folder, in the background; a move that fails is its `problem`.

        Args:
            torrent: the torrent.
            folder: the folder.
            moves_files: move the files there; otherwise they are there already.
        """
        self._await_arrival(torrent)
        if moving.change_folder(torrent, folder, moves_files=moves_files):
            self._go_to_new_place(torrent)

    def rename(self, torrent: ServiceTorrent, path: str, name: str) -> None:
        """Give a file or folder of a torrent another name, also on the disk.

        Raises:
            LookupError: there is no such file or folder, or its metadata is not known yet.
            ValueError: that cannot be a name, or it is taken.
        """
        self._await_arrival(torrent)
        moving.change_name(torrent, path, name)
        self._go_to_new_place(torrent)

    def _await_arrival(self, torrent: ServiceTorrent) -> None:
        """Block until the last move is done: the next one begins where it has led.

        Raises:
            StorageError: it takes too long.
        """
        deadline = time.monotonic() + _ARRIVAL
        while torrent.record.moved_from is not None and not moving.is_moved(torrent):
            if time.monotonic() > deadline:
                raise StorageError(errno.EBUSY, "the data is being moved; try again later", torrent.record.folder)
            gevent.sleep(0.02)

    def _go_to_new_place(self, torrent: ServiceTorrent) -> None:
        torrent.problem = ""
        torrent.record.edited = torrent.changed_at = self.now()
        self._save(torrent)
        self._start_again(torrent)

    def reorder(self, torrents: Iterable[ServiceTorrent], how: Order) -> None:
        """Give torrents other places in the queue.

        Args:
            torrents: the torrents.
            how: a function of `geventbt.service.queue`.
        """
        self._turns.reorder(torrents, how)
        self.save()
        self._turns.update()

    def set_position(self, torrent: ServiceTorrent, position: int) -> None:
        """Give a torrent a place in the queue, from 0 on."""
        self.reorder([torrent], lambda order, chosen: queue.moved_to(order, torrent.info_hash, position))

    # ------------------------------------------------------------------ now and then

    def _run(self) -> None:
        while True:
            gevent.sleep(_TICK)
            try:
                self._tick()
            except (GeventBTError, OSError) as error:
                _log.error("the state cannot be kept: %s", clean_text(str(error)))

    def _tick(self) -> None:
        now = self.now()
        self._count(now)
        if self._settings.follow_schedule(now):
            self._note_settings()
        for torrent in self.torrents:
            if moving.is_moved(torrent):
                self._save(torrent)
            if torrent.has_reached(self.settings, now):
                _log.info("%r has reached its goal", torrent.name)
                self.stop(torrent, is_finished=True)
        self._turns.update()
        if now - self._saved_at >= _SAVE:
            self.save()

    def _count(self, now: int) -> None:
        seconds, self._counted_at = max(0, now - self._counted_at), now
        self.record.seconds += seconds
        for torrent in self._torrents.values():
            downloaded, uploaded = torrent.count(now, seconds)
            self.record.downloaded += downloaded
            self.record.uploaded += uploaded

    def save(self) -> None:
        """Keep all that has changed."""
        self._saved_at = self.now()
        records = [(info_hash, torrent.record) for info_hash, torrent in self._torrents.items()]
        self._keeper.save_all(records, self.record)

    def _save(self, torrent: ServiceTorrent) -> None:
        self._keeper.save(torrent.info_hash, torrent.record)

    def close(self) -> None:
        """Keep all, and leave the client alone. Idempotent."""
        if self._is_closed:
            return
        self._follow_client()
        self._is_closed = True
        self._turns.stop()
        self._greenlet.kill()
        self._count(self.now())
        try:
            self.save()
        finally:
            self._keeper.close()
