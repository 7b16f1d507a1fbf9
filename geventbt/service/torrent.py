"""`ServiceTorrent`: a torrent of a service, with what is kept of it over all runs."""

from __future__ import annotations

import logging

from gevent.lock import RLock

from geventbt.client.pieces.picker import NORMAL
from geventbt.client.status import TorrentState
from geventbt.client.torrent.active_torrent import ActiveTorrent
from geventbt.client.torrent.file_map import FileRef
from geventbt.errors import GeventBTError
from geventbt.metainfo import Magnet, Torrent
from geventbt.net.text import clean_text
from geventbt.service.record import Goal, Settings, TorrentRecord

_log = logging.getLogger("geventbt")


class ServiceTorrent:
    """A torrent of a `Session`, which alone changes it.

    Args:
        source: the torrent or magnet link, with the names that it gives its files.
        record: what is kept of it.
        active: it, in the client.
        from_program: the program itself has added it, with options that the record does not have.

    Attributes:
        source, record, active, from_program: see above; after a move `active` is another one, that of the session.
        moves_data: whether `active` is the one that moves the data from where the record says that it was.
        runs: whether it is to run now, and not to be paused.
        switching: held while it is paused or resumed, moved or removed.
        changed_at: when anything was changed last, in seconds since 1970.
        problem: what could not be done, in words; "" if nothing.
    """

    def __init__(
        self, source: Torrent | Magnet, record: TorrentRecord, active: ActiveTorrent, *, from_program: bool = False
    ) -> None:
        self.source = source
        self.record = record
        self.active = active
        self.from_program = from_program
        self.moves_data = record.moved_from is not None
        self.runs = True
        self.switching = RLock()
        self.changed_at = 0
        self.problem = ""
        self._counted = (0, 0)

    @property
    def info_hash(self) -> bytes:
        """Its 20 bytes."""
        return self.source.swarm_hash

    @property
    def name(self) -> str:
        """What its file or folder is called."""
        return self.active.name

    @property
    def is_complete(self) -> bool:
        """Whether all that is wanted is there, as far as that is known."""
        if self.active.state is TorrentState.CHECKING:
            return bool(self.record.completed)
        return self.active.done and self.active.error is None

    @property
    def size(self) -> int:
        """The bytes of its wanted pieces; 0 while they are unknown."""
        return self.active.progress.wanted

    def note_pause(self) -> None:
        """Take note of a pause that the program itself has made, or ended."""
        state = self.active.state
        if state is TorrentState.PAUSED:
            self.runs = False
        elif state in (TorrentState.METADATA, TorrentState.DOWNLOADING, TorrentState.SEEDING):
            self.runs = True

    @property
    def downloaded(self) -> int:
        """Bytes received in all runs."""
        return self.record.downloaded + self.active.downloaded - self._counted[0]

    @property
    def uploaded(self) -> int:
        """Bytes sent in all runs."""
        return self.record.uploaded + self.active.uploaded - self._counted[1]

    def count(self, now: int, seconds: int) -> tuple[int, int]:
        """Add what it has transferred since the last call to its record.

        Args:
            now: the time, in seconds since 1970.
            seconds: since the last call.

        Returns:
            Bytes received and sent since then.
        """
        record, active = self.record, self.active
        downloaded, uploaded = active.downloaded - self._counted[0], active.uploaded - self._counted[1]
        self._counted = active.downloaded, active.uploaded
        if downloaded or uploaded:
            record.downloaded += downloaded
            record.uploaded += uploaded
            record.active = self.changed_at = now
        if active.state is TorrentState.DOWNLOADING:
            record.seconds_downloading += seconds
        elif active.state is TorrentState.SEEDING:
            record.seconds_seeding += seconds
        return downloaded, uploaded

    def replace(self, active: ActiveTorrent) -> None:
        """Go on with another one in the client, which has transferred nothing yet."""
        self.active, self._counted, self.from_program = active, (0, 0), False
        self.moves_data = self.record.moved_from is not None

    def ratio_goal(self, settings: Settings) -> float | None:
        """The ratio that ends its seeding, or None."""
        if self.record.ratio_goal == Goal.COMMON:
            return settings.ratio if settings.has_ratio else None
        return self.record.ratio if self.record.ratio_goal == Goal.OWN else None

    def idle_goal(self, settings: Settings) -> int | None:
        """The seconds without a byte sent that end its seeding, or None."""
        if self.record.idle_goal == Goal.COMMON:
            return settings.idle * 60 if settings.has_idle else None
        return self.record.idle * 60 if self.record.idle_goal == Goal.OWN else None

    def has_reached(self, settings: Settings, now: int) -> bool:
        """Whether a goal ends its seeding now."""
        if self.active.state is not TorrentState.SEEDING:
            return False
        ratio, idle = self.ratio_goal(settings), self.idle_goal(settings)
        if ratio is not None and self.size and self.uploaded >= ratio * self.size:
            return True
        return idle is not None and now - max(self.record.active, self.record.started, self.record.completed) >= idle

    @property
    def priorities(self) -> dict[FileRef, int]:
        """The priority of each file for the client."""
        metainfo, unwanted = self.active.metainfo, set(self.record.unwanted)
        count = len(metainfo.files) if metainfo is not None else 0
        kept = self.record.priorities
        return {index: 0 if index in unwanted else kept.get(str(index), NORMAL) for index in range(count)}

    def choose_files(self) -> None:
        """Have the client fetch what the record says. Blocks until the files are known."""
        try:
            self.active.set_priorities(self.priorities)
        except (GeventBTError, LookupError, ValueError) as error:
            _log.warning("%r: files cannot be chosen: %s", self.name, clean_text(str(error)))

    def verify(self) -> None:
        """Hash all data again; blocks until that is done."""
        try:
            self.active.check()
        except GeventBTError as error:
            _log.warning("%r cannot be checked: %s", self.name, clean_text(str(error)))
