"""What can be seen of a torrent while it runs, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CHECKING, METADATA, DOWNLOADING, SEEDING, PAUSED, FAILED, REMOVED = (
    "checking",
    "metadata",
    "downloading",
    "seeding",
    "paused",
    "failed",
    "removed",
)
"""The states of a torrent."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a torrent is. Sizes are in bytes, speeds in bytes a second.

    Attributes:
        state: "checking" (what is on disk), "metadata" (fetching it for a magnet link), "downloading", "seeding",
            "paused", "failed" or "removed".
        wanted: bytes of the pieces that are wanted.
        done: bytes of those that are verified and on the disk.
        checked: pieces that have been looked at on disk, while that is being done.
        pieces: how many pieces the torrent has; 0 while it is unknown.
        downloaded, uploaded: bytes of blocks in this session.
        wasted: bytes that came twice, or were wrong.
        download_speed: verified bytes, over the last five seconds.
        upload_speed: bytes sent, over the last five seconds.
        peers: connected ones.
        seeds: those of them that have everything.
    """

    state: str
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

    @property
    def fraction(self) -> float:
        """`done` of `wanted`, from 0 to 1."""
        return self.done / self.wanted if self.wanted else float(self.state == SEEDING)

    @property
    def seconds_left(self) -> float | None:
        """Until it is done, at the present speed; None if that is not known."""
        return (self.wanted - self.done) / self.download_speed if self.download_speed else None


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """A connected peer.

    Attributes:
        address: (host, port) of its end of the connection.
        client: the program it says that it is. A stranger's text.
        outgoing: whether we connected to it.
        encryption: "plaintext" or "rc4".
        download_speed, upload_speed: from it and to it, bytes a second.
        downloaded, uploaded: from it and to it, bytes of blocks.
        pieces: how many it has.
        am_choking, am_interested, peer_choking, peer_interested: BEP 3's four states.
        snubbed: whether it leaves our requests unanswered.
        requests: how many it has been asked for and not sent.
    """

    address: tuple[str, int]
    client: str
    outgoing: bool
    encryption: str | None
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


@dataclass(frozen=True, slots=True)
class FileStatus:
    """A file of a torrent.

    Attributes:
        index: its place in the torrent.
        path: where it is, or would be.
        name: its path in the torrent, with slashes.
        length: its bytes.
        priority: 0 if it is not wanted, else 1 to 7; 4 is normal.
        complete: whether every piece of it is verified.
    """

    index: int
    path: Path
    name: str
    length: int
    priority: int
    complete: bool
