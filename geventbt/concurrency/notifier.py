"""A broadcast condition: one greenlet notifies, all waiting greenlets wake."""

from __future__ import annotations

from gevent.event import Event


class Notifier:
    """Wakes every greenlet that waits for the next notification.

    Unlike an `Event`, which has to be cleared, it needs no reset: a greenlet that is woken, finds that the change was
    not the one it needs, and waits again, sleeps until the next notification.
    """

    def __init__(self) -> None:
        self._next = Event()

    def notify(self) -> None:
        """Wake every greenlet that waits now."""
        event, self._next = self._next, Event()
        event.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the next notification.

        Args:
            timeout: seconds, or None to wait without limit.

        Returns:
            False if the timeout passed first.
        """
        return bool(self._next.wait(timeout))
