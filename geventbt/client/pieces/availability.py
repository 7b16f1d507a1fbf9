"""The peers as the picker sees them: the pieces that each has, and the rarity of pieces that follows from them."""

from __future__ import annotations

from typing import Generic

from bitarray import bitarray

from geventbt.client.pieces.open_piece import K, PickerPeer
from geventbt.client.pieces.order import PieceOrder, Shortlist


class PickerPeers(Generic[K]):
    """All peers by their key, and the pieces that they have.

    Seeds share one bitfield and one shortlist, and do not count for the rarity of pieces: adding or removing one costs
    almost nothing.

    Args:
        size: the number of pieces.
        order: keeps the rarity of each piece.
    """

    def __init__(self, size: int, order: PieceOrder) -> None:
        self._by_key: dict[K, PickerPeer[K]] = {}
        self._order = order
        self._size = size
        self._all = bitarray([1], "big") * size
        self.seeds = 0
        self.get = self._by_key.get
        """The peer with a key, or None."""

    def __len__(self) -> int:
        return len(self._by_key)

    def __getitem__(self, key: K) -> PickerPeer[K]:
        return self._by_key[key]

    def availability(self, piece: int) -> int:
        """How many peers have a piece."""
        return self.seeds + self._order.rarity(piece)

    def is_seed(self, peer: PickerPeer[K]) -> bool:
        """Whether a peer has every piece."""
        return peer.pieces is self._all

    def add(self, key: K, pieces: bitarray, *, streams: bool = False) -> None:
        """Add a peer; see `PickerPeer.streams`.

        Raises:
            ValueError: it was added already, or the bitfield is for another number of pieces.
        """
        if key in self._by_key:
            raise ValueError(f"peer {key!r} was added already")
        pieces = self._checked(pieces)
        self._by_key[key] = peer = PickerPeer(key, self._size, streams=streams)
        self._add_pieces(peer, pieces)

    def remove(self, peer: PickerPeer[K]) -> None:
        """Forget a peer."""
        self._remove_pieces(peer)
        del self._by_key[peer.key]

    def replace(self, peer: PickerPeer[K], pieces: bitarray) -> None:
        """Set the pieces of a peer.

        Raises:
            ValueError: the bitfield is for another number of pieces.
        """
        pieces = self._checked(pieces)
        self._remove_pieces(peer)
        self._add_pieces(peer, pieces)

    def gained(self, peer: PickerPeer[K], piece: int) -> None:
        """Note that a peer has one more piece."""
        if peer.pieces[piece]:
            return
        peer.pieces[piece] = 1
        peer.count += 1
        peer.uninteresting_at = -1
        self._order.add_piece(piece, peer.shortlist)
        if peer.count == self._size:
            self._order.remove_pieces(self._all)
            self._make_seed(peer)

    def lost(self, peer: PickerPeer[K], piece: int) -> None:
        """Note that a peer has lost a piece (BEP 54)."""
        if not peer.pieces[piece]:
            return
        if self.is_seed(peer):
            self.seeds -= 1
            peer.pieces = self._all.copy()
            self._order.add_pieces(self._all)
            peer.shortlist = Shortlist()
        peer.pieces[piece] = 0
        peer.count -= 1
        peer.cached_interesting_piece = -1
        self._order.remove_piece(piece)

    def _checked(self, pieces: bitarray) -> bitarray:
        if len(pieces) != self._size:
            raise ValueError(f"a bitfield of {len(pieces)} pieces: there are {self._size}")
        return bitarray(pieces, "big")

    def _add_pieces(self, peer: PickerPeer[K], pieces: bitarray) -> None:
        peer.count = pieces.count()
        peer.cached_interesting_piece = peer.uninteresting_at = -1
        if peer.count == self._size:
            self._make_seed(peer)
            return
        peer.pieces = pieces
        peer.shortlist = Shortlist()
        if peer.count:
            self._order.add_pieces(pieces)

    def _remove_pieces(self, peer: PickerPeer[K]) -> None:
        if self.is_seed(peer):
            self.seeds -= 1
        elif peer.count:
            self._order.remove_pieces(peer.pieces)

    def _make_seed(self, peer: PickerPeer[K]) -> None:
        self.seeds += 1
        peer.pieces = self._all
        peer.shortlist = self._order.common
