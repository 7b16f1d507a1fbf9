"""Whether the uplink has room for more connections to be sent to, by those that are. Pure.

Theory. All connections share the uplink, so that where one of them meets no queue on its way there is none in front of
the uplink. A round trip tells of that only while it is measured: one that was sent little, or nothing for a while, has
an old one, as the system follows it by eighths with each acknowledgement.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geventbt import limits
from geventbt.net.tcp_path import TcpPath

NO_QUEUE = 0.05
"""Seconds in queues of the network that are as good as none."""
_TELLING = limits.BLOCK
"""Bytes that must have been acknowledged since the last look: after eleven packets most of the round trip is new."""


class FreePath:
    """Looks at the connections of one torrent that are sent to."""

    def __init__(self) -> None:
        self._acknowledged: dict[object, int] = {}

    def look(self, paths: Mapping[Any, TcpPath]) -> bool:
        """Whether one of them is sent something, and meets no queue; to be called several times a second.

        Args:
            paths: those of TCP, by any keys.
        """
        before = self._acknowledged
        self._acknowledged = {key: path.acknowledged for key, path in paths.items()}
        return any(
            path.queue_time < NO_QUEUE and path.acknowledged - before.get(key, path.acknowledged) >= _TELLING
            for key, path in paths.items()
        )
