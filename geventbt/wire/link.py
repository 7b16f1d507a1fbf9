"""What the parts of one wire share: its protocol, its transport, and whether it is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from gevent.hub import Waiter

from geventbt.arguments import check_seconds
from geventbt.concurrency.flow import FlowControl
from geventbt.concurrency.hubs import is_current
from geventbt.errors import WireClosed, WireTimeout
from geventbt.net.addresses import address_text
from geventbt.protocol.connection import PeerProtocol
from geventbt.wire.timer import CoarseTimer
from geventbt.wire.transports.base import Transport


class Link:
    """The shared state of a wire's parts.

    Args:
        transport: carries the bytes.
        protocol: their meaning.
        flow: pauses the reader.
        timer: of the wire.

    Attributes:
        hub: the hub of the native thread that made the wire.
        closed: whether the wire is closed.
        close_reason: the error that closed it, if it was one.
    """

    __slots__ = ("close_reason", "closed", "flow", "hub", "protocol", "timer", "transport")

    def __init__(
        self, hub: Any, transport: Transport, protocol: PeerProtocol, flow: FlowControl, timer: CoarseTimer
    ) -> None:
        self.hub = hub
        self.transport = transport
        self.protocol = protocol
        self.flow = flow
        self.timer = timer
        self.closed = False
        self.close_reason: Exception | None = None

    def __str__(self) -> str:
        return address_text(self.transport.remote_address)

    def check_thread(self) -> None:
        """Raise RuntimeError in another native thread than the wire's."""
        if not is_current(self.hub):
            raise RuntimeError("a wire can only be used in the native thread and process that made it")

    def check_usable(self) -> None:
        """Raise RuntimeError in another native thread, WireClosed when the wire is closed."""
        self.check_thread()
        if self.closed:
            raise self.closed_error()

    def closed_error(self) -> WireClosed:
        """The error for calls on a closed wire; its ``__cause__`` is the reason."""
        reason = self.close_reason
        error = WireClosed(f"the wire to {self} is closed" + (f": {reason}" if reason else ""))
        error.__cause__ = reason
        return error

    def send(self, send: Callable[..., Any], *args: Any) -> None:
        """Call a `send_...` of the protocol, and flush what it has put into `outgoing`."""
        self.check_usable()
        send(*args)
        if self.protocol.outgoing:
            self.transport.flush_soon()

    def soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function in the hub, the only place from which a Waiter may be switched to."""
        self.hub.loop.run_callback(function, *args)

    def wait(self, waiter: Waiter, timeout: float | None, expired: str) -> Any:
        """The value of a waiter.

        Args:
            waiter: to wait for.
            timeout: seconds, or None.
            expired: the beginning of the error's text, such as "not unchoked".

        Raises:
            WireTimeout: after `timeout`.
        """
        if timeout is None:
            return self.flow.wait(waiter)
        check_seconds(timeout=timeout)
        timer = gevent.Timeout.start_new(timeout)
        try:
            return self.flow.wait(waiter)
        except gevent.Timeout as raised:
            if raised is timer:
                raise WireTimeout(f"{expired} within {timeout:g} s") from None
            raise
        finally:
            timer.close()
