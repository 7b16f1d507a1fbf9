"""`Session`: the torrents of a client as a service has them: numbered, queued, and kept over restarts.

The parts of a session: `Torrents` are in the client as their records say, `Turns` lets them run in the order of the
queue, `LiveSettings` are what holds for all of them, `Rounds` looks after them now and then, and `Keeper` writes.
"""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import gevent

from geventbt.client.arguments import read_source
from geventbt.client.client import Client
from geventbt.client.status import TorrentState
from geventbt.concurrency.greenlets import spawn
from geventbt.concurrency.threads import in_thread
from geventbt.errors import StorageError
from geventbt.metainfo import Magnet, Torrent
from geventbt.service import moving, queue
from geventbt.service.adding import incomplete_folder
from geventbt.service.blocklist import Blocklist
from geventbt.service.folders import inside
from geventbt.service.groups import Groups
from geventbt.service.keeper import Keeper
from geventbt.service.record import Removal, Settings
from geventbt.service.restoring import restore
from geventbt.service.rounds import Rounds
from geventbt.service.settings import LiveSettings
from geventbt.service.store import StateStore
from geventbt.service.torrent import ServiceTorrent
from geventbt.service.torrents import Torrents
from geventbt.service.turns import Order

_ARRIVAL = 10.0
"""Seconds that a move waits for the one before it."""


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
        settings: what the configuration says; see `Settings`. What it does not name is as the client has it.
        roots: the folders that data may be in; None for the download folder alone.
        ip_filter: the file that the client's filter of IP addresses was read from; None if it has none, and then a
            blocklist may be its filter.
        now: the time, in seconds since 1970.

    Attributes:
        client: see above.
        record: what is kept of the session itself.
        groups: the groups of torrents that share rates.
        blocklist: the IP addresses that are left alone.
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
        self.started = self.now()
        self._roots = roots
        self._is_closed = False
        self.groups = Groups(client, self.record)
        self.blocklist = Blocklist(client, None if store is None else store.folder / "blocklist", ip_filter)
        self.blocklist.restore()
        self._settings = LiveSettings(client, self.record)
        self._settings.configure(settings or {})
        self._settings.follow_schedule(self.now())
        self.blocklist.set_on(self.settings.has_blocklist)
        self._torrents = Torrents(client, self._keeper, self.record, self._settings, self.groups, self.now)
        restore(self._torrents, self._keeper, self.record)
        self._rounds = Rounds(self._torrents, self._keeper, self.record, self)

    def now(self) -> int:
        """The time, in seconds since 1970."""
        return int(self._now())

    # ------------------------------------------------------------------ what there is

    @property
    def torrents(self) -> list[ServiceTorrent]:
        """All torrents, in the order in which they were added."""
        return self._torrents.torrents

    def find(self, info_hash: bytes) -> ServiceTorrent | None:
        """The torrent with an info hash, or None."""
        return self._torrents.find(info_hash)

    @property
    def removed(self) -> deque[tuple[int, int]]:
        """When torrents were removed, and their numbers; the last ones."""
        return self._torrents.removed

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
        return self._torrents.turns.is_stalled(torrent)

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
        """Change settings until the configuration says something else.

        Raises:
            OSError, ValueError: there can be no such port, and nothing is changed; see `Client.listen_on`.
        """
        self._settings.change(changes)
        self._note_settings()

    def change_group(self, name: str, changes: Mapping[str, Any]) -> None:
        """Change, or make, a group of torrents that share rates; see `GroupRecord`. Raises: see `Groups.change`."""
        self.groups.change(name, changes)
        self._keeper.save_all([], self.record)

    def follow_schedule(self) -> None:
        """Let the slow rates hold or not, as the schedule says; see `RoundsOwner`."""
        if self._settings.follow_schedule(self.now()):
            self._note_settings()

    def _note_settings(self) -> None:
        self._settings.follow_schedule(self.now())
        self.blocklist.set_on(self.settings.has_blocklist)
        for torrent in self.torrents:
            torrent.active.max_peers = torrent.record.peer_limit or self.settings.peer_limit
        self._keeper.save_all([], self.record)
        self._torrents.turns.update()

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
        record = self._torrents.new_record(whole, folder or self.settings.download_dir)
        record.incomplete_folder = incomplete_folder(whole, record.folder, self.settings)
        record.is_stopped, record.sequential = not self.settings.starts_added, self.settings.sequential
        record.change(options)
        self.record.added += 1
        self._keeper.add(whole, record, self.record)
        try:
            torrent = self._torrents.put_in(whole, record)
        except BaseException:
            self._keeper.remove(whole.swarm_hash)
            raise
        self._torrents.turns.update_soon()
        return torrent

    def remove(self, torrent: ServiceTorrent, *, delete: bool = False) -> None:
        """Remove a torrent.

        Args:
            torrent: the torrent.
            delete: delete its files, too.

        Raises:
            StorageError: its files cannot be deleted; it is removed nevertheless.
        """
        if self.find(torrent.info_hash) is not torrent:
            return
        torrent.record.removal = Removal.DELETES_FILES if delete else Removal.KEEPS_FILES
        self._save(torrent)
        self._torrents.take_out(torrent, delete=delete)

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
        torrent.note_pause()
        self._save(torrent)
        if torrent.active.state is TorrentState.FAILED:
            if torrent.from_program:
                torrent.active.resume()
            else:
                self._torrents.put_in_again(torrent)
        self._torrents.turns.update()

    def finish(self, torrent: ServiceTorrent) -> None:
        """Stop a torrent that has reached its goal; see `RoundsOwner`."""
        self.stop(torrent, is_finished=True)

    def stop(self, torrent: ServiceTorrent, *, is_finished: bool = False) -> None:
        """Stop a torrent.

        Args:
            torrent: the torrent.
            is_finished: a goal has stopped it.
        """
        record = torrent.record
        record.is_stopped, record.is_forced, record.is_finished = True, False, is_finished
        torrent.changed_at = self.now()
        torrent.note_pause()
        self._save(torrent)
        self._torrents.turns.update()

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
        active.rate_weight = record.rate_weight
        active.set_limits(down=record.rate_down, up=record.rate_up)
        active.max_peers = record.peer_limit or self.settings.peer_limit
        active.sequential = record.sequential
        if changes.keys() & {"unwanted", "priorities"} and active.metainfo is not None:
            self._torrents.choose_files_soon(torrent)
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
        self._torrents.put_in_again(torrent)

    def reorder(self, torrents: Iterable[ServiceTorrent], how: Order) -> None:
        """Give torrents other places in the queue.

        Args:
            torrents: the torrents.
            how: a function of `geventbt.service.queue`.
        """
        self._torrents.turns.reorder(torrents, how)
        self.save()
        self._torrents.turns.update()

    def set_position(self, torrent: ServiceTorrent, position: int) -> None:
        """Give a torrent a place in the queue, from 0 on."""
        self.reorder([torrent], lambda order, chosen: queue.moved_to(order, torrent.info_hash, position))

    # ------------------------------------------------------------------ what is kept

    def save(self) -> None:
        """Keep all that has changed."""
        self._rounds.save()

    def _save(self, torrent: ServiceTorrent) -> None:
        self._keeper.save(torrent.info_hash, torrent.record)

    def close(self) -> None:
        """Keep all, and leave the client alone. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self._torrents.close()
        try:
            self._rounds.stop()
        finally:
            self._keeper.close()
