"""The one coarse timer of a wire."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from geventbt.concurrency.timers import delay_until

_NEVER = float("inf")
_LATE = 0.5
"""Seconds by which a timer may be late before the hub counts as having been held up."""


class CoarseTimer:
    """A timer that is set to the next thing due, whatever that is, rather than one timer for each.

    Args:
        hub: the hub of the wire.
        on_due: called in the hub; it arms the timer again.

    Attributes:
        at: the `time.monotonic` at which it fires.
    """

    __slots__ = ("_hub", "_on_due", "_watcher", "at")

    def __init__(self, hub: Any, on_due: Callable[[], None]) -> None:
        self._hub = hub
        self._on_due = on_due
        self._watcher: Any = None
        self.at = _NEVER

    def arm(self, at: float) -> None:
        """Fire at this time, in place of any other."""
        self.disarm()
        self.at = at
        self._watcher = self._hub.loop.timer(delay_until(at, monotonic()))
        self._watcher.start(self._fire)

    def arm_by(self, at: float) -> None:
        """Fire at this time, unless it fires earlier already."""
        if at < self.at:
            self.arm(at)

    def disarm(self) -> None:
        """Do not fire."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None

    def _fire(self) -> None:
        now = monotonic()
        if now > self.at + _LATE:
            # The hub was held up: read what the peer has sent meanwhile before anything is declared late.
            self.arm(now)
        else:
            self._on_due()
