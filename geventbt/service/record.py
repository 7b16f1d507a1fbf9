"""What a service keeps of a torrent, and of itself, from one run to the next. Pure.

Each is a JSON object with the attributes below as keys. A key that is missing has its default, one of a wrong type as
well, and one that is not known, such as of a later version, stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

VERSION = 1
_T = TypeVar("_T", bound="Stored")
_PRIORITY_WEIGHT = 8.0
"""The share of a torrent with a priority, to that of one with the next lower one."""


class Goal(IntEnum):
    """Whose goal ends the seeding of a torrent; the numbers are those of Transmission's protocol."""

    COMMON = 0
    OWN = 1
    NONE = 2


class Removal(IntEnum):
    """Whether a torrent is being removed, and what becomes of its files."""

    NO = 0
    KEEPS_FILES = 1
    DELETES_FILES = 2


@dataclass
class Stored:
    """Base of what is stored as a JSON object."""

    others: dict[str, Any] = field(default_factory=dict, kw_only=True)
    """Keys that are not known."""

    @classmethod
    def decode(cls: type[_T], data: bytes) -> _T:
        """Read it.

        Raises:
            ValueError: it is not a JSON object, or of a later version.
        """
        content = json.loads(data)
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
        version = content.pop("version", VERSION)
        if not isinstance(version, int) or version > VERSION:
            raise ValueError(f"written by a later version of the program, in format {version}")
        return cls.read(content)

    @classmethod
    def read(cls: type[_T], found: object) -> _T:
        """Read it from a JSON object; anything else counts as an empty one."""
        content = dict(found) if isinstance(found, dict) else {}
        made = cls()
        hints = get_type_hints(cls)
        for name in [each.name for each in fields(cls) if each.name != "others"]:
            if name in content:
                value = content.pop(name)
                if _is_of(value, hints[name]):
                    setattr(made, name, value)
        made.others = content
        return made

    def change(self, values: Mapping[str, Any]) -> None:
        """Set attributes.

        Raises:
            AttributeError: there is no such attribute.
        """
        for name, value in values.items():
            if not hasattr(self, name):
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
            setattr(self, name, value)

    def encode(self) -> bytes:
        """Write it."""
        content = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "others"}
        return json.dumps({"version": VERSION, **self.others, **content}, indent=1).encode()


@dataclass
class Limited(Stored):
    """Base of what has rates of its own, in bytes a second.

    Attributes:
        limit_down, limit_up: its rates; 0 for nothing at all.
        limits_down, limits_up: whether they hold.
    """

    limit_down: int = 100_000
    limit_up: int = 100_000
    limits_down: bool = False
    limits_up: bool = False

    @property
    def rate_down(self) -> int | None:
        """The rate at which it may receive; None for no limit."""
        return max(0, self.limit_down) if self.limits_down else None

    @property
    def rate_up(self) -> int | None:
        """The rate at which it may send; None for no limit."""
        return max(0, self.limit_up) if self.limits_up else None


@dataclass
class GroupRecord(Limited):
    """What is kept of a group of torrents that share rates.

    Attributes:
        keeps_session_limits: whether the rates of the session hold as well.
    """

    keeps_session_limits: bool = True


@dataclass
class TorrentRecord(Limited):
    """What is kept of a torrent. Times are in seconds since 1970, 0 for never; sizes in bytes, rates in bytes a second.

    Attributes:
        id: its number in the service, never used again.
        folder: the folder that its file or folder is in, or comes into once it is complete.
        incomplete_folder: the folder that it is in until then; "" if it is in `folder` already.
        name: its name, while its metadata is unknown.
        position: its place in the queue, from 0 on.
        is_stopped: whether the user, or a goal, has stopped it.
        is_forced: whether it runs whatever the queue says.
        is_finished: whether a goal of seeding has stopped it.
        labels: any texts.
        added, completed, started, active, edited: when it was added, was complete, was started last, has last
            transferred anything, was changed last.
        priorities: of its files by their index, as texts, where they are not normal: 1 to 7.
        unwanted: indices of the files that are not wanted.
        sequential: whether pieces are fetched in order.
        peer_limit: connections at one time; 0 for that of the service.
        group: the name of the group whose rates it shares; "" for none.
        keeps_session_limits: whether the rates of its group and of the session hold for it.
        bandwidth: its priority, -1, 0 or 1; see `rate_weight`.
        ratio_goal, idle_goal: whose goals hold; see `Goal`.
        ratio: of bytes sent to bytes of its size, that ends the seeding.
        idle: minutes without a byte sent, that end the seeding.
        trackers: announce URLs in tiers, where they are not the torrent's own.
        tracker_ids: numbers of the trackers by URL, never used again.
        renames: of files and folders, each a path and a new name.
        downloaded, uploaded: of all runs.
        seconds_downloading, seconds_seeding: of all runs.
        moved_from: where its files were, while they are being moved: {"folder": ..., "renames": ...}.
        removal: see `Removal`.
    """

    id: int = 0
    folder: str = ""
    incomplete_folder: str = ""
    name: str = ""
    position: int = 0
    is_stopped: bool = False
    is_forced: bool = False
    is_finished: bool = False
    labels: list[str] = field(default_factory=list)
    added: int = 0
    completed: int = 0
    started: int = 0
    active: int = 0
    edited: int = 0
    priorities: dict[str, int] = field(default_factory=dict)
    unwanted: list[int] = field(default_factory=list)
    sequential: bool = False
    peer_limit: int = 0
    group: str = ""
    keeps_session_limits: bool = True
    bandwidth: int = 0
    ratio_goal: int = Goal.COMMON
    idle_goal: int = Goal.COMMON
    ratio: float = 2.0
    idle: int = 30
    trackers: list[list[str]] | None = None
    tracker_ids: dict[str, int] = field(default_factory=dict)
    renames: list[list[str]] = field(default_factory=list)
    downloaded: int = 0
    uploaded: int = 0
    seconds_downloading: int = 0
    seconds_seeding: int = 0
    moved_from: dict[str, Any] | None = None
    removal: int = Removal.NO

    @property
    def place(self) -> str:
        """The folder that its file or folder is in now."""
        return self.incomplete_folder or self.folder

    @property
    def rate_weight(self) -> float:
        """Its share of rates that it has in common with others: that of a high priority is not all of them, or those
        of a low one would never end."""
        return _PRIORITY_WEIGHT**self.bandwidth


@dataclass
class Settings(Limited):
    """Settings of a service that can be changed while it runs. The rates are those of all torrents together.

    Attributes:
        download_dir: the folder for torrents that are added without one.
        incomplete_dir: the folder for torrents that are added from now on, until they are complete.
        has_incomplete_dir: whether that is used.
        starts_added: whether torrents run as soon as they are added.
        sequential: whether torrents that are added fetch their pieces in order.
        slow_down, slow_up: rates that hold instead while `is_slow`.
        is_slow: see above.
        has_schedule: whether `is_slow` is switched at the times below.
        slow_begin, slow_end, slow_days: see `geventbt.service.schedule`.
        blocklist_url: of a list of IP addresses to leave alone.
        has_blocklist: whether that holds.
        default_trackers: announce URLs in tiers, for all torrents that are not private.
        port: that peers connect to; 0 for the one that the client has chosen.
        encryption: of connections; see `Client`; "" for that of the client.
        max_connections: of all torrents together.
        peer_limit: connections of one torrent.
        downloads, seeds: how many torrents may download, or seed, at one time.
        limits_downloads, limits_seeds: whether that holds.
        stalled_after: minutes without a byte after which a torrent does not count among those.
        skips_stalled: whether that holds.
        ratio, idle: the goals of seeding; see `TorrentRecord`.
        has_ratio, has_idle: whether they hold.
    """

    download_dir: str = ""
    incomplete_dir: str = ""
    has_incomplete_dir: bool = False
    starts_added: bool = True
    sequential: bool = False
    slow_down: int = 50_000
    slow_up: int = 50_000
    is_slow: bool = False
    has_schedule: bool = False
    slow_begin: int = 9 * 60
    slow_end: int = 17 * 60
    slow_days: int = 127
    blocklist_url: str = ""
    has_blocklist: bool = False
    default_trackers: list[list[str]] = field(default_factory=list)
    port: int = 0
    encryption: str = ""
    max_connections: int = 1000
    peer_limit: int = 200
    downloads: int = 5
    seeds: int = 10
    limits_downloads: bool = True
    limits_seeds: bool = False
    stalled_after: int = 30
    skips_stalled: bool = True
    ratio: float = 2.0
    idle: int = 30
    has_ratio: bool = False
    has_idle: bool = False


@dataclass
class ServiceRecord(Stored):
    """What is kept of a service itself.

    Attributes:
        next_id: the number of the next torrent.
        settings: the settings that were changed while it ran; see `Settings`.
        configured: what the configuration said of them then: where it says something else now, that holds.
        groups: a `GroupRecord` for each group of torrents, by name.
        downloaded, uploaded: bytes of all torrents, of all runs.
        added: torrents that were added.
        seconds: that it has run.
        runs: how often it was started.
    """

    next_id: int = 1
    settings: dict[str, Any] = field(default_factory=dict)
    configured: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, Any] = field(default_factory=dict)
    downloaded: int = 0
    uploaded: int = 0
    added: int = 0
    seconds: int = 0
    runs: int = 0

    def take_id(self) -> int:
        """The number of a new torrent."""
        self.next_id += 1
        return self.next_id - 1


def _is_of(value: Any, hint: Any) -> bool:
    """Whether a value of JSON is of the type of an attribute, as far as the outer type goes."""
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint in (int, str, bool):
        return type(value) is hint
    outer = get_origin(hint) or hint
    if outer in (list, dict):
        return isinstance(value, outer)
    return any(_is_of(value, part) for part in get_args(hint)) if get_args(hint) else isinstance(value, outer)
