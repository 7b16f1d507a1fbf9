"""Detection of the peer that sent the bad block of a piece that failed its hash. Pure.

A failed hash means that a block of the piece is wrong, and not which. If all came from one peer, that peer is guilty.
Otherwise a short digest of each block is kept with its sender until a good copy of the piece arrives. A peer
whose block differs from it sent bad data; a peer whose blocks are the same is innocent. libtorrent's `smart_ban` does
the same.

The torrent may be wrong, too: then the piece fails from every peer. Once peers of three networks have each sent the
whole piece in vain it is parked: no further peer is blamed for it, and those are to be forgiven. Peers are counted by
network, since one liar can have many ports, and many addresses of one IPv6 network. If a good copy arrives all the
same, the torrent was right, and every peer whose block differs is guilty.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from hashlib import blake2b
from threading import Lock
from typing import Generic, TypeAlias, TypeVar

from geventbt import limits

Buffer: TypeAlias = bytes | bytearray | memoryview
K = TypeVar("K", bound=Hashable)

_DIGEST = 8
"""Bytes. Enough: a peer would have to find a collision under a salt that it does not know."""


class Blame(Generic[K]):
    """The failed pieces of a torrent, with a digest and the sender of each block.

    A sender is any hashable that identifies a peer, such as its address; None for blocks that were on disk. Bounded by
    `limits.BLAMED_PIECES` and `BLAMED_BLOCKS`: the oldest piece is forgotten first.

    `piece_failed` and `piece_good` hash a whole piece, and are meant for native threads; they are thread-safe.

    Args:
        network_of: the network of a sender; the sole senders of one network count as one.
    """

    def __init__(self, network_of: Callable[[K], Hashable] = lambda sender: sender) -> None:
        self._network_of = network_of
        self._salt = os.urandom(16)
        # Held for the records only, never while a piece is hashed: the event loop may wait for it.
        self._lock = Lock()
        self._records: OrderedDict[int, set[tuple[int, K | None, bytes]]] = OrderedDict()
        self._record_count = 0
        self._sole: OrderedDict[int, dict[Hashable, set[K]]] = OrderedDict()

    def __contains__(self, piece: object) -> bool:
        """Whether the blocks of a piece are remembered, so that a good copy can be compared."""
        return piece in self._records

    @property
    def parked(self) -> Mapping[int, frozenset[K]]:
        """The pieces for which the torrent itself is probably wrong, with the sole senders of each, which are to be
        forgiven. Such a piece is best left until nothing else is missing."""
        with self._lock:
            parked = [networks for networks in self._sole.items() if len(networks[1]) >= limits.SOLE_SOURCES]
            return {piece: frozenset().union(*networks.values()) for piece, networks in parked}

    def is_parked(self, piece: int) -> bool:
        """Whether a piece is one of `parked`."""
        return len(self._sole.get(piece, ())) >= limits.SOLE_SOURCES

    def piece_failed(self, piece: int, blocks: Iterable[tuple[int, K | None, Buffer]]) -> set[K]:
        """Remember a piece whose hash was wrong.

        Args:
            piece: its index.
            blocks: (offset, sender, data) of each of its blocks. All of them: the sender is taken to be the only one
                if all these have the same.

        Returns:
            The guilty peer, if a single one sent the whole piece. Empty for a parked piece, and for the failure that
            makes it parked.
        """
        records = {(offset, sender, self._digest(data)) for offset, sender, data in blocks}
        senders = {sender for _, sender, _ in records}
        sole = senders.pop() if len(senders) == 1 else None
        with self._lock:
            self._remember(piece, records)
            if sole is None or self.is_parked(piece):
                return set()
            senders_there = self._sole.setdefault(piece, {}).setdefault(self._network_of(sole), set())
            if len(senders_there) < limits.SOLE_SENDERS:
                senders_there.add(sole)
            if len(self._sole) > limits.SOLE_PIECES:
                self._sole.popitem(last=False)
            return set() if self.is_parked(piece) else {sole}

    def piece_good(self, piece: int, blocks: Iterable[tuple[int, Buffer]]) -> set[K]:
        """Compare a piece whose hash was right with its remembered blocks, and forget those.

        Args:
            piece: its index.
            blocks: (offset, data) of its blocks, cut as they were before.

        Returns:
            The guilty peers: all senders of a block that differs.
        """
        with self._lock:
            self._sole.pop(piece, None)
            records = self._forget(piece)
        good = {offset: self._digest(data) for offset, data in blocks} if records else {}
        return {
            sender for offset, sender, digest in records if sender is not None and good.get(offset, digest) != digest
        }

    def _digest(self, data: Buffer) -> bytes:
        return blake2b(data, digest_size=_DIGEST, key=self._salt).digest()

    def _remember(self, piece: int, records: set[tuple[int, K | None, bytes]]) -> None:
        """Keep records, equal ones once, and forget the oldest pieces to make room."""
        both = records | self._forget(piece)
        # Where the records of one piece exceed the bound, the new ones are kept.
        kept = both if len(both) <= limits.BLAMED_BLOCKS else records
        self._records[piece] = kept
        self._record_count += len(kept)
        while len(self._records) > limits.BLAMED_PIECES or self._record_count > limits.BLAMED_BLOCKS:
            self._forget(next(iter(self._records)))

    def _forget(self, piece: int) -> set[tuple[int, K | None, bytes]]:
        records = self._records.pop(piece, set())
        self._record_count -= len(records)
        return records
