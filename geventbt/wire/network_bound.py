"""A bound on the connections of each network that one party can be taken to hold."""

from __future__ import annotations

from collections import Counter
from typing import Any

from geventbt.net.addresses import Scope, network_of, scope_of
from geventbt.wire.wire import Wire


class NetworkBound:
    """Counts the connections of each network; see `network_of`.

    Args:
        bound: connections of one network at a time; None for any number.
        exempts_loopback: whether this machine's own may be more.
    """

    def __init__(self, bound: int | None, *, exempts_loopback: bool) -> None:
        self._bound = bound
        self._exempts_loopback = exempts_loopback
        self._counts: Counter[str] = Counter()
        self._of_wire: dict[Wire, str] = {}

    def has_room(self, address: Any) -> bool:
        """Whether one more may come from the address of a socket."""
        if self._bound is None or not isinstance(address, tuple):
            return True
        if self._exempts_loopback and scope_of(address[0]) is Scope.LOOPBACK:
            return True
        return self._counts[network_of(address[0])] < self._bound

    def add(self, wire: Wire) -> None:
        """Count a connection."""
        host = wire.remote_address[0]
        if self._bound is not None and host:
            network = self._of_wire[wire] = network_of(host)
            self._counts[network] += 1

    def discard(self, wire: Wire) -> None:
        """Count it no longer."""
        network = self._of_wire.pop(wire, None)
        if network is not None:
            self._counts[network] -= 1
            if not self._counts[network]:
                del self._counts[network]
