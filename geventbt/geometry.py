"""The geometry of a torrent: its length cut into pieces and blocks, checked once and then trusted (BEP 3, 52). Pure.

The only place that knows how long a piece is, and where in the torrent's stream it begins.

The files of a version 1 torrent are one stream without gaps, and only its last piece may be short. In version 2 each
file begins at a piece of its own: the last piece of every file may be short, and the stream has a gap behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from bitarray import bitarray

from geventbt import limits
from geventbt.arguments import check_counts


@dataclass(frozen=True, slots=True)
class Geometry:
    """A length in bytes, cut into pieces of `piece_length` bytes, the last of which may be shorter.

    `of_files` makes that of a version 2 torrent.

    Args:
        length: bytes of the stream of all files, gaps included; at least 1.
        piece_length: bytes of every piece that is not in `short_pieces`, at least 1.
        short_pieces: the bytes of each piece that is shorter; by default that of the last piece, if it is.

    Raises:
        ValueError: for lengths below 1 or more pieces than a bitfield may have.
    """

    length: int
    piece_length: int
    short_pieces: Mapping[int, int] = field(default_factory=dict, repr=False, hash=False)
    pieces: int = field(init=False)
    """The number of pieces."""

    def __post_init__(self) -> None:
        check_counts(length=self.length, piece_length=self.piece_length)
        if self.length < 1:
            raise ValueError(f"a torrent of {self.length} bytes has no pieces")
        if not 1 <= self.piece_length <= limits.PIECE_LENGTH:
            raise ValueError(f"pieces of {self.piece_length} bytes: must be 1 to {limits.PIECE_LENGTH}")
        pieces = -(-self.length // self.piece_length)
        if pieces > limits.PIECES:
            raise ValueError(f"{pieces} pieces: at most {limits.PIECES}")
        object.__setattr__(self, "pieces", pieces)
        last = self.length % self.piece_length
        short = self.short_pieces or ({pieces - 1: last} if last else {})
        object.__setattr__(self, "short_pieces", dict(short))

    @classmethod
    def of_files(cls, lengths: Iterable[int], piece_length: int) -> Geometry:
        """The geometry of files each of which begins at a piece of its own (BEP 52).

        Args:
            lengths: bytes of each file.
            piece_length: bytes of a piece.

        Raises:
            ValueError: as for the class.
        """
        short_pieces: dict[int, int] = {}
        pieces = length = 0
        for size in filter(None, lengths):
            length = pieces * piece_length + size
            pieces += -(-size // max(1, piece_length))
            if size % max(1, piece_length):
                short_pieces[pieces - 1] = size % piece_length
        return cls(length, piece_length, short_pieces)

    @property
    def size(self) -> int:
        """The bytes of all pieces."""
        return self.bytes_of_full(self.pieces) - sum(self.piece_length - size for size in self.short_pieces.values())

    def piece_size(self, piece: int) -> int:
        """The bytes of one piece.

        Raises:
            IndexError: if there is no such piece.
        """
        self.check_piece(piece)
        return self.short_pieces.get(piece, self.piece_length)

    def check_piece(self, piece: int) -> None:
        """Check the index of a piece.

        Raises:
            IndexError: if there is no such piece.
        """
        if not 0 <= piece < self.pieces:
            raise IndexError(f"piece {piece}: there are {self.pieces}")

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

    def without_gaps(self, pieces: Iterable[int], max_length: int) -> Iterator[range]:
        """Cut pieces into runs of neighbours that have no gap between them.

        Args:
            pieces: indices, in ascending order.
            max_length: the maximum number of bytes of a run, which always has one piece.
        """
        max_pieces = max(1, self.pieces_in(max_length))
        run = range(0)
        for piece in pieces:
            if piece == run.stop and 0 < len(run) < max_pieces and piece - 1 not in self.short_pieces:
                run = range(run.start, piece + 1)
                continue
            if run:
                yield run
            run = range(piece, piece + 1)
        if run:
            yield run

    def bytes_of(self, pieces: bitarray) -> int:
        """The bytes of a set of pieces, a bit for each piece of the torrent."""
        count: int = pieces.count()
        missing = sum(self.piece_length - size for piece, size in self.short_pieces.items() if pieces[piece])
        return count * self.piece_length - missing

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
        # Called for every request.
        return (
            0 <= piece < self.pieces
            and offset >= 0
            and length > 0
            and offset + length <= self.short_pieces.get(piece, self.piece_length)
        )

    def blocks(self, piece: int, block_length: int = limits.BLOCK) -> Iterator[tuple[int, int]]:
        """The (offset, length) of each block of a piece, in order."""
        size = self.piece_size(piece)
        for offset in range(0, size, block_length):
            yield offset, min(block_length, size - offset)
