"""The pieces in flight: which of their blocks were asked of whom, and who sent those that have come."""

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
"""The key by which the user of the picker knows a peer."""


class Run(NamedTuple):
    """Consecutive blocks of a piece, each of `limits.BLOCK` bytes but perhaps the last one of the piece."""

    piece: int
    first: int
    blocks: int


class PickerPeer(Generic[K]):
    """One peer. Whoever uses the picker knows it as `key`."""

    __slots__ = (
        "alone",
        "bored_at",
        "claimed",
        "count",
        "is_active",
        "key",
        "pieces",
        "shortlist",
        "witness",
        "working",
    )

    def __init__(self, key: K, size: int) -> None:
        self.key = key
        self.pieces = zeros(size, "big")
        self.count = 0
        """How many pieces it has."""
        self.claimed = 0
        """How many blocks it was asked for that have neither come nor been given back."""
        self.alone: tuple[PickerPeer[K], ...] = (self,)
        """The claimants of a block that only this peer was asked for: one object, told apart by `is`."""
        self.working: dict[int, OpenPiece[K]] = {}
        """The open pieces that it was ever asked for blocks of."""
        self.is_active = False
        """Whether it has picked, and not given back everything since: it is going to pick again."""
        self.shortlist = Shortlist()
        self.witness = -1
        """A piece that made it interesting when we last looked."""
        self.bored_at = -1
        """The version of what we want at which it had nothing of that."""


class OpenPiece(Generic[K]):
    """A piece that was begun and is not verified. Each block is free, claimed by some peers, or received.

    Args:
        piece: its number.
        size: its length in bytes.
        blocks: its length in blocks.
        owner: the only peer that may be asked for its blocks; None for anyone.
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
        """Who was asked for each claimed block, in the order of the first claims."""
        self.senders: list[K | None] = [None] * blocks
        """The key of the peer that sent each received block."""
        self.missing = blocks
        """How many blocks have not been received."""
        self.workers: set[PickerPeer[K]] = set()
        """The peers that were ever asked for a block and are still there."""

    def may_claim(self, peer: PickerPeer[K]) -> bool:
        """Whether a peer may be asked for blocks of this piece."""
        return self.owner is None or self.owner is peer

    def is_stalled(self) -> bool:
        """Whether nothing is under way, and nobody who worked at it is going to go on."""
        if self.claims or not self.missing:
            return False
        return not any(worker.is_active and worker.pieces[self.piece] for worker in self.workers)

    def claim(self, peer: PickerPeer[K], most: int) -> list[Run]:
        """Claim up to so many free blocks for a peer, the first ones."""
        runs = []
        while most > 0 and self.free_count:
            first = self.free.find(1)
            end = self.free.find(0, first, min(first + most, self.blocks))
            if end < 0:
                end = min(first + most, self.blocks)
            self.free[first:end] = 0
            self.claims.update(dict.fromkeys(range(first, end), peer.alone))
            self.free_count -= end - first
            most -= end - first
            peer.claimed += end - first
            runs.append(Run(self.piece, first, end - first))
        self._note(peer)
        return runs

    def join(self, peer: PickerPeer[K], claimants: int, most: int) -> list[Run]:
        """Claim blocks that so many others were asked for already, those asked for longest ago first (endgame)."""
        equals = (block for block, others in self.claims.items() if len(others) == claimants and peer not in others)
        late = list(islice(equals, most))
        for block in late:
            self.claims[block] += peer.alone
        peer.claimed += len(late)
        if late:
            self._note(peer)
        return _runs(self.piece, late)

    def _note(self, peer: PickerPeer[K]) -> None:
        self.workers.add(peer)
        peer.working[self.piece] = self

    def receive(self, peer: PickerPeer[K], blocks: Iterable[int]) -> dict[int, tuple[K, ...] | None]:
        """Blocks came from a peer. Returns what is special about some of them; see `BlockPicker.received`."""
        special: dict[int, tuple[K, ...] | None] = {}
        claims, senders, alone, key = self.claims, self.senders, peer.alone, peer.key
        count = 0
        for block in blocks:
            if claims.get(block) is alone:
                del claims[block]
                senders[block] = key
                count += 1
            else:
                special[block] = self._receive_shared(peer, block)
        self.missing -= count
        peer.claimed -= count
        return special

    def _receive_shared(self, peer: PickerPeer[K], block: int) -> tuple[K, ...] | None:
        """A block that perhaps several were asked for came from a peer: the keys of the others, whose claims are over.
        None if this peer was not asked for it.
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
                self._note(peer)
                self.claims[block] = (*claimants, peer)
                peer.claimed += 1
            return self._receive_shared(peer, block)
        self.free[block] = 0
        self.free_count -= 1
        self._note(peer)
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
            self.claims[block] = others[0].alone if len(others) == 1 else others
        else:
            del self.claims[block]
            self.free[block] = 1
            self.free_count += 1

    def give_back_all(self, peer: PickerPeer[K]) -> None:
        """End all claims of a peer."""
        for block in [block for block, claimants in self.claims.items() if peer in claimants]:
            self.give_back(peer, block)

    def close(self) -> None:
        """End all claims, and forget everyone who took part."""
        for claimants in self.claims.values():
            for claimant in claimants:
                claimant.claimed -= 1
        self.claims.clear()
        for worker in self.workers:
            worker.working.pop(self.piece, None)
        self.workers.clear()


class OpenPieces(dict[int, OpenPiece[K]], Generic[K]):
    """All open pieces by their number, in the order in which they were begun.

    Args:
        geometry: the lengths of the pieces.
        wanted: what is missing.
        order: keeps the free pieces.
        max_bytes: how long the open pieces may be together; one piece always may be open.
    """

    def __init__(self, geometry: Geometry, wanted: Wanted, order: PieceOrder, max_bytes: int) -> None:
        super().__init__()
        self._geometry = geometry
        self._wanted = wanted
        self._order = order
        self._max_bytes = max_bytes
        self._alone: set[int] = set()
        self.partial: dict[int, OpenPiece[K]] = {}
        """Those that are wanted and have free blocks."""
        self.bytes = 0
        """The length of all open pieces."""

    def has_room(self, piece: int, *, more: int = 0, without: Sequence[OpenPiece[K]] = ()) -> bool:
        """Whether a piece may be begun.

        Args:
            piece: its number.
            more: how many more than usual may be open.
            without: open pieces that are not to be counted.
        """
        if len(self) == len(without):
            return True
        size = self._geometry.piece_size(piece) - sum(open_piece.size for open_piece in without)
        return self.has_room_for(size - self._geometry.bytes_of_full(more))

    def has_room_for(self, size: int) -> bool:
        """Whether so many bytes more may be open."""
        return not self or self.bytes + size <= self._max_bytes

    def begin(self, piece: int, peer: PickerPeer[K]) -> None:
        """Open a free piece, for everyone or, if it is to come from one peer alone, for this one."""
        size = self._geometry.piece_size(piece)
        owner = peer if piece in self._alone else None
        self[piece] = self.partial[piece] = OpenPiece(piece, size, -(-size // limits.BLOCK), owner)
        self.bytes += size
        self._order.take(piece)

    def close(self, piece: int) -> None:
        """Forget all about a piece, if it is open. Where it belongs then is for `relist` to say."""
        open_piece = self.pop(piece, None)
        if open_piece is not None:
            self.partial.pop(piece, None)
            self.bytes -= open_piece.size
            open_piece.close()

    def is_for_one(self, piece: int) -> bool:
        """Whether all blocks of a piece are to come from a single peer, when it is next begun."""
        return piece in self._alone

    def set_alone(self, piece: int, alone: bool) -> None:
        """Whether all blocks of a piece are to come from a single peer, when it is next begun."""
        (self._alone.add if alone else self._alone.discard)(piece)

    def relist(self, piece: int) -> None:
        """Put a piece where it now belongs: among the free ones, among the partial ones, or among neither."""
        open_piece = self.get(piece)
        if open_piece is None:
            (self._order.put_back if self._wanted.missing_pieces[piece] else self._order.take)(piece)
        elif open_piece.free_count and self._wanted.priorities[piece]:
            self.partial[piece] = open_piece
        else:
            self.partial.pop(piece, None)


def _runs(piece: int, blocks: Iterable[int]) -> list[Run]:
    """Blocks in any order as runs of those that follow each other."""
    runs: list[Run] = []
    for block in blocks:
        if runs and runs[-1].first + runs[-1].blocks == block:
            runs[-1] = Run(piece, runs[-1].first, runs[-1].blocks + 1)
        else:
            runs.append(Run(piece, block, 1))
    return runs
