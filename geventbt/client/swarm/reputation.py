"""What the sources of a torrent are known for: the good pieces that they gave, trust, bans and forgiveness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from time import monotonic

from geventbt import limits
from geventbt.client.peers.known_peers import KnownPeers, Source
from geventbt.client.swarm.source import BlockSource
from geventbt.net.addresses import Address
from geventbt.wire.wire import Wire

MAX_TRUST, WRONG_PIECE_COST = 8, 2
"""The most that good pieces can earn a source, one each, and what a wrong piece costs it (as in libtorrent)."""
MIN_SOLE_TRUST = -8 * WRONG_PIECE_COST
"""The trust below which the only source is banned as well: eight wrong pieces and no good one."""


class Reputation:
    """The good and the bad that sources of one torrent did. It outlives their connections, and pauses.

    Args:
        known: the addresses of peers, which are not connected to again while they are banned.
        now: the monotonic clock, in seconds.

    Attributes:
        served: the bytes of verified pieces from each peer that we connected to, by its address.
    """

    def __init__(self, known: KnownPeers, *, now: Callable[[], float] = monotonic) -> None:
        self._known = known
        self._now = now
        self.served: dict[Address, int] = {}
        self._banned: dict[Address, None] = {}

    @property
    def banned(self) -> set[Address]:
        """The addresses of peers that sent wrong data, the last `limits.BANNED` of them."""
        return set(self._banned)

    @property
    def has_banned(self) -> bool:
        """Whether any peer is banned."""
        return bool(self._banned)

    @property
    def has_served(self) -> bool:
        """Whether any peer that we connected to has given a good piece."""
        return any(self.served.values())

    def credit(self, senders: Sequence[BlockSource], size: int) -> None:
        """Note who has sent a good piece.

        Args:
            senders: the source of each of its blocks.
            size: its length in bytes.
        """
        missing_at_end = len(senders) * limits.BLOCK - size
        for sender, blocks in Counter(senders).items():
            sender.trust = min(sender.trust + 1, MAX_TRUST)
            if sender.address is not None:
                share = blocks * limits.BLOCK - (missing_at_end if sender is senders[-1] else 0)
                self.served[sender.address] = self.served.get(sender.address, 0) + share

    def spares(self, sender: BlockSource, *, is_only_one: bool, is_proven: bool = False) -> bool:
        """Whether a source that sent a wrong piece gets the benefit of the doubt, for the good ones it gave before, or
        as the only one that there is.

        It may be the torrent that is wrong, and the only seed that is left. When another source sends the piece right,
        there is no doubt.

        Args:
            sender: the source.
            is_only_one: whether no other has anything that is missing.
            is_proven: whether the hash of a block shows that it sent a wrong one: then only the last one is kept.
        """
        sender.trust -= WRONG_PIECE_COST
        if is_proven and not is_only_one:
            return False
        return sender.trust >= (MIN_SOLE_TRUST if is_only_one else 0)

    def ban(self, guilty: Iterable[BlockSource]) -> None:
        """Never connect to these peers again, nor accept them."""
        for source in guilty:
            # Where an inbound peer says that it listens, another may: it is not banned for it.
            if source.remote_address is not None:
                self._known.ban(source.remote_address, source.peer_id)
                self._banned[source.remote_address] = None
                if len(self._banned) > limits.BANNED:
                    del self._banned[next(iter(self._banned))]

    def refuses(self, wire: Wire) -> bool:
        """Whether a connection is refused: its peer is banned, or it is inbound and too many of its host are."""
        if self._known.bans.has(wire.remote_address, wire.peer_id):
            return True
        return wire.type == "incoming" and self._known.bans.has_host(wire.remote_address[0])

    def forgive(self, forgiven: Iterable[BlockSource]) -> None:
        """Take bans back: the torrent was wrong, and not the peer."""
        for source in forgiven:
            if source.remote_address is None:
                continue
            self._known.bans.lift(source.remote_address, source.peer_id)
            self._banned.pop(source.remote_address, None)
            if source.address is not None:
                # However it became known: we had connected to it.
                self._known.add(source.address, Source.USER, self._now())
