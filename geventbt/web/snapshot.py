"""Torrents as plain values for JSON: a row of the list, and the details of one. All untrusted text in them is printable
and bounded."""

from __future__ import annotations

import math
import os
import shutil
from itertools import pairwise
from time import monotonic
from typing import Any, TypeAlias

from bitarray import bitarray

from geventbt import limits
from geventbt.client.torrent.active_torrent import ActiveTorrent
from geventbt.concurrency.threads import in_thread
from geventbt.metainfo import Magnet
from geventbt.net.addresses import address_text
from geventbt.net.text import clean_text, without_path
from geventbt.web.media import is_played
from geventbt.web.streaming import stream_path

Row: TypeAlias = dict[str, Any]

_CELLS = 480
"""Cells of a piece map: as many as can be told apart."""


def row_of(torrent: ActiveTorrent, note: str | None = None) -> Row:
    """What the list shows of a torrent. Sizes in bytes, speeds in bytes a second, `eta` in seconds or None.

    Args:
        torrent: the torrent.
        note: what the user is to know beside its own state.
    """
    progress = torrent.progress
    metainfo, error, left = torrent.metainfo, torrent.error, progress.seconds_left
    is_checking = progress.state == "checking"
    return {
        "name": clean_text(torrent.name),
        "state": str(progress.state),
        "error": None if error is None else clean_text(str(error)),
        "waiting": clean_text(note) if note else progress.waiting_for,
        "size": metainfo.geometry.size if metainfo else None,
        "wanted": progress.wanted,
        "done": progress.done,
        "fraction": round(_fraction(progress.checked, progress.pieces) if is_checking else progress.fraction, 4),
        "down": rounded(progress.download_speed),
        "up": rounded(progress.upload_speed),
        "sent": progress.uploaded,
        "peers": progress.peers,
        "seeds": progress.seeds,
        "eta": None if left is None or progress.wanted <= progress.done else rounded(left),
    }


def details_of(torrent: ActiveTorrent) -> dict[str, Any]:
    """What the pane of one torrent shows."""
    metainfo, have = torrent.metainfo, torrent.pieces
    return {
        "hash": torrent.info_hash.hex(),
        "name": clean_text(torrent.name),
        "folder": clean_text(os.fspath(torrent.folder)),
        "magnet": None if metainfo is None else str(Magnet.from_torrent(metainfo)),
        "pieces": len(have),
        "piece_length": metainfo.geometry.piece_length if metainfo else None,
        "map": piece_map(have),
        "files": _files(torrent, have),
        "file_count": sum(file.stored for file in metainfo.files) if metainfo else 0,
        "peers": _peers(torrent),
        "trackers": _trackers(torrent),
    }


def free_space(folder: str | os.PathLike[str]) -> int | None:
    """Bytes that are free where a folder is; None where that is unknown."""
    try:
        # In a thread: the folder may be on a network drive that does not answer.
        return int(in_thread(shutil.disk_usage, folder).free)
    except OSError:
        return None


def rounded(value: float) -> int:
    """A value to three digits, so that what is displayed changes less often."""
    if value < 1000:
        return round(value)
    step = 10 ** (int(math.log10(value)) - 2)
    return int(value // step * step)


def piece_map(have: bitarray) -> str:
    """How much of each part of a torrent is there: a digit for each, from 0 for nothing to 9 for all of it."""
    count = len(have)
    cells = min(count, _CELLS)
    bounds = [count * cell // cells for cell in range(cells + 1)] if cells else []
    return "".join(str(9 * have.count(1, start, stop) // (stop - start)) for start, stop in pairwise(bounds))


def _fraction(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _files(torrent: ActiveTorrent, have: bitarray) -> list[dict[str, Any]]:
    metainfo = torrent.metainfo
    if metainfo is None:
        return []
    return [
        {
            "index": file.index,
            "name": clean_text(file.name),
            "length": file.length,
            "priority": file.priority,
            "fraction": 1.0 if file.complete else _file_fraction(torrent, file.index, have),
            "path": stream_path(torrent.info_hash, file.index, file.name),
            "played": is_played(file.name),
        }
        for file in torrent.files[: limits.WEB_FILES]
    ]


def _file_fraction(torrent: ActiveTorrent, index: int, have: bitarray) -> float:
    assert torrent.metainfo is not None
    file = torrent.metainfo.files[index]
    pieces = torrent.metainfo.geometry.pieces_of(file.offset, file.length)
    return round(_fraction(have.count(1, pieces.start, pieces.stop), len(pieces)), 3)


def _peers(torrent: ActiveTorrent) -> list[dict[str, Any]]:
    found = sorted(torrent.peers, key=lambda peer: peer.download_speed + peer.upload_speed, reverse=True)
    return [
        {
            "address": address_text(peer.address),
            "client": clean_text(peer.client),
            "fraction": round(_fraction(peer.pieces, len(torrent.pieces)), 3),
            "down": rounded(peer.download_speed),
            "up": rounded(peer.upload_speed),
            "encrypted": peer.encryption == "rc4",
            "incoming": not peer.outgoing,
        }
        for peer in found[: limits.WEB_PEERS]
    ]


def _trackers(torrent: ActiveTorrent) -> list[dict[str, Any]]:
    now = monotonic()
    return [
        {
            "url": without_path(url),
            "error": status.error,
            "warning": status.warning,
            "seeders": status.seeders,
            "leechers": status.leechers,
            "peers": status.peers,
            "next": None
            if status.next_announce is None or math.isinf(status.next_announce)
            else max(0, round(status.next_announce - now)),
        }
        for url, status in torrent.trackers.items()
    ]
