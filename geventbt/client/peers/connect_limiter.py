"""Limits how fast a client opens connections: untrusted parties name the addresses, and must not be able to flood
others through us."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import gevent
from gevent.lock import BoundedSemaphore

from geventbt import limits


class ConnectLimiter:
    """Bounds the connections that are half open at one time, and those opened a second, over all torrents of a client.

    Args:
        half_open: connections that may be half open at one time.
        per_second: connections that may be opened in any second.
    """

    def __init__(self, half_open: int = limits.HALF_OPEN, per_second: int = limits.CONNECTS_PER_SECOND) -> None:
        self._half_open = BoundedSemaphore(half_open)
        self._recent: deque[float] = deque(maxlen=per_second)

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Block until a connection may be opened, and count it as half open until the `with` block ends."""
        with self._half_open:
            self._wait_for_turn()
            yield

    def _wait_for_turn(self) -> None:
        while len(self._recent) == self._recent.maxlen and monotonic() < self._recent[0] + 1:
            gevent.sleep(max(0.0, self._recent[0] + 1 - monotonic()))
        self._recent.append(monotonic())
