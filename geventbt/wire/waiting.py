"""Blocking a greenlet until something is true of the peer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from gevent.hub import Waiter

from geventbt import limits
from geventbt.errors import RemoteProtocolError, WireClosed, WireTimeout
from geventbt.wire.state import WireState


class WireWaits(WireState):
    """The waits of a wire. Each ends: with what was waited for, with its timeout, or with the wire."""

    __slots__ = ()

    def wait_unchoked(self, timeout: float | None = None) -> None:
        """Block until the peer does not choke us. Raises WireTimeout after `timeout` seconds."""
        self._wait_until(lambda: not self._protocol.peer_choking, timeout)

    def wait_drained(self, timeout: float | None = None) -> None:
        """Block while more is queued to the peer than the high-water mark of 1 MiB.

        Raises WireTimeout after `timeout`.
        """
        self._check_thread()
        if self._transport.queued > limits.HIGH_WATER:
            self._wait_until(lambda: self._transport.queued <= limits.HIGH_WATER // 2, timeout)
            # A closed wire has nothing queued either.
            self._check_usable()

    def wait_for_piece(self, piece: int, timeout: float | None = None) -> None:
        """Block until the peer has told that it has this piece. Raises WireTimeout after `timeout` seconds."""
        self._wait_until(lambda: piece in self._protocol.peer_pieces, timeout)

    def wait_for(self, signal_name: str, timeout: float | None = None) -> dict[str, Any]:
        """Block until the next signal of that name.

        Args:
            signal_name: such as "have"; see `geventbt.signals`.
            timeout: seconds, or None to wait as long as the wire is open.

        Returns:
            The signal's fields.

        Raises:
            WireTimeout: when it did not come in time.
            LookupError: if there is no such signal.
        """
        self._check_usable()
        self._events.own(signal_name)
        waiter: Waiter[Any] = Waiter()
        entry = (signal_name, waiter)
        self._signal_waits.append(entry)
        try:
            fields = self._get(waiter, timeout, f"no {signal_name!r} from the peer")
        finally:
            if entry in self._signal_waits:
                self._signal_waits.remove(entry)
        if fields is None:
            raise WireClosed("the wire was closed") from self._close_reason
        return fields

    def _wait_until(self, condition: Callable[[], bool], timeout: float | None) -> None:
        """Block until a condition that messages or the end of the wire can change is true."""
        self._check_thread()
        if condition() and not self._closed:
            return
        self._check_usable()
        waiter: Waiter[None] = Waiter()
        entry = (condition, waiter)
        self._conditions.append(entry)
        try:
            self._get(waiter, timeout, "the peer did not do in time what was waited for")
        finally:
            if entry in self._conditions:
                self._conditions.remove(entry)
        if self._closed and not condition():
            self._raise_closed()

    def _raise_closed(self) -> None:
        reason = self._close_reason
        if isinstance(reason, (RemoteProtocolError, WireTimeout)) and not self._protocol.established:
            # While shaking hands the reason says more than that the wire is closed.
            raise reason
        raise WireClosed("the wire was closed") from reason

    def _get(self, waiter: Waiter, timeout: float | None, text: str) -> Any:
        if timeout is None:
            return self._flow.wait(waiter)
        timer = gevent.Timeout.start_new(timeout)
        try:
            return self._flow.wait(waiter)
        except gevent.Timeout as raised:
            if raised is timer:
                raise WireTimeout(f"{text} within {timeout:g} seconds") from None
            raise
        finally:
            timer.close()
