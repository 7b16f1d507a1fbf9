"""The addresses at which a client would connect to itself. Pure."""

from __future__ import annotations

from geventbt import limits
from geventbt.net.addresses import Address


class OwnAddresses:
    """Where we listen, as was seen when we had connected to ourselves; the last `limits.OWN_ADDRESSES` of them."""

    def __init__(self) -> None:
        self._known: dict[Address, None] = {}
        self._origins: dict[Address, None] = {}

    def __contains__(self, address: Address) -> bool:
        return address in self._known

    def clear(self) -> None:
        """Forget them: we listen elsewhere from now on."""
        self._known.clear()

    def add(self, address: Address) -> None:
        """Note that an address is one of ours."""
        _remember(self._known, address)

    def note_origin(self, origin: Address) -> None:
        """Note that our own peer id has come with an inbound connection from this address: it is one of ours."""
        _remember(self._origins, origin)

    def has_led_here(self, address: Address, local_address: Address) -> bool:
        """Whether a connection that we have opened has led to ourselves; then its address is one of our own.

        Args:
            address: what was connected to.
            local_address: our end of the connection.
        """
        # A uTP connection comes from where we listen, and its local address may be that of all interfaces.
        for origin in (local_address, address):
            if origin in self._origins:
                del self._origins[origin]
                self.add(address)
        return address in self


def _remember(addresses: dict[Address, None], address: Address) -> None:
    addresses[address] = None
    if len(addresses) > limits.OWN_ADDRESSES:
        del addresses[next(iter(addresses))]
