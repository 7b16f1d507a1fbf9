"""The settings of the session, as session_get answers them, and as session_set changes them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from geventbt import limits
from geventbt._version import __version__
from geventbt.concurrency.threads import in_thread
from geventbt.service.record import Settings
from geventbt.service.session import Session
from geventbt.web.rpc.arguments import Arguments
from geventbt.web.rpc.context import Answer, Methods, RpcContext
from geventbt.web.rpc.errors import Code, RpcError
from geventbt.web.rpc.fields import KILO
from geventbt.web.rpc.names import snake_name
from geventbt.web.rpc.trackers import text_of, tiers_of

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


class _Kind(NamedTuple):
    """How a setting is read from a request, and shown in an answer."""

    read: Callable[[Arguments, str], Any]
    show: Callable[[Any], Any]


_FLAG = _Kind(Arguments.boolean, bool)
_COUNT = _Kind(Arguments.integer, int)
_CONNECTIONS = _Kind(lambda arguments, name: arguments.integer(name, 1, 65535), int)
_RATE = _Kind(lambda arguments, name: arguments.integer(name) * KILO, lambda rate: rate // KILO)
_RATIO = _Kind(lambda arguments, name: max(0.0, arguments.number(name)), float)
_MINUTE = _Kind(lambda arguments, name: arguments.integer(name, 0, 24 * 60 - 1), int)
_DAYS = _Kind(lambda arguments, name: arguments.integer(name, 0, 127), int)


_ENCRYPTION = {"prefer": "preferred", "require": "required", "allow": "allowed", "disable": "allowed"}
_POLICIES = {"preferred": "prefer", "required": "require", "allowed": "allow", "tolerated": "allow"}
"""Of the names of the protocol; the last one is the older spelling."""


def _read_policy(arguments: Arguments, name: str) -> str:
    policy = _POLICIES.get(arguments.text(name))
    if policy is None:
        raise RpcError(Code.INVALID_PARAMS, f"{name}: must be one of {', '.join(_POLICIES)}")
    return policy


_POLICY = _Kind(_read_policy, str)
_TRACKERS = _Kind(lambda arguments, name: tiers_of(arguments.text(name)), text_of)


def _read_url(arguments: Arguments, name: str) -> str:
    url = arguments.text(name).strip()
    if url and not url.lower().startswith(("http://", "https://")):
        raise RpcError(Code.INVALID_PARAMS, f"{name}: must be a URL of http or https")
    return url[: limits.URL]


SETTINGS: dict[str, tuple[str, _Kind]] = {
    "alt_speed_down": ("slow_down", _RATE),
    "alt_speed_enabled": ("is_slow", _FLAG),
    "alt_speed_time_begin": ("slow_begin", _MINUTE),
    "alt_speed_time_day": ("slow_days", _DAYS),
    "alt_speed_time_enabled": ("has_schedule", _FLAG),
    "alt_speed_time_end": ("slow_end", _MINUTE),
    "alt_speed_up": ("slow_up", _RATE),
    "blocklist_enabled": ("has_blocklist", _FLAG),
    "blocklist_url": ("blocklist_url", _Kind(_read_url, str)),
    "default_trackers": ("default_trackers", _TRACKERS),
    "download_queue_enabled": ("limits_downloads", _FLAG),
    "download_queue_size": ("downloads", _COUNT),
    "encryption": ("encryption", _POLICY),
    "idle_seeding_limit": ("idle", _COUNT),
    "idle_seeding_limit_enabled": ("has_idle", _FLAG),
    "incomplete_dir_enabled": ("has_incomplete_dir", _FLAG),
    "peer_limit_global": ("max_connections", _CONNECTIONS),
    "peer_limit_per_torrent": ("peer_limit", _CONNECTIONS),
    "peer_port": ("port", _Kind(lambda arguments, name: arguments.integer(name, 1, 65535), int)),
    "queue_stalled_enabled": ("skips_stalled", _FLAG),
    "queue_stalled_minutes": ("stalled_after", _COUNT),
    "seed_queue_enabled": ("limits_seeds", _FLAG),
    "seed_queue_size": ("seeds", _COUNT),
    "seed_ratio_limit": ("ratio", _RATIO),
    "seed_ratio_limited": ("has_ratio", _FLAG),
    "sequential_download": ("sequential", _FLAG),
    "speed_limit_down": ("limit_down", _RATE),
    "speed_limit_down_enabled": ("limits_down", _FLAG),
    "speed_limit_up": ("limit_up", _RATE),
    "speed_limit_up_enabled": ("limits_up", _FLAG),
    "start_added_torrents": ("starts_added", _FLAG),
}
"""For each setting that can be changed the attribute of `Settings`, and its kind."""


def _has_utp(session: Session) -> bool:
    return session.client.server is not None and session.client.server.utp is not None


_FOUND: dict[str, Callable[[Session], Any]] = {
    "blocklist_size": lambda session: session.blocklist.size,
    "dht_enabled": lambda session: session.client.dht is not None,
    "download_dir": lambda session: session.settings.download_dir,
    "incomplete_dir": lambda session: session.settings.incomplete_dir,
    "download_dir_free_space": lambda session: free_of(session.settings.download_dir)[0],
    "encryption": lambda session: _ENCRYPTION[session.client.encryption],
    "lpd_enabled": lambda session: session.client.has_lsd,
    "peer_port": lambda session: session.client.port or 0,
    "port_forwarding_enabled": lambda session: session.client.has_port_mapping,
    "preferred_transports": lambda session: ["tcp", "utp"] if _has_utp(session) else ["tcp"],
    "utp_enabled": _has_utp,
}
"""How those are found that are not shown as they are set, or are chosen when the program starts."""

_FOLDERS = ("download_dir", "incomplete_dir")
"""Settings of the same name, which must be folders that data may be in."""

_FIXED: Mapping[str, Any] = {
    "anti_brute_force_enabled": True,
    "anti_brute_force_threshold": limits.WEB_LOGIN_FAILURES,
    "cache_size_mib": 0,
    "config_dir": "",
    "peer_port_random_on_start": False,
    "pex_enabled": True,
    "rename_partial_files": False,
    "reqq": limits.PEER_REQUESTS,
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
"""What is as it is. No program can be set up to be run by clients, whatever they are."""

_UNCHANGEABLE = (_FOUND.keys() | _FIXED.keys()) - {
    *SETTINGS,
    # These are to be read only, or clients send them back with what they change.
    "blocklist_size",
    "cache_size_mib",
    "config_dir",
    "download_dir_free_space",
    *_FOLDERS,
    "rpc_version_minimum",
    "rpc_version_semver",
    "tcp_enabled",
    "units",
    "version",
}


def session_get(context: RpcContext, arguments: Arguments) -> Answer:
    """The settings, or those that are asked for."""
    session = context.session
    wanted = {snake_name(name) for name in arguments.items("fields", str)} if "fields" in arguments else None
    found: dict[str, Callable[[], Any]] = {
        "session_id": lambda: context.session_id,
        "rpc_version": lambda: RPC_VERSION,
        **{name: partial(_value_of, session, name) for name in (*SETTINGS, *_FOUND, *_FIXED)},
    }
    return {name: find() for name, find in found.items() if wanted is None or name in wanted}


def _value_of(session: Session, name: str) -> Any:
    if name in _FOUND:
        return _FOUND[name](session)
    if name not in SETTINGS:
        return _FIXED[name]
    attribute, kind = SETTINGS[name]
    return kind.show(getattr(session.settings, attribute))


def session_set(context: RpcContext, arguments: Arguments) -> Answer:
    """Change settings: all of those that are given, or none, where one of them cannot be."""
    session = context.session
    for name in sorted(_UNCHANGEABLE & set(arguments)):
        if arguments.get(name) not in (None, _value_of(session, name)):
            raise RpcError(Code.INVALID_PARAMS, f"{name}: cannot be changed by clients")
    changes = {
        attribute: kind.read(arguments, name)
        for name, (attribute, kind) in SETTINGS.items()
        if name in arguments and not (name in _FOUND and arguments.get(name) == _value_of(session, name))
    }
    if session.blocklist.configured is not None and not changes.get("has_blocklist", True):
        raise RpcError(
            Code.INVALID_PARAMS, "blocklist_enabled: cannot be changed by clients: it is given by --ip-filter"
        )
    for name in _FOLDERS:
        if name in arguments and arguments.get(name) != getattr(session.settings, name):
            changes[name] = context.folder(arguments, name)
    if changes:
        try:
            session.change_settings(changes)
        except ValueError as error:
            raise RpcError(Code.INVALID_PARAMS, str(error)) from error
    return {}


def free_of(folder: str) -> tuple[int, int]:
    """The bytes of room that a folder has, and of its disk; -1 where that is unknown."""
    try:
        # In a thread: the folder may be on a network drive that does not answer.
        usage = in_thread(shutil.disk_usage, folder)
    except OSError:
        return -1, -1
    return usage.free, usage.total


METHODS: Methods = {method.__name__: method for method in (session_get, session_set)}

assert {attribute for attribute, _ in SETTINGS.values()} <= set(Settings.__dataclass_fields__)
