"""Our own address as the nodes that answer us see it (BEP 42). Pure."""

from __future__ import annotations

from collections import Counter

from geventbt import limits
from geventbt.discovery.dht.contacts import host_of
from geventbt.net.addresses import Address


class OwnAddress:
    """Counts what nodes say; each network has one vote, and the last few networks count.

    Attributes:
        host: our IP address; None as long as too few agree.
    """

    def __init__(self, host: str | None = None) -> None:
        self.host = host
        self._votes: dict[bytes, str] = {}

    def vote(self, voter: Address, seen: Address) -> bool:
        """A node says where our query came from. Returns whether `host` has changed.

        Only nodes of the internet have a vote, and only about addresses of the internet.
        """
        network = host_of(voter[0])
        if not network.is_global or not host_of(seen[0]).is_global:
            return False
        self._votes.pop(network.network, None)
        self._votes[network.network] = seen[0]
        if len(self._votes) > 4 * limits.DHT_VOTES:
            del self._votes[next(iter(self._votes))]
        host, votes = Counter(self._votes.values()).most_common(1)[0]
        is_agreed = votes >= limits.DHT_VOTES and votes >= limits.DHT_AGREEMENT * len(self._votes)
        if not is_agreed or host == self.host:
            return False
        self.host = host
        return True
