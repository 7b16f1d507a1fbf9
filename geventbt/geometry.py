"""The geometry of a torrent: its length cut into pieces and blocks, checked once and then trusted (BEP 3). Pure.

The only place that knows how long a piece is, and where in the torrent's stream it begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from bitarray import bitarray

from geventbt import limits


@dataclass(frozen=True, slots=True)
class Geometry:
    """A length in bytes, cut into pieces of `piece_length` bytes, the last of which may be shorter.

    Args:
        length: all bytes of the torrent, at least 1.
        piece_length: bytes of every piece but the last, at least 1.

    Raises:
        ValueError: for lengths below 1 or more pieces than a bitfield may have.
    """

    length: int
    piece_length: int
    pieces: int = field(init=False)
    """The number of pieces."""

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"a torrent of {self.length} bytes has no pieces")
        if not 1 <= self.piece_length <= limits.PIECE_LENGTH:
            raise ValueError(f"pieces of {self.piece_length} bytes: must be 1 to {limits.PIECE_LENGTH}")
        pieces = -(-self.length // self.piece_length)
        if pieces > limits.PIECES:
            raise ValueError(f"{pieces} pieces: at most {limits.PIECES}")
        object.__setattr__(self, "pieces", pieces)

    def piece_size(self, piece: int) -> int:
        """The bytes of one piece: `piece_length`, or what is left for the last one.

        Raises:
            IndexError: if there is no such piece.
        """
        if not 0 <= piece < self.pieces:
            raise IndexError(f"piece {piece}: there are {self.pieces}")
        if piece == self.pieces - 1:
            return self.length - piece * self.piece_length
        return self.piece_length

    def start_of(self, piece: int) -> int:
        """Where a piece begins in the stream of all files."""
        return piece * self.piece_length

    def piece_at(self, position: int) -> tuple[int, int]:
        """The piece, and the offset in it, of a byte of the stream."""
        return divmod(position, self.piece_length)

    def pieces_of(self, start: int, length: int) -> range:
        """The pieces that have bytes of a range of the stream; empty if the range is.

        Args:
            start: where the range begins.
            length: its bytes.
        """
        if length <= 0:
            return range(0)
        return range(start // self.piece_length, (start + length - 1) // self.piece_length + 1)

    def bytes_of(self, pieces: bitarray) -> int:
        """The bytes of a set of pieces, a bit for each piece of the torrent."""
        count: int = pieces.count()
        shorter = self.piece_length - self.piece_size(self.pieces - 1)
        return count * self.piece_length - (shorter if pieces[-1] else 0)

    def pieces_in(self, size: int) -> int:
        """How many pieces of full length fit into a number of bytes."""
        return size // self.piece_length

    def bytes_of_full(self, count: int) -> int:
        """The bytes of a number of pieces of full length."""
        return count * self.piece_length

    @property
    def blocks_per_piece(self) -> int:
        """The number of blocks of a piece of full length."""
        return -(-self.piece_length // limits.BLOCK)

    def contains(self, piece: int, offset: int, length: int) -> bool:
        """Whether a range is not empty and lies inside one piece."""
        # Called for every request. A range that ends within the torrent is in one of its pieces.
        end = offset + length
        return (
            piece >= 0
            and offset >= 0
            and length > 0
            and end <= self.piece_length
            and piece * self.piece_length + end <= self.length
        )

    def blocks(self, piece: int, block_length: int = limits.BLOCK) -> Iterator[tuple[int, int]]:
        """The (offset, length) of each block of a piece, in order."""
        size = self.piece_size(piece)
        for offset in range(0, size, block_length):
            yield offset, min(block_length, size - offset)
