"""Whole pieces of a torrent as they are verified: one by its index, or all in the order in which they come."""

from __future__ import annotations

from collections.abc import Iterator

from bitarray import bitarray
from bitarray.util import zeros

from geventbt.client.torrent.data import TorrentData
from geventbt.client.torrent.lifecycle import Lifecycle
from geventbt.client.torrent.piece_reads import PieceReads
from geventbt.geometry import Geometry


class WholePieces:
    """The pieces of one torrent, for its user. All methods block.

    Args:
        life: its state.
        data: its data, which has been checked.
        reads: reads the pieces.
        geometry: their lengths.
    """

    def __init__(self, life: Lifecycle, data: TorrentData, reads: PieceReads, geometry: Geometry) -> None:
        self._life = life
        self._data = data
        self._reads = reads
        self._geometry = geometry

    def read(self, index: int) -> bytes:
        """Read a piece once it is verified; see `ActiveTorrent.read_piece`."""
        reader = object()
        self._reads.read_ahead(reader, range(index, index + 1))
        try:
            return self._reads.read(index, 0, self._geometry.piece_size(index))
        finally:
            self._reads.read_ahead(reader, range(0))

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """See `ActiveTorrent.iter_pieces`."""
        yielded: bitarray = zeros(self._geometry.pieces, "big")
        position = 0
        while (found := self._next(position, yielded)) is not None:
            position, piece = found
            yielded[piece] = 1
            yield piece, self._reads.read(piece, 0, self._geometry.piece_size(piece))

    def _next(self, position: int, yielded: bitarray) -> tuple[int, int] | None:
        """Block for the next verified piece that has not been yielded: the position after it, and the piece.

        None when all that is wanted has been verified before.
        """
        storage, _ = self._data.opened
        while True:
            order, is_done = self._data.verified_order, self._life.done.is_set()
            while position < len(order):
                piece = order[position]
                position += 1
                if not yielded[piece] and storage.have[piece]:
                    return position, piece
            self._life.raise_error()
            if is_done:
                return None
            self._life.changes.wait()
