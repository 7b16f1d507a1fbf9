"""`Groups`: rates that some torrents of a session share, by the names of the groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from geventbt import limits
from geventbt.client.client import Client
from geventbt.client.rate_group import RateGroup
from geventbt.service.record import GroupRecord, ServiceRecord, TorrentRecord


class Groups:
    """The groups of a session.

    Args:
        client: has the torrents.
        record: keeps the groups.
    """

    def __init__(self, client: Client, record: ServiceRecord) -> None:
        self._client = client
        self._record = record
        self._rates: dict[str, RateGroup] = {}
        self._apart: RateGroup | None = None

    @property
    def records(self) -> dict[str, GroupRecord]:
        """What is kept of each, by name."""
        return {name: GroupRecord.read(content) for name, content in self._record.groups.items()}

    def change(self, name: str, changes: Mapping[str, Any]) -> None:
        """Change attributes of the `GroupRecord` of a group, which is made where there is none.

        Raises:
            ValueError: that cannot be its name, or there are too many groups.
        """
        if not name or len(name) > limits.GROUP_NAME:
            raise ValueError(f"the name of a group must have 1 to {limits.GROUP_NAME} characters")
        if name not in self._record.groups and len(self._record.groups) >= limits.GROUPS:
            raise ValueError(f"there are {limits.GROUPS} groups already")
        record = GroupRecord.read(self._record.groups.get(name))
        record.change(changes)
        self._record.groups[name] = {key: value for key, value in asdict(record).items() if key != "others"}
        if name in self._rates:
            self._set(self._rates[name], record)

    def rates_of(self, torrent: TorrentRecord) -> RateGroup | None:
        """The rates that a torrent shares with others; None for those of the client alone."""
        if not torrent.keeps_session_limits:
            self._apart = self._apart or self._client.rate_group(keeps_client_limits=False)
            return self._apart
        if torrent.group not in self._record.groups:
            return None
        if torrent.group not in self._rates:
            self._rates[torrent.group] = rates = self._client.rate_group()
            self._set(rates, GroupRecord.read(self._record.groups[torrent.group]))
        return self._rates[torrent.group]

    def _set(self, rates: RateGroup, record: GroupRecord) -> None:
        rates.set_limits(down=record.rate_down, up=record.rate_up)
        rates.keeps_client_limits = record.keeps_session_limits
