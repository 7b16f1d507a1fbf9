"""``--json``: one JSON object a line on standard output. Sizes are bytes, times seconds, speeds bytes a second.

Each object has ``event``, which says what else is in it. Programs may rely on what is listed here; more keys and events
may be added, so unknown ones must be ignored.

=============  ========================================================================================================
event          keys
=============  ========================================================================================================
torrent        info_hash (hex; of version 2 its first 20 bytes), version ("1", "2" or "hybrid"), info_hash_v2 (if any),
               name, length, piece_length, pieces, private, trackers (tiers of URLs), web_seeds, comment, created_by,
               creation_date, magnet, files (index, path, length, selected); where only a link is known: info_hash,
               info_hash_v2 (if any), name, length, trackers, magnet
listening      host, port: where peers can connect to us
progress       info_hash, state, wanted, done, checked, pieces, downloaded, uploaded, wasted, download_speed,
               upload_speed, peers, seeds, seconds_left and waiting_for (or null), tracker_errors (why, by the URL of
               each that does not answer), sources (what names peers: its name, a tracker's URL, dht, lsd or pex; peers,
               error, and the seconds asked_ago and next_in, each null where there is none; of the DHT also nodes, and
               stored, the nodes that took our announce), web_seeds (url, state, downloaded, download_speed,
               connections, wrong_pieces, next_try, error; see `geventbt.WebSeedStatus`), error and retry_in (why the
               disk has failed it, and the seconds until the next try, or null), once a second and at the end; see
               `geventbt.Progress`; with -v also connections (address, client, flags, download_speed, upload_speed,
               downloaded, uploaded, pieces, sources)
file           info_hash, index, path: a file is complete
stream         info_hash, index, path, url: where `geventbt stream` serves a file
done           info_hash, name, done, downloaded, uploaded, sources, seconds: the download is complete
on_complete    info_hash, code: the command of --on-complete has ended, with this exit code
seeded         info_hash, uploaded, ratio, seconds: the serving is over
created        info_hash, version, info_hash_v2 (if any), name, length, piece_length, pieces, output, magnet
checked        index, path, good, pieces, excess: a file, and how many of its pieces are good; good is null where it is
               missing; excess is the bytes that it is too long
verified       info_hash, name, good, pieces, complete: the result for the whole torrent
peer           what `geventbt peer` shows of a peer that shook hands
interrupted    done, wanted: by Ctrl-C, SIGTERM or SIGHUP; null where they are not known
error          code (the exit code), message; where there are several torrents also the info_hash
=============  ========================================================================================================
"""

from __future__ import annotations

import math
import sys
from time import monotonic
from typing import Any

import geventbt
from geventbt.cli.flags import flags_of
from geventbt.cli.text import human_address


def emit(event: str, **fields: Any) -> None:
    """Write one object. Characters beyond ASCII are escaped, so that nothing in it controls a terminal."""
    import json

    print(json.dumps({"event": event, **fields}), flush=True)


def emit_last(event: str, **fields: Any) -> None:
    """Write the last object of a command. If that fails, such as on a full disk, nothing more is written."""
    try:
        emit(event, **fields)
    except OSError:
        forget_output()


def forget_output() -> None:
    """Give up standard output, which the interpreter would otherwise flush at its end, with an error."""
    sys.stdout = None


def progress_fields(progress: geventbt.Progress) -> dict[str, Any]:
    """The fields of the event ``progress``."""
    left = progress.seconds_left
    return {
        "state": progress.state,
        "wanted": progress.wanted,
        "done": progress.done,
        "checked": progress.checked,
        "pieces": progress.pieces,
        "downloaded": progress.downloaded,
        "uploaded": progress.uploaded,
        "wasted": progress.wasted,
        "download_speed": round(progress.download_speed),
        "upload_speed": round(progress.upload_speed),
        "peers": progress.peers,
        "seeds": progress.seeds,
        "seconds_left": None if left is None else round(left, 1),
        "waiting_for": progress.waiting_for,
    }


def sources_fields(torrent: geventbt.ActiveTorrent) -> list[dict[str, Any]]:
    """The ``sources`` of the event ``progress``."""
    now = monotonic()
    return [
        {
            "name": name,
            "peers": state.peers,
            "error": state.error,
            "asked_ago": None if state.last_announce is None else round(now - state.last_announce, 1),
            "next_in": _finite(None if state.next_announce is None else state.next_announce - now),
            **({"nodes": state.nodes, "stored": state.stored} if isinstance(state, geventbt.DHTSourceStatus) else {}),
        }
        for name, state in torrent.sources.items()
    ]


def _finite(seconds: float | None) -> float | None:
    """Seconds as JSON has them: None for an infinite number."""
    return None if seconds is None or math.isinf(seconds) else round(max(0.0, seconds), 1)


def peer_fields(peer: geventbt.PeerStatus) -> dict[str, Any]:
    """The fields of each of the ``connections``."""
    return {
        "address": human_address(peer.address),
        "client": peer.client,
        "flags": flags_of(peer),
        "download_speed": round(peer.download_speed),
        "upload_speed": round(peer.upload_speed),
        "downloaded": peer.downloaded,
        "uploaded": peer.uploaded,
        "pieces": peer.pieces,
        "sources": list(peer.sources),
    }


def web_seed_fields(seed: geventbt.WebSeedStatus) -> dict[str, Any]:
    """The fields of each of the ``web_seeds`` of the event ``progress``."""
    return {
        "url": seed.url,
        "state": seed.state,
        "downloaded": seed.downloaded,
        "download_speed": round(seed.download_speed),
        "connections": seed.connections,
        "wrong_pieces": seed.wrong_pieces,
        "next_try": _finite(seed.next_try),
        "error": seed.error,
    }


def torrent_fields(torrent: geventbt.Torrent, selected: set[int] | None) -> dict[str, Any]:
    """The fields of the event ``torrent``.

    Args:
        torrent: the torrent.
        selected: the files that are fetched; None for all.
    """
    return {
        **_metainfo_fields(torrent),
        "private": torrent.private,
        "trackers": [list(tier) for tier in torrent.trackers],
        "web_seeds": list(torrent.web_seeds),
        "comment": torrent.comment,
        "created_by": torrent.created_by,
        "creation_date": torrent.creation_date,
        "magnet": str(geventbt.Magnet.from_torrent(torrent)),
        "files": [
            {
                "index": index,
                "path": "/".join(file.path),
                "length": file.length,
                "selected": selected is None or index in selected,
            }
            for index, file in enumerate(torrent.files)
            if file.stored
        ],
    }


def created_fields(torrent: geventbt.Torrent, output: str) -> dict[str, Any]:
    """The fields of the event ``created``.

    Args:
        torrent: the torrent.
        output: its .torrent file.
    """
    return {**_metainfo_fields(torrent), "output": output, "magnet": str(geventbt.Magnet.from_torrent(torrent))}


def _metainfo_fields(torrent: geventbt.Torrent) -> dict[str, Any]:
    """The fields that say which torrent it is, and how large."""
    return {
        "info_hash": torrent.swarm_hash.hex(),
        "version": torrent.version,
        **({} if torrent.info_hash_v2 is None else {"info_hash_v2": torrent.info_hash_v2.hex()}),
        "name": torrent.name,
        "length": torrent.length,
        "piece_length": torrent.geometry.piece_length,
        "pieces": torrent.geometry.pieces,
    }


def magnet_fields(magnet: geventbt.Magnet) -> dict[str, Any]:
    """The fields of the event ``torrent`` if only a link is known."""
    return {
        "info_hash": magnet.swarm_hash.hex(),
        **({} if magnet.info_hash_v2 is None else {"info_hash_v2": magnet.info_hash_v2.hex()}),
        "name": magnet.name,
        "length": magnet.length,
        "trackers": [[url] for url in magnet.trackers],
        "magnet": str(magnet),
    }
