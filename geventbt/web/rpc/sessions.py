"""The methods that concern the session as a whole: its settings, its counters, its end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import gevent

from geventbt._version import __version__
from geventbt.client.status import TorrentState
from geventbt.service.record import Settings
from geventbt.service.session import Session
from geventbt.web.rpc.arguments import Arguments
from geventbt.web.rpc.context import Answer, Methods, RpcContext
from geventbt.web.rpc.errors import Code, RpcError
from geventbt.web.rpc.fields import KILO
from geventbt.web.rpc.names import snake_name

RPC_VERSION, LEGACY_RPC_VERSION, OLDEST_RPC_VERSION = 18, 17, 14
"""Of the protocol as it is spoken here, as it is told to clients of the older spelling, and the oldest that is
understood."""
SEMVER = "6.0.0"
VERSION = f"4.0.6 (geventbt {__version__})"
"""Clients read the version of Transmission from it, and refuse one that is too old."""
_UNITS = {
    "speed_units": ["kB/s", "MB/s", "GB/s", "TB/s"],
    "speed_bytes": 1000,
    "size_units": ["kB", "MB", "GB", "TB"],
    "size_bytes": 1000,
    "memory_units": ["KiB", "MiB", "GiB", "TiB"],
    "memory_bytes": 1024,
}

_RUNNING = (TorrentState.METADATA, TorrentState.DOWNLOADING, TorrentState.SEEDING)

_Find = Callable[[Session], Any]
_SETTINGS: dict[str, _Find] = {
    "alt_speed_down": lambda session: session.settings.slow_down // KILO,
    "alt_speed_up": lambda session: session.settings.slow_up // KILO,
    "alt_speed_enabled": lambda session: session.settings.is_slow,
    "download_dir": lambda session: session.settings.download_dir,
    "download_dir_free_space": lambda session: _free(session.settings.download_dir)[0],
    "download_queue_enabled": lambda session: session.settings.limits_downloads,
    "download_queue_size": lambda session: session.settings.downloads,
    "idle_seeding_limit": lambda session: session.settings.idle,
    "idle_seeding_limit_enabled": lambda session: session.settings.has_idle,
    "dht_enabled": lambda session: session.client.dht is not None,
    "peer_limit_global": lambda session: session.settings.max_connections,
    "peer_limit_per_torrent": lambda session: session.settings.peer_limit,
    "peer_port": lambda session: session.client.port or 0,
    "queue_stalled_enabled": lambda session: session.settings.skips_stalled,
    "queue_stalled_minutes": lambda session: session.settings.stalled_after,
    "seed_queue_enabled": lambda session: session.settings.limits_seeds,
    "seed_queue_size": lambda session: session.settings.seeds,
    "seed_ratio_limit": lambda session: session.settings.ratio,
    "seed_ratio_limited": lambda session: session.settings.has_ratio,
    "speed_limit_down": lambda session: session.settings.limit_down // KILO,
    "speed_limit_down_enabled": lambda session: session.settings.limits_down,
    "speed_limit_up": lambda session: session.settings.limit_up // KILO,
    "speed_limit_up_enabled": lambda session: session.settings.limits_up,
    "start_added_torrents": lambda session: session.settings.starts_added,
    "utp_enabled": lambda session: session.client.server is not None and session.client.server.utp is not None,
}
"""What the session knows of its settings."""

_FIXED: Mapping[str, Any] = {
    "alt_speed_time_begin": 540,
    "alt_speed_time_day": 127,
    "alt_speed_time_enabled": False,
    "alt_speed_time_end": 1020,
    "anti_brute_force_enabled": False,
    "anti_brute_force_threshold": 0,
    "blocklist_enabled": False,
    "blocklist_size": 0,
    "blocklist_url": "",
    "cache_size_mib": 0,
    "config_dir": "",
    "default_trackers": "",
    "encryption": "preferred",
    "incomplete_dir": "",
    "incomplete_dir_enabled": False,
    "lpd_enabled": False,
    "peer_port_random_on_start": False,
    "pex_enabled": True,
    "port_forwarding_enabled": False,
    "rename_partial_files": False,
    "reqq": 2000,
    "rpc_version_minimum": OLDEST_RPC_VERSION,
    "rpc_version_semver": SEMVER,
    "script_torrent_added_enabled": False,
    "script_torrent_added_filename": "",
    "script_torrent_done_enabled": False,
    "script_torrent_done_filename": "",
    "script_torrent_done_seeding_enabled": False,
    "script_torrent_done_seeding_filename": "",
    "tcp_enabled": True,
    "trash_original_torrent_files": False,
    "units": _UNITS,
    "version": VERSION,
}
"""What cannot be changed. No program can be set up to be run by clients, whatever they are."""


def session_get(context: RpcContext, arguments: Arguments) -> Answer:
    """The settings, or those that are asked for."""
    names = {snake_name(name) for name in arguments.items("fields", str)} if "fields" in arguments else None
    special = {"session_id": context.session_id, "rpc_version": RPC_VERSION}
    answer = {name: value for name, value in {**_FIXED, **special}.items() if names is None or name in names}
    for name, find in _SETTINGS.items():
        if names is None or name in names:
            answer[name] = find(context.session)
    return answer


def _rate(arguments: Arguments, name: str) -> int:
    return arguments.integer(name) * KILO


_CHANGES: dict[str, tuple[str, Callable[[Arguments, str], Any]]] = {
    "alt_speed_down": ("slow_down", _rate),
    "alt_speed_up": ("slow_up", _rate),
    "alt_speed_enabled": ("is_slow", Arguments.boolean),
    "download_queue_enabled": ("limits_downloads", Arguments.boolean),
    "download_queue_size": ("downloads", Arguments.integer),
    "idle_seeding_limit": ("idle", Arguments.integer),
    "idle_seeding_limit_enabled": ("has_idle", Arguments.boolean),
    "peer_limit_global": ("max_connections", lambda arguments, name: arguments.integer(name, 1, 65535)),
    "peer_limit_per_torrent": ("peer_limit", lambda arguments, name: arguments.integer(name, 1, 65535)),
    "queue_stalled_enabled": ("skips_stalled", Arguments.boolean),
    "queue_stalled_minutes": ("stalled_after", Arguments.integer),
    "seed_queue_enabled": ("limits_seeds", Arguments.boolean),
    "seed_queue_size": ("seeds", Arguments.integer),
    "seed_ratio_limit": ("ratio", lambda arguments, name: max(0.0, arguments.number(name))),
    "seed_ratio_limited": ("has_ratio", Arguments.boolean),
    "speed_limit_down": ("limit_down", _rate),
    "speed_limit_down_enabled": ("limits_down", Arguments.boolean),
    "speed_limit_up": ("limit_up", _rate),
    "speed_limit_up_enabled": ("limits_up", Arguments.boolean),
    "start_added_torrents": ("starts_added", Arguments.boolean),
}
"""For each setting that can be changed the attribute of `Settings`, and how it is read."""


def session_set(context: RpcContext, arguments: Arguments) -> Answer:
    """Change settings; one that cannot be changed is passed over, as Transmission does it."""
    changes = {attribute: read(arguments, name) for name, (attribute, read) in _CHANGES.items() if name in arguments}
    if "download_dir" in arguments:
        changes["download_dir"] = context.folder(arguments, "download_dir")
    if changes:
        context.session.change_settings(changes)
    return {}


def session_stats(context: RpcContext, arguments: Arguments) -> Answer:
    """What is going on, and what has been transferred in this run and in all."""
    session = context.session
    torrents = session.torrents
    running = [torrent for torrent in torrents if torrent.active.state in _RUNNING]
    speeds = [torrent.active.progress for torrent in running]
    downloaded = sum(torrent.active.downloaded for torrent in torrents)
    uploaded = sum(torrent.active.uploaded for torrent in torrents)
    record = session.record
    return {
        "active_torrent_count": len(running),
        "paused_torrent_count": len(torrents) - len(running),
        "torrent_count": len(torrents),
        "download_speed": round(sum(progress.download_speed for progress in speeds)),
        "upload_speed": round(sum(progress.upload_speed for progress in speeds)),
        "cumulative_stats": {
            "downloaded_bytes": record.downloaded,
            "files_added": record.added,
            "seconds_active": record.seconds,
            "session_count": record.runs,
            "uploaded_bytes": record.uploaded,
        },
        "current_stats": {
            "downloaded_bytes": downloaded,
            "files_added": len(torrents),
            "seconds_active": session.now() - session.started,
            "session_count": 1,
            "uploaded_bytes": uploaded,
        },
    }


def session_close(context: RpcContext, arguments: Arguments) -> Answer:
    """End the daemon, where its owner lets clients do that."""
    if context.shut_down is None:
        raise RpcError(Code.SYSTEM, "the daemon cannot be ended by a client: allow it with --rpc-shutdown")
    # Not before this is answered.
    gevent.spawn_later(0.5, context.shut_down)
    return {}


def free_space(context: RpcContext, arguments: Arguments) -> Answer:
    """How much room a folder has."""
    path = arguments.text("path")
    failed = {"path": path, "size_bytes": -1, "total_size": -1}
    try:
        folder = context.folder(arguments, "path")
        free, total = _free(folder)
    except RpcError as error:
        raise RpcError(error.code, error.text, failed) from error
    if free < 0:
        raise RpcError(Code.SYSTEM, os.strerror(2), failed)
    return {"path": path, "size_bytes": free, "total_size": total}


def _free(folder: str) -> tuple[int, int]:
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return -1, -1
    return usage.free, usage.total


def port_test(context: RpcContext, arguments: Arguments) -> Answer:
    """Whether peers can reach us: whether one has, since no third party is asked."""
    inbound = any(not peer.outgoing for torrent in context.session.torrents for peer in torrent.active.peers)
    return {"port_is_open": inbound, "ip_protocol": arguments.text("ip_protocol", "ipv4")}


def blocklist_update(context: RpcContext, arguments: Arguments) -> Answer:
    """There is no blocklist."""
    raise RpcError(Code.NO_BLOCKLIST, "no blocklist")


def group_get(context: RpcContext, arguments: Arguments) -> Answer:
    """There are no groups."""
    return {"group": []}


def group_set(context: RpcContext, arguments: Arguments) -> Answer:
    """There are no groups."""
    raise RpcError(Code.INVALID_PARAMS, "groups of torrents are not supported")


METHODS: Methods = {
    method.__name__: method
    for method in (
        blocklist_update,
        free_space,
        group_get,
        group_set,
        port_test,
        session_close,
        session_get,
        session_set,
        session_stats,
    )
}

assert {attribute for attribute, _ in _CHANGES.values()} <= set(Settings.__dataclass_fields__)
