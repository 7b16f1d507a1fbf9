"""Bytes that a torrent has transferred, over all of its swarms."""

from __future__ import annotations

from dataclasses import dataclass

from geventbt.client.swarm.swarm import Swarm


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What other processes do for a torrent.

    Attributes:
        uploaded: bytes of blocks sent.
        upload_speed: bytes a second.
        peers: connections.
    """

    uploaded: int = 0
    upload_speed: float = 0.0
    peers: int = 0


class Totals:
    """Bytes of blocks received and sent; a pause ends a swarm, and not the count.

    Attributes:
        swarm: the one that is running, or None.
        elsewhere: what other processes do for it, which counts as ours.
    """

    def __init__(self) -> None:
        self.swarm: Swarm | None = None
        self.elsewhere = Elsewhere()
        self._past_downloaded = self._past_uploaded = self._past_wasted = 0
        self._session_start = (0, 0)

    def end_swarm(self) -> None:
        """End the swarm; the bytes that it transferred still count."""
        if self.swarm is not None:
            self._past_downloaded = self.downloaded
            self._past_uploaded = self.uploaded - self.elsewhere.uploaded
            self._past_wasted = self.wasted
            self.swarm = None

    def start_session(self) -> None:
        """Begin a new session: announces to trackers count bytes from here on."""
        self._session_start = (self.downloaded, self.uploaded)

    @property
    def downloaded(self) -> int:
        """Bytes received."""
        return self._past_downloaded + (self.swarm.downloaded if self.swarm else 0)

    @property
    def uploaded(self) -> int:
        """Bytes sent."""
        own = self.swarm.table.uploaded if self.swarm else 0
        return self._past_uploaded + own + self.elsewhere.uploaded

    @property
    def wasted(self) -> int:
        """Bytes received twice, unrequested or wrong."""
        return self._past_wasted + (self.swarm.wasted if self.swarm else 0)

    @property
    def session_downloaded(self) -> int:
        """Bytes received in this session."""
        return self.downloaded - self._session_start[0]

    @property
    def session_uploaded(self) -> int:
        """Bytes sent in this session."""
        return self.uploaded - self._session_start[1]
