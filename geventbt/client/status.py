"""Snapshots of the state of a torrent, of its peers and of its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Literal


class TorrentState(str, Enum):
    """The state of a torrent; each is equal to its name as a string. The transitions::

        METADATA ──> CHECKING <──> DOWNLOADING <──> SEEDING
            CHECKING <── SEEDING
            any of them ──> FAILED ──> CHECKING
            any of them ──> REMOVED

    A magnet link begins with METADATA, a .torrent file with CHECKING. While a torrent is paused, PAUSED is shown in
    place of METADATA, DOWNLOADING or SEEDING. A torrent that the disk has FAILED goes on serving what it has, and may
    go on: by itself where the fault may pass, by `ActiveTorrent.resume` or `ActiveTorrent.check`. After every other
    failure FAILED is final, as REMOVED is.
    """

    METADATA = "metadata"
    CHECKING = "checking"
    DOWNLOADING = "downloading"
    SEEDING = "seeding"
    PAUSED = "paused"
    FAILED = "failed"
    REMOVED = "removed"

    def __str__(self) -> str:
        return self.value

    def may_become(self, state: TorrentState) -> bool:
        """Whether there is a transition to another state."""
        return state in _TRANSITIONS.get(self, ())


_ENDS = (TorrentState.FAILED, TorrentState.REMOVED)
_TRANSITIONS = {
    TorrentState.METADATA: (TorrentState.CHECKING, *_ENDS),
    TorrentState.CHECKING: (TorrentState.DOWNLOADING, *_ENDS),
    TorrentState.DOWNLOADING: (TorrentState.SEEDING, TorrentState.CHECKING, *_ENDS),
    TorrentState.SEEDING: (TorrentState.DOWNLOADING, TorrentState.CHECKING, *_ENDS),
    TorrentState.FAILED: (TorrentState.CHECKING, TorrentState.REMOVED),
}


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a torrent. Sizes are in bytes, speeds in bytes a second.

    Attributes:
        state: see `TorrentState`.
        wanted: bytes of the wanted pieces.
        done: bytes of those that are verified and on disk.
        checked: pieces that have been checked on disk, while the state is CHECKING.
        pieces: the number of pieces of the torrent; 0 while it is unknown.
        downloaded: bytes of blocks received in this session.
        uploaded: likewise sent.
        wasted: bytes received twice, unrequested or wrong.
        download_speed: verified bytes, over the last five seconds.
        upload_speed: bytes sent, over the last five seconds.
        peers: the number of connected peers.
        seeds: the number of those that have every piece.
        waiting_for: what it waits for, in words, once nothing has come for a minute; None while it moves. Untrusted
            text, printable and bounded.
    """

    state: TorrentState
    wanted: int = 0
    done: int = 0
    checked: int = 0
    pieces: int = 0
    downloaded: int = 0
    uploaded: int = 0
    wasted: int = 0
    download_speed: float = 0.0
    upload_speed: float = 0.0
    peers: int = 0
    seeds: int = 0
    waiting_for: str | None = None

    @property
    def fraction(self) -> float:
        """`done` as a fraction of `wanted`, from 0 to 1."""
        return self.done / self.wanted if self.wanted else float(self.state == TorrentState.SEEDING)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until it is done, at the present speed; None without a speed."""
        return (self.wanted - self.done) / self.download_speed if self.download_speed else None


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """A connected peer.

    Attributes:
        address: (host, port) of its end of the connection.
        client: the name and version of its program, as it announces them. Untrusted text.
        outgoing: whether we connected to it.
        encryption: "plaintext" or "rc4".
        transport: "tcp" or "utp".
        peer_id: its 20 bytes, of which others may have the same.
        download_speed, upload_speed: from it and to it, bytes a second.
        downloaded: bytes of blocks from it.
        uploaded: bytes of blocks to it.
        pieces: the number of pieces that it has.
        am_choking, am_interested, peer_choking, peer_interested: BEP 3's four states.
        snubbed: whether it leaves our requests unanswered.
        requests: blocks that were requested from it and have not arrived.
        sources: what has named its address: "user", "lsd", "inbound" (itself), "tracker", "dht", "pex", "holepunch" (a
            peer that has arranged the connection, BEP 55); empty for one that has connected to us and says not where it
            listens.
    """

    address: tuple[str, int]
    client: str
    outgoing: bool
    encryption: Literal["plaintext", "rc4"] | None
    download_speed: float
    upload_speed: float
    downloaded: int
    uploaded: int
    pieces: int
    am_choking: bool
    am_interested: bool
    peer_choking: bool
    peer_interested: bool
    snubbed: bool
    requests: int
    sources: tuple[str, ...] = ()
    transport: str = "tcp"
    peer_id: bytes = b""


@dataclass(frozen=True, slots=True)
class FileStatus:
    """A file of a torrent.

    Attributes:
        index: its position in the torrent.
        path: its path on disk, whether it exists or not.
        name: its path in the torrent, with slashes.
        length: its length in bytes.
        priority: 0 if it is not wanted, else 1 to 7; 4 is normal.
        complete: whether every piece of it is verified.
        done: its bytes that are in verified pieces.
    """

    index: int
    _path: str = field(repr=False)
    name: str
    length: int
    priority: int
    complete: bool
    done: int = 0

    @property
    def path(self) -> Path:
        """Made when it is asked for: there may be hundreds of thousands of files."""
        return Path(self._path)


class WebSeedState(str, Enum):
    """The state of a web seed; each is equal to its name as a string.

    IDLE is not needed at present, DOWNLOADING is being fetched from, WAITING has failed and is asked again at
    `WebSeedStatus.next_try`, OFF is not used any more.
    """

    IDLE = "idle"
    DOWNLOADING = "downloading"
    WAITING = "waiting"
    OFF = "off"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class WebSeedStatus:
    """A web seed of a torrent (BEP 17, 19).

    Attributes:
        url: where it is, without a login.
        state: see `WebSeedState`.
        downloaded: bytes that it sent.
        download_speed: bytes a second, over the last five seconds.
        connections: to it, now.
        wrong_pieces: pieces of it that failed their hash.
        next_try: seconds until it is asked again, where the state is WAITING; else None.
        error: why it is off, or what failed last, or None. Untrusted text, safe to print.
    """

    url: str
    state: WebSeedState
    downloaded: int
    download_speed: float
    connections: int
    wrong_pieces: int
    next_try: float | None
    error: str | None
