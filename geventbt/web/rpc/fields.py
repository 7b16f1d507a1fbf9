"""The fields of a torrent, as torrent_get answers them.

Times are in seconds since 1970, 0 for never; sizes in bytes, rates in bytes a second and limits in 1000 bytes a second,
all of them integers: clients in typed languages refuse a rate with a fraction.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from geventbt.concurrency.turns import in_turns
from geventbt.web.rpc.peers import peers_from, peers_of, web_seeds_of
from geventbt.web.rpc.trackers import tracker_list, tracker_stats, trackers
from geventbt.web.rpc.view import TorrentView

KILO = 1000
"""The k of kB/s, as the protocol counts."""

FIELDS: dict[str, Callable[[TorrentView], Any]] = {
    # what it is
    "id": lambda view: view.record.id,
    "hash_string": lambda view: view.torrent.info_hash.hex(),
    "name": lambda view: view.torrent.name,
    "comment": lambda view: (view.metainfo and view.metainfo.comment) or "",
    "creator": lambda view: (view.metainfo and view.metainfo.created_by) or "",
    "date_created": lambda view: (view.metainfo and view.metainfo.creation_date) or 0,
    "is_private": lambda view: bool(view.metainfo and view.metainfo.private),
    "magnet_link": lambda view: view.magnet_link,
    "torrent_file": lambda view: view.torrent_file,
    "total_size": lambda view: view.total_size,
    "piece_count": lambda view: view.metainfo.geometry.pieces if view.metainfo else 0,
    "piece_size": lambda view: view.metainfo.geometry.piece_length if view.metainfo else 0,
    "primary_mime_type": lambda view: view.mime_type,
    "download_dir": lambda view: view.record.folder,
    "labels": lambda view: view.record.labels,
    "group": lambda view: view.record.group,
    # how far it is
    "status": lambda view: view.status,
    "error": lambda view: view.error[0],
    "error_string": lambda view: view.error[1],
    "eta": lambda view: view.eta,
    "eta_idle": lambda view: view.eta_idle,
    "is_finished": lambda view: view.record.is_finished,
    "is_stalled": lambda view: view.is_stalled,
    "percent_done": lambda view: view.done / view.wanted if view.wanted else 0,
    "percent_complete": lambda view: view.have / view.total_size if view.total_size else 0,
    "metadata_percent_complete": lambda view: int(view.metainfo is not None),
    "recheck_progress": lambda view: view.recheck_progress,
    "size_when_done": lambda view: view.wanted,
    "left_until_done": lambda view: view.wanted - view.done,
    "have_valid": lambda view: view.have,
    "have_unchecked": lambda view: 0,
    "desired_available": lambda view: view.desired_available,
    "availability": lambda view: view.availability,
    "pieces": lambda view: base64.b64encode(view.active.pieces.tobytes()).decode(),
    "rate_download": lambda view: round(view.progress.download_speed),
    "rate_upload": lambda view: round(view.progress.upload_speed),
    # over all runs
    "downloaded_ever": lambda view: view.torrent.downloaded,
    "uploaded_ever": lambda view: view.torrent.uploaded,
    "corrupt_ever": lambda view: view.progress.wasted,
    "upload_ratio": lambda view: view.upload_ratio,
    "seconds_downloading": lambda view: view.record.seconds_downloading,
    "seconds_seeding": lambda view: view.record.seconds_seeding,
    "added_date": lambda view: view.record.added,
    "done_date": lambda view: view.record.completed,
    "start_date": lambda view: view.record.started,
    "activity_date": lambda view: view.record.active,
    "edit_date": lambda view: view.record.edited,
    "manual_announce_time": lambda view: -1,
    # peers
    "peers": peers_of,
    "peers_from": peers_from,
    "peers_connected": lambda view: view.progress.peers,
    "peers_sending_to_us": lambda view: sum(peer.download_speed > 0 for peer in view.peers),
    "peers_getting_from_us": lambda view: sum(peer.upload_speed > 0 for peer in view.peers),
    "webseeds_ex": web_seeds_of,
    "webseeds": lambda view: [seed.url for seed in view.active.web_seeds],
    "webseeds_sending_to_us": lambda view: sum(seed.state == "downloading" for seed in view.active.web_seeds),
    "max_connected_peers": lambda view: view.peer_limit,
    "peer_limit": lambda view: view.peer_limit,
    "trackers": trackers,
    "tracker_stats": tracker_stats,
    "tracker_list": tracker_list,
    # files
    "files": lambda view: view.files,
    "bytes_completed": lambda view: [stat["bytes_completed"] for stat in in_turns(view.file_stats)],
    "file_stats": lambda view: view.file_stats,
    "file_count": lambda view: len(view.stored),
    "priorities": lambda view: [view.priority_of(index) for index in in_turns(view.stored)],
    "wanted": lambda view: [view.is_wanted(index) for index in in_turns(view.stored)],
    # what the user has set
    "queue_position": lambda view: view.record.position,
    "sequential_download": lambda view: view.record.sequential,
    "sequential_download_from_piece": lambda view: 0,
    "bandwidth_priority": lambda view: view.record.bandwidth,
    "honors_session_limits": lambda view: view.record.keeps_session_limits,
    "download_limit": lambda view: view.record.limit_down // KILO,
    "download_limited": lambda view: view.record.limits_down,
    "upload_limit": lambda view: view.record.limit_up // KILO,
    "upload_limited": lambda view: view.record.limits_up,
    "seed_ratio_limit": lambda view: view.record.ratio,
    "seed_ratio_mode": lambda view: view.record.ratio_goal,
    "seed_idle_limit": lambda view: view.record.idle,
    "seed_idle_mode": lambda view: view.record.idle_goal,
}
"""How each field is found, by its name in snake_case."""
