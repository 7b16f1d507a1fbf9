"""Settings of a session: what its configuration says, and what was changed while it ran."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, cast, get_args

from geventbt import EncryptionPolicy
from geventbt.client.client import Client
from geventbt.service.record import ServiceRecord, Settings
from geventbt.service.schedule import is_slow_at

_NAMES = frozenset(field.name for field in fields(Settings) if field.name != "others")
_SCHEDULE = frozenset({"has_schedule", "slow_begin", "slow_end", "slow_days"})


def kept_changes(record: ServiceRecord, configured: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that were changed while an earlier session ran, and of which the configuration says the same as it
    did then."""
    before = record.configured
    return {name: value for name, value in record.settings.items() if configured.get(name) == before.get(name)}


def settings_of(client: Client) -> Settings:
    """The settings that a client has already."""
    settings = Settings(download_dir=os.getcwd(), max_connections=client.max_connections)
    settings.default_trackers = client.default_trackers
    if client.limit_down is not None:
        settings.limits_down, settings.limit_down = True, client.limit_down
    if client.limit_up is not None:
        settings.limits_up, settings.limit_up = True, client.limit_up
    return settings


class LiveSettings:
    """Settings that hold in a client at once.

    What was changed while the session ran holds on, also in the next run, until the configuration says something else
    than it did then.

    Args:
        client: the client.
        record: what is kept of the session. Where neither says anything, the client stays as it is.

    Attributes:
        current: what holds now.
    """

    def __init__(self, client: Client, record: ServiceRecord) -> None:
        self.current = settings_of(client)
        self._client = client
        self._record = record
        self._scheduled: bool | None = None

    def configure(self, configured: Mapping[str, Any]) -> None:
        """Take over what the configuration says."""
        kept = kept_changes(self._record, configured)
        self._record.configured, self._record.settings = dict(configured), kept
        self._take({**configured, **kept})
        if self._client.port is not None:
            self._listen_on(self.current.port)

    def change(self, changes: Mapping[str, Any]) -> None:
        """Change settings until the configuration says something else.

        Raises:
            OSError, ValueError: there can be no such port, and nothing is changed; see `Client.listen_on`.
        """
        self._listen_on(changes.get("port", 0))
        if changes.keys() & _SCHEDULE:
            self._scheduled = None
        self._record.settings = {**self._record.settings, **changes}
        self._take(changes)

    def follow_schedule(self, now: float) -> bool:
        """Let the slow rates hold or not, where the schedule says something else than at the last call: what the user
        has chosen meanwhile holds until then.

        Args:
            now: the time, in seconds since 1970.

        Returns:
            Whether that has changed.
        """
        settings, wanted = self.current, None
        if settings.has_schedule:
            local = time.localtime(now)
            # Of Sunday Python says 6, and a schedule 0.
            day, minute = (local.tm_wday + 1) % 7, local.tm_hour * 60 + local.tm_min
            wanted = is_slow_at(day, minute, settings.slow_begin, settings.slow_end, settings.slow_days)
        was, self._scheduled = self._scheduled, wanted
        if wanted is None or wanted in (was, settings.is_slow):
            return False
        self.change({"is_slow": wanted})
        return True

    def _listen_on(self, port: int) -> None:
        if port not in (0, self._client.port):
            self._client.listen_on(port)

    def _take(self, changes: Mapping[str, Any]) -> None:
        settings = self.current
        for name in changes.keys() & _NAMES:
            setattr(settings, name, changes[name])
        settings.download_dir = os.path.abspath(settings.download_dir)
        if settings.incomplete_dir:
            settings.incomplete_dir = os.path.abspath(settings.incomplete_dir)
        if settings.is_slow:
            self._client.set_limits(down=max(0, settings.slow_down), up=max(0, settings.slow_up))
        else:
            self._client.set_limits(down=settings.rate_down, up=settings.rate_up)
        self._client.max_connections = settings.max_connections
        self._client.default_trackers = settings.default_trackers
        if settings.encryption in get_args(EncryptionPolicy):
            self._client.encryption = cast("EncryptionPolicy", settings.encryption)
