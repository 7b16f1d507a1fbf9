"""The banned peers of a torrent. Pure.

No honest peer is to be banned for what another one sent, and a host is not a peer: many share the address of their
provider's or university's router, and several clients one machine. So a ban is of what a single peer has: the host and
port that we connected to, or at which an inbound peer says that it listens; and of an inbound one its host with its
peer id, as its port changes. A liar could take a new id or a new port each time: after `limits.BANS_OF_HOST` bans of a
host (of IPv6, a /64) no peer is accepted from there any more, and no other address of it on the internet is added
unless the user names it. Those that we are connected to, or know already, stay.
"""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

from geventbt import limits
from geventbt.net.addresses import Address, network_of, normalise

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Bans:
    """The banned peers of one torrent, the last `limits.BANNED` of them."""

    __slots__ = ("_banned", "_of_host")

    def __init__(self) -> None:
        self._banned: dict[tuple[str, int | bytes], None] = {}
        self._of_host: Counter[str] = Counter()

    def add(self, address: object, peer_id: bytes | None = None) -> None:
        """Ban a peer.

        Args:
            address: where the peer was connected to, or said that it listens; the port of an inbound connection is
                not an address.
            peer_id: of an inbound peer: on this host it is refused as well.
        """
        known = normalise(address)
        if known is None:
            return
        if not self.has(known, peer_id):
            self._of_host[network_of(known[0])] += 1
            _bound(self._of_host)
        for key in _keys(known, peer_id):
            self._banned[key] = None
        _bound(self._banned)

    def exclude(self, address: object) -> None:
        """Ban an address that is not to be connected to for no fault of a peer's: it is our own."""
        known = normalise(address)
        if known is not None:
            self._banned[known] = None
            _bound(self._banned)

    def lift(self, address: object, peer_id: bytes | None = None) -> None:
        """Take a ban back: the torrent was wrong, and not the peer (see `Blame.parked`)."""
        known = normalise(address)
        if known is None:
            return
        network = network_of(known[0])
        if self._of_host[network] and self.has(known, peer_id):
            self._of_host[network] -= 1
        for key in _keys(known, peer_id):
            self._banned.pop(key, None)

    def has(self, address: object, peer_id: bytes | None = None) -> bool:
        """Whether a peer is banned: its address, or its peer id on that host.

        Args:
            address: where it listens, or what an inbound connection comes from.
            peer_id: of an inbound peer, once it is known.
        """
        known = normalise(address)
        return known is not None and any(key in self._banned for key in _keys(known, peer_id))

    def has_host(self, host: str) -> bool:
        """Whether `limits.BANS_OF_HOST` peers of a host were banned, so that others are not accepted from there."""
        return self._of_host.get(network_of(host), 0) >= limits.BANS_OF_HOST


def _keys(address: Address, peer_id: bytes | None) -> list[tuple[str, int | bytes]]:
    host, _ = address
    return [address] if peer_id is None else [address, (host, peer_id)]


def _bound(bans: dict[_Key, _Value]) -> None:
    while len(bans) > limits.BANNED:
        del bans[next(iter(bans))]
