"""The open pieces: for each block, the peers that it was requested from, and the sender once it has arrived."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from bitarray import bitarray
from bitarray.util import zeros

from geventbt import limits
from geventbt.client.pieces.order import PieceOrder, Shortlist
from geventbt.client.pieces.wanted import Wanted
from geventbt.geometry import Geometry

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
        """Whether it receives blocks straight into their place, which therefore nobody else may be asked for."""
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


class OpenPieces(dict[int, OpenPiece[K]], Generic[K]):
    """All open pieces by their index, in the order in which they were begun.

    Args:
        geometry: the lengths of the pieces.
        wanted: the missing pieces.
        order: the free pieces.
        max_bytes: the total length that open pieces may have; a single one may always be open.
    """

    def __init__(self, geometry: Geometry, wanted: Wanted, order: PieceOrder, max_bytes: int) -> None:
        super().__init__()
        self._geometry = geometry
        self._wanted = wanted
        self._order = order
        self._max_bytes = max_bytes
        self._exclusive: set[int] = set()
        self.partial: dict[int, OpenPiece[K]] = {}
        """The open pieces that are wanted and have free blocks."""
        self.bytes = 0
        """The total length of all open pieces."""

    def has_room(self, piece: int, *, more: int = 0, without: Sequence[OpenPiece[K]] = ()) -> bool:
        """Whether a piece may be begun.

        Args:
            piece: its index.
            more: the number of pieces that may be open beyond `max_bytes`.
            without: open pieces that do not count.
        """
        if len(self) == len(without):
            return True
        size = self._geometry.piece_size(piece) - sum(open_piece.size for open_piece in without)
        return self.has_room_for(size - self._geometry.bytes_of_full(more))

    def has_room_for(self, size: int) -> bool:
        """Whether pieces of `size` more bytes may be open."""
        return not self or self.bytes + size <= self._max_bytes

    def blocks_of(self, piece: int) -> int:
        """The number of blocks of a piece."""
        return -(-self._geometry.piece_size(piece) // limits.BLOCK)

    def begin(self, piece: int, peer: PickerPeer[K]) -> None:
        """Open a free piece: for this peer only if it is to come from a single one, otherwise for all."""
        size = self._geometry.piece_size(piece)
        owner = peer if piece in self._exclusive else None
        self[piece] = self.partial[piece] = OpenPiece(piece, size, self.blocks_of(piece), owner)
        self.bytes += size
        self._order.take(piece)

    def close(self, piece: int) -> None:
        """Close a piece, if it is open. Call `relist` afterwards."""
        open_piece = self.pop(piece, None)
        if open_piece is not None:
            self.partial.pop(piece, None)
            self.bytes -= open_piece.size
            open_piece.close()

    def is_exclusive(self, piece: int) -> bool:
        """Whether all blocks of a piece are to come from a single peer, when it is next begun."""
        return piece in self._exclusive

    def set_exclusive(self, piece: int, exclusive: bool) -> None:
        """Set whether all blocks of a piece are to come from a single peer when it is next begun."""
        (self._exclusive.add if exclusive else self._exclusive.discard)(piece)

    def join(self, peer: PickerPeer[K], blocks: int) -> list[Run]:
        """Claim what others were asked for, the blocks that the fewest and the longest ago first (endgame)."""
        runs: list[Run] = []
        for claimants in range(1, limits.ENDGAME_CLAIMANTS):
            for open_piece in self.values():
                if blocks <= 0:
                    return runs
                if self._may_share(open_piece, peer):
                    joined = open_piece.join(peer, claimants, blocks)
                    blocks -= sum(run.blocks for run in joined)
                    runs += joined
        return runs

    def shared_by(self, peer: PickerPeer[K], piece: int, block: int) -> tuple[K, ...]:
        """The keys of the claimants of a block, if another peer may be asked for it as well; none otherwise."""
        open_piece = self.get(piece)
        if open_piece is None or not self._may_share(open_piece, peer):
            return ()
        claimants = open_piece.claims.get(block, ())
        if peer in claimants or (claimants and claimants[0].streams):
            return ()
        return tuple(claimant.key for claimant in claimants)

    def _may_share(self, open_piece: OpenPiece[K], peer: PickerPeer[K]) -> bool:
        """Whether blocks of a piece may be requested from a peer although others were asked for them."""
        return bool(
            peer.pieces[open_piece.piece] and open_piece.owner is None and self._wanted.priorities[open_piece.piece]
        )

    def receive_late(self, peer: PickerPeer[K], piece: int, block: int) -> tuple[K, ...] | None:
        """Note a block of a missing piece that its sender was asked for once: behind a choke, a cancel, a timeout.

        Returns:
            The keys of the other peers that are asked for it now, to cancel; None if it is of no use: the block is here
            already, there is no room for its piece, or that is to come from another source alone.
        """
        open_piece = self.get(piece)
        if open_piece is None:
            if not self._order.is_free(piece) or self.is_exclusive(piece) or not self.has_room(piece):
                return None
            self.begin(piece, peer)
            open_piece = self[piece]
        others = open_piece.receive_late(peer, block)
        self.relist(piece)
        return others

    def relist(self, piece: int) -> None:
        """List a piece by its present state: among the free ones, among the partial ones, or in neither."""
        open_piece = self.get(piece)
        if open_piece is None:
            (self._order.put_back if self._wanted.missing_pieces[piece] else self._order.take)(piece)
        elif open_piece.free_count and self._wanted.priorities[piece]:
            self.partial[piece] = open_piece
        else:
            self.partial.pop(piece, None)


def _runs(piece: int, blocks: Iterable[int]) -> list[Run]:
    """Blocks as runs of consecutive ones, in the given order."""
    runs: list[Run] = []
    for block in blocks:
        if runs and runs[-1].first + runs[-1].blocks == block:
            runs[-1] = Run(piece, runs[-1].first, runs[-1].blocks + 1)
        else:
            runs.append(Run(piece, block, 1))
    return runs
