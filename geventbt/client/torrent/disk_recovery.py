"""Recovery from faults of the disk: what they have cost, when the torrent stops for them, and when it goes on."""

from __future__ import annotations

import logging
import math

from geventbt.client.status import TorrentState
from geventbt.client.torrent.context import TorrentContext
from geventbt.client.torrent.data import TorrentData
from geventbt.client.torrent.disk_faults import DiskFaults
from geventbt.client.torrent.peering import Peering
from geventbt.concurrency import descriptors
from geventbt.errors import StorageError
from geventbt.storage import ChangedData, MissingData

_log = logging.getLogger("geventbt")

_LOOK = 1.0
"""Seconds between two looks at the time of the next try."""


class DiskRecovery:
    """Faults of the disk of one torrent, and its data hashed again.

    A fault costs the pieces that it touches. Only one that has to stop the download suspends the torrent: nothing is
    fetched then, what is there is still served, and it goes on after a while where the fault may pass, or when the user
    asks for it.

    Args:
        context: the torrent.
        data: its data.
        peering: its peers.

    Attributes:
        stopped_by: the fault that has suspended the torrent; None while it is not.
    """

    def __init__(self, context: TorrentContext, data: TorrentData, peering: Peering) -> None:
        self._now = context.client.now
        self._identity = context.identity
        self._life = context.life
        self._events = context.events
        self._seed_only = context.options.seed_only
        self._data = data
        self._peering = peering
        self._faults = DiskFaults()
        self.stopped_by: StorageError | None = None
        self._is_resumed = False
        self._is_check_due = False

    # ------------------------------------------------------------------ requests, from any greenlet

    def note_error(self, error: StorageError) -> None:
        """A piece could not be written: deal with it soon."""
        self._faults.note(error)
        self._life.notify()

    def note_read_error(self, error: StorageError) -> None:
        """A piece could not be read: deal with it soon. A lack of descriptors passes by itself."""
        if not descriptors.is_shortage(error):
            self._faults.note(error if isinstance(error, (ChangedData, MissingData)) else _Unreadable(error))
            self._life.notify()

    def note_written(self) -> None:
        """A piece was written: the disk works, unless another thread wrote it while a write failed."""
        if not self._life.is_suspended:
            self._faults.over()

    def resume(self) -> None:
        """Try again now, if a fault has stopped the torrent."""
        self._is_resumed = self._life.is_suspended

    def check(self) -> None:
        """Block until all data has been hashed again; see `ActiveTorrent.check`."""
        self._is_check_due = True
        self._life.notify()
        while self._is_check_due and not self._life.is_over:
            self._life.changes.wait()

    # ------------------------------------------------------------------ on the torrent's greenlet

    @property
    def next_try(self) -> float | None:
        """Seconds until the next try of a suspended torrent; None if it waits for the user."""
        left = self._faults.retry_at - self._now()
        return None if math.isinf(left) else max(0.0, left)

    def look(self) -> None:
        """Deal with what is due: a check, a fault, or another try.

        Raises:
            StorageError: a fault has to stop the download.
        """
        if self._is_check_due:
            self._check_all()
        fault = self._faults.take()
        if fault is not None:
            self.look_for_lost(fault)
        elif self._now() >= self._faults.retry_at:
            # Only a torrent that only seeds is not stopped by a fault.
            self._faults.resume()
            self._find_lost()

    def look_for_lost(self, fault: Exception) -> None:
        """Find out what a fault of the disk has cost.

        Raises:
            StorageError: it has to stop the download: a piece that is wanted is gone, or cannot be written.
        """
        self._find_lost()
        _, files = self._data.opened
        gone = self._data.gone
        is_read = isinstance(fault, (ChangedData, MissingData, _Unreadable))
        if self._seed_only:
            if gone.any():
                _log.warning("%r: pieces that are gone: %d: %s", self._identity.name, gone.count(), fault)
                self._faults.suspend(fault, self._now())
        elif not is_read or (gone & files.wanted).any():
            raise fault.error if isinstance(fault, _Unreadable) else fault
        else:
            self._peering.fetch(True)

    def suspend(self, error: StorageError) -> None:
        """Stop for a fault of the disk: nothing is fetched, and what is there is still served."""
        self._faults.suspend(error, self._now())
        self.stopped_by = error
        self._life.is_suspended = True
        self._peering.fetch(False)
        if descriptors.is_shortage(error):
            # It is over as soon as a peer leaves: no failure.
            _log.warning("%r: waits for a descriptor: %s", self._identity.name, error)
        elif self._life.fail(error):
            self._events.send("error", error=error)

    def wait_for_retry(self) -> None:
        """Block until it is time to try again, or the user asks for it."""
        while not (self._is_check_due or self._is_resumed or self._now() >= self._faults.retry_at):
            self._life.wait_for_news(_LOOK)
            if self._faults.take() is not None and self._data.files is not None:
                self._find_lost()
        self._is_resumed = False
        self._faults.resume()
        self.stopped_by = None
        self._life.recover()

    def reopen(self) -> None:
        """Go on after a fault of the disk: make what is missing, and fetch again.

        Raises:
            StorageError: that cannot be done yet.
        """
        if self._is_check_due:
            self._check_all()
            return
        with self._data.lock:
            self._find_lost()
            try:
                self._data.prepare()
            except (MissingData, ChangedData):
                # All that is lost is found at once: it is fetched again.
                self._find_lost()
                self._data.prepare()
        if self._life.phase is TorrentState.CHECKING:
            self._life.enter(TorrentState.DOWNLOADING)
        self._peering.fetch(True)

    def _find_lost(self) -> None:
        self._data.find_lost(self._peering.swarm)
        self._life.notify()

    def _check_all(self) -> None:
        """Hash all data, without peers meanwhile."""
        life = self._life
        try:
            with self._data.lock:
                if life.phase is not TorrentState.CHECKING:
                    life.enter(TorrentState.CHECKING)
                self._peering.leave()
                self._data.check_again()
                life.enter(TorrentState.DOWNLOADING)
        finally:
            self._is_check_due = False
            life.notify()
        self._peering.join()


class _Unreadable(StorageError):
    """A piece cannot be read.

    Args:
        error: why.
    """

    def __init__(self, error: StorageError) -> None:
        super().__init__(*error.args)
        self.errno, self.filename = error.errno, error.filename
        self.error = error
