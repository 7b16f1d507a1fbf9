"""Greenlets that wait until something is true of a wire."""

from __future__ import annotations

from collections.abc import Callable

from gevent.hub import Waiter

from geventbt.errors import RemoteProtocolError, WireClosed, WireTimeout
from geventbt.wire.link import Link


class Conditions:
    """The conditions that greenlets wait for, checked after each batch of messages.

    Args:
        link: of the wire.
    """

    __slots__ = ("_link", "_waiting")

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waiting: list[tuple[Callable[[], bool], Waiter[None]]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def wait_until(self, condition: Callable[[], bool], timeout: float | None, expired: str) -> None:
        """Block until a condition is true that messages, or the end of the wire, can change.

        Args:
            condition: cheap, and without side effects; called in the hub too.
            timeout: seconds, or None to wait as long as the wire is open.
            expired: the beginning of the error's text, such as "not unchoked".

        Raises:
            WireTimeout: after `timeout`.
            WireClosed: the wire is closed, and the condition is not true.
        """
        link = self._link
        link.check_thread()
        if condition() and not link.closed:
            return
        link.check_usable()
        waiter: Waiter[None] = Waiter()
        entry = (condition, waiter)
        self._waiting.append(entry)
        try:
            link.wait(waiter, timeout, expired)
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
        if link.closed and not condition():
            self._raise_closed()

    def _raise_closed(self) -> None:
        reason = self._link.close_reason
        if isinstance(reason, (RemoteProtocolError, WireTimeout, WireClosed)) and not self._link.protocol.established:
            # During the handshake the reason itself says more.
            raise reason
        raise self._link.closed_error()

    def check(self) -> None:
        """Wake the greenlets whose condition is true, or will never be because the wire is closed."""
        for entry in list(self._waiting):
            condition, waiter = entry
            if self._link.closed or condition():
                self._waiting.remove(entry)
                self._link.soon(waiter.switch, None)

    def check_soon(self) -> None:
        """`check`, in the hub."""
        if self._waiting:
            self._link.soon(self.check)
