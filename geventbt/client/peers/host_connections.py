"""Bounds the connections to web seeds of one host, over all torrents of a client. Pure."""

from __future__ import annotations

from collections import Counter

from geventbt import limits


class HostConnections:
    """Counts connections by host: a `ConnectionLimit`.

    Args:
        most: connections to one host at one time.
    """

    def __init__(self, most: int = limits.HOST_CONNECTIONS) -> None:
        self._most = most
        self._counts: Counter[str] = Counter()

    def has_room(self, host: str) -> bool:
        """Whether there may be one more connection to a host."""
        return self._counts[host] < self._most

    def take(self, host: str) -> bool:
        """Count one more connection. Returns False if there are too many already."""
        if not self.has_room(host):
            return False
        self._counts[host] += 1
        return True

    def give_back(self, host: str) -> None:
        """Count one less."""
        self._counts[host] -= 1
        if not self._counts[host]:
            del self._counts[host]
