"""Who sent the bad block of a piece that failed its hash. Pure.

A failed piece says that one of its blocks is wrong, and not which. If all came from one peer, that peer is guilty.
Otherwise a short digest of each block is kept with its sender until a good copy of the piece has come; whose blocks
differ from it sent bad data, and whoever only shared the piece is never named. libtorrent's `smart_ban` does the same.

The torrent may be wrong, too: then every peer's piece fails. Once peers of three networks have each sent a whole piece
in vain it is parked: nobody more is blamed for it, and those are to be forgiven. One liar can have many ports, and many
addresses of one IPv6 network, so peers are counted by that. Should a good copy come all the same, the
torrent was right, and all that differ from it are named.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from hashlib import blake2b
from threading import Lock
from typing import Generic, TypeAlias, TypeVar

from geventbt import limits

Buffer: TypeAlias = "bytes | bytearray | memoryview"
K = TypeVar("K", bound=Hashable)

_DIGEST = 8
"""Bytes: a peer would have to find a block that collides under a salt that it does not know."""


class Blame(Generic[K]):
    """The failed pieces of a torrent, and who sent what of them.

    A sender is any hashable that stands for a peer, such as its address; None is nobody, for blocks that were on disk.
    Bounded by `limits.BLAMED_PIECES` and `BLAMED_BLOCKS`: the oldest piece is forgotten, and its senders go free.

    Both methods hash all of a piece, so they are best called in another thread. They may be, by several at once.

    Args:
        network_of: what a sender is counted by where it is to be told whether many or one are behind a failure.
    """

    def __init__(self, network_of: Callable[[K], Hashable] = lambda sender: sender) -> None:
        self._network_of = network_of
        self._salt = os.urandom(16)
        # Held for the books alone, never while a piece is hashed: the event loop may wait for it.
        self._lock = Lock()
        self._records: OrderedDict[int, set[tuple[int, K | None, bytes]]] = OrderedDict()
        self._record_count = 0
        self._sole: OrderedDict[int, dict[Hashable, set[K]]] = OrderedDict()

    def __contains__(self, piece: object) -> bool:
        """Whether a good copy of a piece would tell anything."""
        return piece in self._records

    @property
    def parked(self) -> Mapping[int, frozenset[K]]:
        """The pieces at which the torrent itself is probably wrong, and the sole senders of each: those are to be
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
            blocks: (offset, sender, data) of each of its blocks; all of them, or a peer that sent some is taken for
                its only sender.

        Returns:
            The sender of the whole piece, if it was a single peer: it is guilty. Nobody for a parked piece, nor for
            the one with which it becomes parked.
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
        """Compare a piece whose hash was right with what is remembered of it, and forget it.

        Args:
            piece: its index.
            blocks: (offset, data) of its blocks, cut as they were before.

        Returns:
            All senders of a block that differs: they are guilty.
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
        """Keep records, those of a peer that sends the same again but once, and forget the oldest for them."""
        both = records | self._forget(piece)
        # Of one piece alone, more than there is room for: the new ones are kept.
        kept = both if len(both) <= limits.BLAMED_BLOCKS else records
        self._records[piece] = kept
        self._record_count += len(kept)
        while len(self._records) > limits.BLAMED_PIECES or self._record_count > limits.BLAMED_BLOCKS:
            self._forget(next(iter(self._records)))

    def _forget(self, piece: int) -> set[tuple[int, K | None, bytes]]:
        records = self._records.pop(piece, set())
        self._record_count -= len(records)
        return records
