"""One open piece: for each block, the peers that it was requested from, and the sender once it has arrived."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from bitarray import bitarray
from bitarray.util import zeros

from geventbt.client.pieces.order import Shortlist
from geventbt.client.pieces.wanted import Wanted

K = TypeVar("K", bound=Hashable)
"""The key that identifies a peer to the caller."""


class Run(NamedTuple):
    """Consecutive blocks of a piece, each of `limits.BLOCK` bytes except perhaps the last one of the piece."""

    piece: int
    first: int
    blocks: int


class PickerPeer(Generic[K]):
    """The picker's state of one peer, which is identified by `key`."""

    __slots__ = (
        "cached_interesting_piece",
        "claimed",
        "count",
        "is_active",
        "key",
        "pieces",
        "shortlist",
        "sole_claim",
        "streams",
        "uninteresting_at",
        "working",
    )

    def __init__(self, key: K, size: int, *, streams: bool = False) -> None:
        self.key = key
        self.streams = streams
        """Whether it receives blocks straight into their place, which therefore no other source may be asked for."""
        self.pieces = zeros(size, "big")
        self.count = 0
        """The number of pieces that it has."""
        self.claimed = 0
        """The number of blocks requested from it that have neither arrived nor been given back."""
        self.sole_claim: tuple[PickerPeer[K], ...] = (self,)
        """The claimants of a block that was requested from this peer only: one object, compared by `is`."""
        self.working: dict[int, OpenPiece[K]] = {}
        """The open pieces of which blocks were ever requested from it."""
        self.is_active = False
        """Whether it has picked and not given back everything since, so that it is expected to pick again."""
        self.shortlist = Shortlist()
        self.cached_interesting_piece = -1
        """A missing piece that it has, found by the last search; -1 if none is known."""
        self.uninteresting_at = -1
        """The `Wanted.version` for which a search found no missing piece that it has; -1 before."""

    def is_interesting(self, wanted: Wanted) -> bool:
        """Whether it has a piece that is missing."""
        if self.cached_interesting_piece >= 0 and wanted.missing_pieces[self.cached_interesting_piece]:
            return True
        if self.uninteresting_at == wanted.version:
            return False
        self.cached_interesting_piece = (wanted.missing_pieces & self.pieces).find(1)
        if self.cached_interesting_piece < 0:
            self.uninteresting_at = wanted.version
        return self.cached_interesting_piece >= 0


class OpenPiece(Generic[K]):
    """A piece that was begun and is not verified. Each block is free, claimed by some peers, or received.

    Args:
        piece: its index.
        size: its length in bytes.
        blocks: its length in blocks.
        owner: the only peer from which its blocks may be requested; None for any peer.
    """

    __slots__ = ("blocks", "claims", "free", "free_count", "missing", "owner", "piece", "senders", "size", "workers")

    def __init__(self, piece: int, size: int, blocks: int, owner: PickerPeer[K] | None) -> None:
        self.piece = piece
        self.size = size
        self.blocks = blocks
        self.owner = owner
        self.free = bitarray([1], "big") * blocks
        self.free_count = blocks
        self.claims: dict[int, tuple[PickerPeer[K], ...]] = {}
        """The peers that each claimed block was requested from, in the order of the first claims."""
        self.senders: list[K | None] = [None] * blocks
        """The key of the peer that sent each received block."""
        self.missing = blocks
        """The number of blocks that have not been received."""
        self.workers: set[PickerPeer[K]] = set()
        """The peers from which a block was ever requested, and that have not left."""

    def may_claim(self, peer: PickerPeer[K]) -> bool:
        """Whether blocks of this piece may be requested from a peer."""
        return self.owner is None or self.owner is peer

    def is_stalled(self) -> bool:
        """Whether no block is requested, and no peer that worked on the piece is expected to go on."""
        if self.claims or not self.missing:
            return False
        return not any(worker.is_active and worker.pieces[self.piece] for worker in self.workers)

    def claim(self, peer: PickerPeer[K], count: int) -> list[Run]:
        """Claim the first free blocks for a peer, at most `count`."""
        runs = []
        while count > 0 and self.free_count:
            run = self.claim_run(peer, count)
            count -= run.blocks
            runs.append(run)
        return runs

    def claim_run(self, peer: PickerPeer[K], count: int) -> Run:
        """Claim the first free blocks that are consecutive, at most `count`; there must be one."""
        first = self.free.find(1)
        end = self.free.find(0, first, min(first + count, self.blocks))
        if end < 0:
            end = min(first + count, self.blocks)
        self.free[first:end] = 0
        self.claims.update(dict.fromkeys(range(first, end), peer.sole_claim))
        self.free_count -= end - first
        peer.claimed += end - first
        self._add_worker(peer)
        return Run(self.piece, first, end - first)

    def join(self, peer: PickerPeer[K], claimants: int, count: int) -> list[Run]:
        """Claim blocks that were requested from `claimants` other peers already, the oldest claims first (endgame)."""
        equals = (
            block
            for block, others in self.claims.items()
            if len(others) == claimants and peer not in others and not others[0].streams
        )
        return self.share(peer, list(islice(equals, count)))

    def share(self, peer: PickerPeer[K], blocks: Sequence[int]) -> list[Run]:
        """Claim blocks that were requested from others already, too."""
        for block in blocks:
            self.claims[block] += peer.sole_claim
        peer.claimed += len(blocks)
        if blocks:
            self._add_worker(peer)
        return _runs(self.piece, blocks)

    def claim_blocks(self, peer: PickerPeer[K], blocks: Sequence[int]) -> list[Run]:
        """Claim blocks that have not arrived, whichever peers they were requested from before."""
        for block in blocks:
            self.claims[block] = (*self.claims[block], peer) if block in self.claims else peer.sole_claim
        self.free_count -= self.free[blocks].count() if blocks else 0
        self.free[blocks] = 0
        peer.claimed += len(blocks)
        self._add_worker(peer)
        return _runs(self.piece, blocks)

    def _add_worker(self, peer: PickerPeer[K]) -> None:
        self.workers.add(peer)
        peer.working[self.piece] = self

    def receive(self, peer: PickerPeer[K], blocks: Iterable[int]) -> dict[int, tuple[K, ...] | None]:
        """Note blocks that arrived from a peer.

        Returns:
            For each block that was not requested from this peer only, see `BlockPicker.received`.
        """
        special: dict[int, tuple[K, ...] | None] = {}
        claims, senders, sole_claim, key = self.claims, self.senders, peer.sole_claim, peer.key
        count = 0
        for block in blocks:
            if claims.get(block) is sole_claim:
                del claims[block]
                senders[block] = key
                count += 1
            else:
                special[block] = self._receive_shared(peer, block)
        self.missing -= count
        peer.claimed -= count
        return special

    def _receive_shared(self, peer: PickerPeer[K], block: int) -> tuple[K, ...] | None:
        """Note a block that was not requested from this peer only.

        Returns:
            The keys of the other claimants, whose claims end; None if the block was not requested from this peer.
        """
        claimants = self.claims.get(block, ())
        if peer not in claimants:
            return None
        del self.claims[block]
        self.senders[block] = peer.key
        self.missing -= 1
        for claimant in claimants:
            claimant.claimed -= 1
        return tuple(claimant.key for claimant in claimants if claimant is not peer)

    def receive_late(self, peer: PickerPeer[K], block: int) -> tuple[K, ...] | None:
        """A block came from a peer that is not asked for it any more: the keys of those that are, whose claims are
        over. None if it is of no use.
        """
        if self.senders[block] is not None or not self.may_claim(peer):
            return None
        claimants = self.claims.get(block)
        if claimants is not None:
            if peer not in claimants:
                if claimants[0].streams:
                    return None
                self._add_worker(peer)
                self.claims[block] = (*claimants, peer)
                peer.claimed += 1
            return self._receive_shared(peer, block)
        self.free[block] = 0
        self.free_count -= 1
        self._add_worker(peer)
        self.senders[block] = peer.key
        self.missing -= 1
        return ()

    def give_back(self, peer: PickerPeer[K], block: int) -> None:
        """End a peer's claim to a block, if it has one."""
        claimants = self.claims.get(block, ())
        if peer not in claimants:
            return
        peer.claimed -= 1
        others = tuple(claimant for claimant in claimants if claimant is not peer)
        if others:
            self.claims[block] = others[0].sole_claim if len(others) == 1 else others
        else:
            del self.claims[block]
            self.free[block] = 1
            self.free_count += 1

    def give_back_all(self, peer: PickerPeer[K]) -> None:
        """End all claims of a peer."""
        for block in [block for block, claimants in self.claims.items() if peer in claimants]:
            self.give_back(peer, block)

    def reopen(self, blocks: Iterable[int]) -> None:
        """Free received blocks again, for any peer."""
        for block in blocks:
            self.senders[block] = None
            self.free[block] = 1
            self.free_count += 1
            self.missing += 1
        self.owner = None

    def close(self) -> None:
        """End all claims, and forget all workers."""
        for claimants in self.claims.values():
            for claimant in claimants:
                claimant.claimed -= 1
        self.claims.clear()
        for worker in self.workers:
            worker.working.pop(self.piece, None)
        self.workers.clear()


def _runs(piece: int, blocks: Iterable[int]) -> list[Run]:
    """Blocks as runs of consecutive ones, in the given order."""
    runs: list[Run] = []
    for block in blocks:
        if runs and runs[-1].first + runs[-1].blocks == block:
            runs[-1] = Run(piece, runs[-1].first, runs[-1].blocks + 1)
        else:
            runs.append(Run(piece, block, 1))
    return runs
