"""`TorrentView`: what is known of one torrent, found once for all fields of a request."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

from geventbt.client.pieces.picker import NORMAL
from geventbt.client.status import PeerStatus, Progress, TorrentState
from geventbt.concurrency.turns import in_turns
from geventbt.metainfo import Magnet, Torrent
from geventbt.net.text import clean_text
from geventbt.service.record import TorrentRecord
from geventbt.service.session import Session
from geventbt.service.torrent import ServiceTorrent

STOPPED, CHECKING, WAITS_TO_DOWNLOAD, DOWNLOADING, WAITS_TO_SEED, SEEDING = 0, 2, 3, 4, 5, 6
"""The states of a torrent; 1, waiting to be checked, is shown as being checked."""
NO_ERROR, TRACKER_ERROR, LOCAL_ERROR = 0, 2, 3
NOT_APPLICABLE, UNKNOWN = -1, -2
"""Of times."""
LOW, HIGH = 1, 7
"""The client's priorities that stand for -1 and 1 of the protocol; the normal one is 0."""


class TorrentView:
    """A torrent of a session at one moment.

    Args:
        session: the session.
        torrent: the torrent.
    """

    def __init__(self, session: Session, torrent: ServiceTorrent) -> None:
        self.session = session
        self.torrent = torrent
        self.active = torrent.active
        self.record: TorrentRecord = torrent.record

    @cached_property
    def metainfo(self) -> Torrent | None:
        """The torrent; None while only its link is known."""
        return self.active.metainfo

    @cached_property
    def progress(self) -> Progress:
        """How far it is."""
        return self.active.progress

    @cached_property
    def peers(self) -> list[PeerStatus]:
        """The connected peers."""
        return self.active.peers

    # ------------------------------------------------------------------ sizes

    @property
    def total_size(self) -> int:
        """The bytes of all files; 0 while they are unknown, which some clients ask before anything else."""
        return self.metainfo.geometry.size if self.metainfo else 0

    @property
    def wanted(self) -> int:
        """The bytes of all that is wanted."""
        return self.progress.wanted or (self.total_size if self.progress.state is TorrentState.CHECKING else 0)

    @property
    def done(self) -> int:
        """The bytes of it that are verified."""
        return self.progress.done

    @property
    def have(self) -> int:
        """All bytes that are verified."""
        return self.active.storage.verified_bytes if self.active.storage else 0

    @property
    def availability(self) -> list[int]:
        """For each piece how many peers have it; -1 where it is here."""
        counts = self.active.availability
        both = in_turns(zip(self.active.pieces, counts, strict=False))
        return [-1 if here else count for here, count in both]

    @property
    def desired_available(self) -> int:
        """The bytes that are wanted, missing, and to be had from peers."""
        missing = self.wanted - self.done
        if not missing or self.metainfo is None or any(peer.pieces == self.progress.pieces for peer in self.peers):
            return missing if self.peers else 0
        geometry = self.metainfo.geometry
        counts = in_turns(enumerate(self.availability))
        available = sum(geometry.piece_size(piece) for piece, count in counts if count > 0)
        return min(missing, available)

    # ------------------------------------------------------------------ state

    @cached_property
    def status(self) -> int:
        """Its state as a number of the protocol."""
        state = self.active.state
        if state is TorrentState.CHECKING:
            return CHECKING
        # What is paused although it is to run has the program itself paused.
        is_paused = state is TorrentState.PAUSED and self.torrent.runs
        if self.record.is_stopped or is_paused or state is TorrentState.FAILED:
            return STOPPED
        if self.torrent.is_complete:
            return SEEDING if self.torrent.runs else WAITS_TO_SEED
        return DOWNLOADING if self.torrent.runs else WAITS_TO_DOWNLOAD

    @cached_property
    def error(self) -> tuple[int, str]:
        """The kind of its error, and its text: no text without an error, or clients warn."""
        if self.active.error is not None:
            return LOCAL_ERROR, clean_text(str(self.active.error))
        if self.torrent.problem:
            return LOCAL_ERROR, self.torrent.problem
        errors = [tracker.error for tracker in self.active.trackers.values()]
        if errors and all(errors) and not self.progress.peers and self.status in (DOWNLOADING, SEEDING):
            return TRACKER_ERROR, errors[0] or ""
        return NO_ERROR, ""

    @property
    def is_stalled(self) -> bool:
        """Whether it runs, and nothing moves."""
        is_running = self.status in (DOWNLOADING, SEEDING)
        return is_running and self.session.is_stalled(self.torrent)

    @property
    def recheck_progress(self) -> float:
        """The fraction of the pieces that have been checked."""
        if self.status != CHECKING or not self.progress.pieces:
            return 0
        return self.progress.checked / self.progress.pieces

    @property
    def eta(self) -> int:
        """Seconds until it is complete, or has seeded enough."""
        if self.status == DOWNLOADING:
            left = self.progress.seconds_left
            return UNKNOWN if left is None else int(left)
        goal = self.torrent.ratio_goal(self.session.settings)
        if self.status == SEEDING and goal is not None and self.progress.upload_speed:
            return int(max(0, goal * self.wanted - self.torrent.uploaded) / self.progress.upload_speed)
        return NOT_APPLICABLE

    @property
    def eta_idle(self) -> int:
        """Seconds until it has been idle for long enough."""
        goal = self.torrent.idle_goal(self.session.settings)
        if self.status != SEEDING or goal is None:
            return NOT_APPLICABLE
        return max(0, goal - (self.session.now() - max(self.record.active, self.record.started)))

    @property
    def upload_ratio(self) -> float:
        """Bytes sent by the bytes of its size."""
        if not self.wanted:
            return NOT_APPLICABLE
        return self.torrent.uploaded / self.wanted

    @property
    def peer_limit(self) -> int:
        """Connections at one time."""
        return self.record.peer_limit or self.session.settings.peer_limit

    # ------------------------------------------------------------------ where it is

    @property
    def magnet_link(self) -> str:
        """A link to it."""
        source = self.active.metainfo or self.torrent.source
        return str(source if isinstance(source, Magnet) else Magnet.from_torrent(source))

    @property
    def torrent_file(self) -> str:
        """The path of its .torrent file."""
        return self.session.torrent_path(self.torrent)

    @property
    def mime_type(self) -> str:
        """The kind of its largest file."""
        if self.metainfo is None:
            return ""
        # Only now: its tables take half a MiB.
        import mimetypes

        largest = max(self.metainfo.files, key=lambda file: file.length)
        return mimetypes.guess_type(os.path.basename(largest.path[-1]))[0] or "application/octet-stream"

    # ------------------------------------------------------------------ files

    @cached_property
    def stored(self) -> list[int]:
        """The indices of its files; clients count them from 0 on without padding."""
        files = self.metainfo.files if self.metainfo else ()
        return [index for index, file in in_turns(enumerate(files)) if file.stored]

    @cached_property
    def _done_of(self) -> dict[int, int]:
        return {file.index: file.done for file in in_turns(self.active.files)}

    def is_wanted(self, index: int) -> bool:
        """Whether a file is wanted, by its index in the torrent."""
        return index not in self._unwanted

    @cached_property
    def _unwanted(self) -> set[int]:
        return set(self.record.unwanted)

    def priority_of(self, index: int) -> int:
        """The priority of a file, wanted or not: -1, 0 or 1."""
        priority = self.record.priorities.get(str(index), NORMAL)
        return (priority > NORMAL) - (priority < NORMAL)

    @property
    def files(self) -> list[dict[str, Any]]:
        """What each file is."""
        if self.metainfo is None:
            return []
        geometry = self.metainfo.geometry
        found = []
        for index in in_turns(self.stored):
            file = self.metainfo.files[index]
            pieces = geometry.pieces_of(file.offset, file.length)
            found.append(
                {
                    "name": "/".join(file.path),
                    "length": file.length,
                    "bytes_completed": self._done_of.get(index, 0),
                    "begin_piece": pieces.start,
                    "end_piece": pieces.stop,
                }
            )
        return found

    @property
    def file_stats(self) -> list[dict[str, Any]]:
        """What changes of each file."""
        return [
            {
                "bytes_completed": self._done_of.get(index, 0),
                "wanted": self.is_wanted(index),
                "priority": self.priority_of(index),
            }
            for index in in_turns(self.stored)
        ]
