"""Which datagrams are read at all: the limits against floods, which cost little before a packet is decoded. Pure."""

from __future__ import annotations

from functools import lru_cache

from geventbt import limits
from geventbt.discovery.dht.contacts import host_of
from geventbt.net.addresses import Address
from geventbt.rates.allowances import Allowance, Allowances


class Gate:
    """Counts what comes from each network, and from all of them.

    Over a limit there is silence, for an error would be traffic as well.

    Args:
        now: the time.
    """

    def __init__(self, now: float) -> None:
        self._all = Allowance(limits.DHT_GLOBAL_RATE, limits.DHT_GLOBAL_BURST, now)
        self._sources: Allowances[object] = Allowances(
            limits.DHT_SOURCE_RATE, limits.DHT_SOURCE_BURST, limits.DHT_SOURCES
        )

    def admits(self, address: Address, size: int, now: float) -> bool:
        """Whether to read a packet of `size` bytes from an address that no answer is expected from."""
        # First by network, or a single one would use up what there is for all.
        source = _network_of(address[0]) or address
        weight = max(1.0, min(size, limits.DHT_PACKET) / limits.DHT_USUAL_PACKET)
        return self._sources.take(source, now) and self._all.take(now, weight)


@lru_cache(maxsize=8192)
def _network_of(host: str) -> bytes | None:
    """The network of a host of the internet; None for a local one, each of whose ports counts by itself."""
    facts = host_of(host)
    return facts.network if facts.is_global else None
