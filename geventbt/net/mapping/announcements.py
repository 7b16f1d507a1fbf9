"""What a router says by itself, to all of its network: that it has been started anew, or has another address.

By RFC 6886 (3.2.1) and RFC 6887 (14.1) it sends that some times over, to port 5350 of the group of all hosts. A forged
one can make us renew our mappings, and no more than that.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Protocol

from geventbt.net.addresses import Address
from geventbt.net.datagrams import DatagramReceiver
from geventbt.net.interface import Interface
from geventbt.net.mapping import nat_pmp, pcp
from geventbt.net.udp_socket import UdpSocket

PORT = 5350
_SLACK = 2.0
_SLOWEST = 7 / 8
"""What a router's clock may lag behind ours (RFC 6886, 3.6)."""


class RouterClock:
    """The seconds since a router was started, as it says: they go back when it has forgotten its mappings. Pure."""

    def __init__(self) -> None:
        self._started_before: tuple[int, float] | None = None

    def has_restarted(self, seconds: int, now: float) -> bool:
        """Whether the router was started anew since it said its seconds before; what it says first counts as such."""
        before, self._started_before = self._started_before, (seconds, now)
        if before is None:
            return True
        return seconds + _SLACK < before[0] + (now - before[1]) * _SLOWEST


class Renewer(Protocol):
    """Renews mappings: a `PortMapper`."""

    def renew(self) -> None:
        """Do it soon. Must not block."""


class RouterAnnouncements(DatagramReceiver):
    """Hears what a router says by itself, and has the mappings renewed; a `DatagramReceiver`.

    Args:
        gateway: the IPv4 address of the router.
        renewer: renews the mappings.
        interface: the one that is used, or None.
        port: on which it is heard.
        now: the monotonic clock, in seconds.

    Raises:
        OSError: another program has the port for itself.
    """

    def __init__(
        self,
        gateway: str,
        renewer: Renewer,
        interface: Interface | None = None,
        *,
        port: int = PORT,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._gateway = gateway
        self._renewer = renewer
        self._now = now
        self._clock = RouterClock()
        self._host: str | None = None
        device = interface if interface is not None and interface.device is not None else None
        self._socket = UdpSocket(("", port), self, shared=True, interface=device)

    @property
    def port(self) -> int:
        """The port on which it is heard."""
        return self._socket.address[1]

    def receive(self, data: bytes, address: Address) -> None:
        """Take a datagram; see `DatagramReceiver`."""
        if address[0] != self._gateway:
            return
        found = pcp.parse_announcement(data)
        host = self._host
        if found is None:
            known = nat_pmp.parse_announcement(data)
            if known is None:
                return
            found, host = known
        has_moved, self._host = host != self._host, host
        if self._clock.has_restarted(found, self._now()) or has_moved:
            self._renewer.renew()

    def close(self) -> None:
        """Hear no more."""
        self._socket.leave(self)
