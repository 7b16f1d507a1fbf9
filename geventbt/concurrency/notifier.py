"""A change that many may wait for, again and again."""

from __future__ import annotations

from gevent.event import Event


class Changes:
    """Wakes all that wait for the next change. Unlike an `Event` that is set and has to be cleared, it never lets
    anybody spin who looks, sees that it was not the change wanted, and waits again."""

    def __init__(self) -> None:
        self._next = Event()

    def notify(self) -> None:
        """Something has changed."""
        event, self._next = self._next, Event()
        event.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the next change. Returns False if there was none in `timeout` seconds."""
        return bool(self._next.wait(timeout))
