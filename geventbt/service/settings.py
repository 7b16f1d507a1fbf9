"""Settings of a session: what its configuration says, and what was changed while it ran."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from geventbt.client.client import Client
from geventbt.service.record import ServiceRecord, Settings

_NAMES = frozenset(field.name for field in fields(Settings) if field.name != "others")


class LiveSettings:
    """Settings that hold in a client at once.

    What was changed while the session ran holds on, also in the next run, until the configuration says something else
    than it did then.

    Args:
        client: the client.
        record: what is kept of the session.
        defaults: where neither says anything.

    Attributes:
        current: what holds now.
    """

    def __init__(self, client: Client, record: ServiceRecord, defaults: Settings) -> None:
        self.current = defaults
        self._client = client
        self._record = record

    def configure(self, configured: Mapping[str, Any]) -> None:
        """Take over what the configuration says."""
        before, changed = self._record.configured, self._record.settings
        kept = {name: value for name, value in changed.items() if configured.get(name) == before.get(name)}
        self._record.configured, self._record.settings = dict(configured), kept
        self._take({**configured, **kept})

    def change(self, changes: Mapping[str, Any]) -> None:
        """Change settings until the configuration says something else."""
        self._record.settings = {**self._record.settings, **changes}
        self._take(changes)

    def _take(self, changes: Mapping[str, Any]) -> None:
        settings = self.current
        for name in changes.keys() & _NAMES:
            setattr(settings, name, changes[name])
        settings.download_dir = os.path.abspath(settings.download_dir)
        if settings.is_slow:
            self._client.set_limits(down=max(1, settings.slow_down), up=max(1, settings.slow_up))
        else:
            down = max(1, settings.limit_down) if settings.limits_down else None
            up = max(1, settings.limit_up) if settings.limits_up else None
            self._client.set_limits(down=down, up=up)
        self._client.max_connections = settings.max_connections
