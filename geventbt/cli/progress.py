"""The progress of a torrent in words: the lines that all views consist of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventbt.cli.flags import flags_of
from geventbt.cli.text import counted, human_address, human_ratio, human_size, human_time, printable

if TYPE_CHECKING:
    import geventbt


def tracker_errors(torrent: geventbt.ActiveTorrent) -> dict[str, str]:
    """The errors of the trackers that do not answer, by URL."""
    return {url: tracker.error for url, tracker in torrent.trackers.items() if tracker.error}


def tracker_lines(torrent: geventbt.ActiveTorrent) -> list[str]:
    """One line about each tracker that does not answer."""
    return [f"  {printable(url)}: {printable(error)}" for url, error in tracker_errors(torrent).items()]


def status(progress: geventbt.Progress, trouble: str = "") -> str:
    """Bytes, speed, time left and peers.

    Args:
        progress: of a torrent.
        trouble: a possible reason for having no peers.
    """
    trouble = f" ({trouble})" if trouble else ""
    peers = counted(progress.peers, "peer")
    if progress.state == "checking":
        return f"checking {progress.checked} of {progress.pieces} pieces" if progress.pieces else "checking"
    if progress.state == "metadata":
        return f"fetching the metadata{trouble}"
    if progress.state == "seeding":
        ratio = human_ratio(progress.uploaded / progress.done) if progress.done else "-"
        speed = human_size(progress.upload_speed)
        sent = f"{human_size(progress.uploaded)} sent at {speed}/s"
        return f"{human_size(progress.done)} complete; {sent}, ratio {ratio}, {peers}"
    if not progress.peers and progress.done < progress.wanted:
        return f"{human_size(progress.done)} of {human_size(progress.wanted)}, looking for peers{trouble}"
    left = progress.seconds_left
    return (
        f"{human_size(progress.done)} of {human_size(progress.wanted)}, {human_size(progress.download_speed)}/s"
        f"{f', {human_time(left)} left' if left else ''}, {peers}"
    )


def describe(torrent: geventbt.ActiveTorrent) -> str:
    """One line about a torrent."""
    return f"{printable(torrent.name)}: {status_of(torrent)}"


def status_of(torrent: geventbt.ActiveTorrent) -> str:
    """The status of a torrent, with the error of a tracker if there are no peers."""
    return status(torrent.progress, next((f"tracker {line.strip()}" for line in tracker_lines(torrent)), ""))


def peer_line(peer: geventbt.PeerStatus) -> str:
    """One line about a peer."""
    down, up = human_size(peer.download_speed), human_size(peer.upload_speed)
    client = printable(peer.client)[:30]
    return f"  {human_address(peer.address)} {client} {flags_of(peer)} down {down}/s up {up}/s, {peer.pieces} pieces"
