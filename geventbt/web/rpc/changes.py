"""What torrent_set and torrent_add change of a torrent, as attributes of its `TorrentRecord`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geventbt import limits
from geventbt.client.pieces.picker import NORMAL
from geventbt.metainfo import Torrent
from geventbt.service.record import TorrentRecord
from geventbt.service.torrent import ServiceTorrent
from geventbt.web.rpc.arguments import Arguments
from geventbt.web.rpc.errors import Code, RpcError
from geventbt.web.rpc.fields import KILO
from geventbt.web.rpc.trackers import changed_tiers
from geventbt.web.rpc.view import HIGH, LOW

_MOST_LABELS, _LONGEST_LABEL = 50, 100
_Read = Callable[[Arguments, str], Any]


def _rate(arguments: Arguments, name: str) -> int:
    return arguments.integer(name) * KILO


def _mode(arguments: Arguments, name: str) -> int:
    return arguments.integer(name, 0, 2)


def _labels(arguments: Arguments, name: str) -> list[str]:
    labels = [label.strip() for label in arguments.items(name, str, _MOST_LABELS)]
    if any("," in label for label in labels):
        raise RpcError(Code.INVALID_PARAMS, "labels cannot contain comma (,) character")
    return [label[:_LONGEST_LABEL] for label in dict.fromkeys(labels) if label]


_ATTRIBUTES: dict[str, tuple[str, _Read]] = {
    "bandwidth_priority": ("bandwidth", lambda arguments, name: arguments.integer(name, -1, 1)),
    "download_limit": ("limit_down", _rate),
    "download_limited": ("limits_down", Arguments.boolean),
    "upload_limit": ("limit_up", _rate),
    "upload_limited": ("limits_up", Arguments.boolean),
    "group": ("group", lambda arguments, name: arguments.text(name).strip()[: limits.GROUP_NAME]),
    "honors_session_limits": ("keeps_session_limits", Arguments.boolean),
    "labels": ("labels", _labels),
    "peer_limit": ("peer_limit", lambda arguments, name: arguments.integer(name, 1, 65535)),
    "seed_idle_limit": ("idle", lambda arguments, name: arguments.integer(name, 0, 65535)),
    "seed_idle_mode": ("idle_goal", _mode),
    "seed_ratio_limit": ("ratio", lambda arguments, name: max(0.0, arguments.number(name))),
    "seed_ratio_mode": ("ratio_goal", _mode),
    "sequential_download": ("sequential", Arguments.boolean),
}
"""For each argument the attribute of a record, and how it is read."""


def record_changes(
    arguments: Arguments, metainfo: Torrent | None, torrent: ServiceTorrent | None = None
) -> dict[str, Any]:
    """The attributes of a record that a request changes.

    Args:
        arguments: of the request.
        metainfo: the torrent; None while only its link is known.
        torrent: it in the session; None while it is being added.

    Raises:
        RpcError: an argument is wrong.
    """
    if "sequential_download_from_piece" in arguments and arguments.integer("sequential_download_from_piece"):
        raise RpcError(Code.INVALID_PARAMS, "sequential_download_from_piece: pieces are fetched in order from 0 only")
    changes = {attribute: read(arguments, name) for name, (attribute, read) in _ATTRIBUTES.items() if name in arguments}
    record = torrent.record if torrent is not None else TorrentRecord()
    changes.update(_file_changes(arguments, metainfo, record))
    if torrent is not None:
        tiers = changed_tiers(arguments, record, torrent.active.tracker_tiers)
        if tiers is not None:
            changes["trackers"] = tiers
    return changes


def _file_changes(arguments: Arguments, metainfo: Torrent | None, record: TorrentRecord) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    wanted, unwanted = (_files(arguments, name, metainfo) for name in ("files_wanted", "files_unwanted"))
    if wanted or unwanted:
        changes["unwanted"] = sorted((set(record.unwanted) | unwanted) - wanted)
    priorities = dict(record.priorities)
    for name, priority in (("priority_high", HIGH), ("priority_normal", NORMAL), ("priority_low", LOW)):
        for index in _files(arguments, name, metainfo):
            priorities[str(index)] = priority
    if priorities != record.priorities:
        changes["priorities"] = {index: value for index, value in priorities.items() if value != NORMAL}
    return changes


def _files(arguments: Arguments, name: str, metainfo: Torrent | None) -> set[int]:
    """The files that an argument names by their rank among those that are stored; an empty list names all.

    Raises:
        RpcError: there is no such file.
    """
    if name not in arguments:
        return set()
    numbers = arguments.items(name, int, 1_000_000)
    if metainfo is None:
        if not all(0 <= number < 1_000_000 for number in numbers):
            raise RpcError(Code.NO_FILE, "file index out of range")
        return set(numbers)
    stored = [index for index, file in enumerate(metainfo.files) if file.stored]
    if not all(0 <= number < len(stored) for number in numbers):
        raise RpcError(Code.NO_FILE, "file index out of range")
    return {stored[number] for number in numbers} if numbers else set(stored)
