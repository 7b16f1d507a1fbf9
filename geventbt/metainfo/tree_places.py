"""Where the blocks of a piece are in the Merkle tree of their file (BEP 52). Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from geventbt import limits
from geventbt.metainfo import merkle
from geventbt.metainfo.files import TorrentFile
from geventbt.metainfo.torrent import Torrent


@dataclass(frozen=True, slots=True)
class TreePlace:
    """The place of a piece in the tree of its file.

    Attributes:
        root: the root of the file.
        piece: the piece, by its place in the file.
        size: its bytes that are of the file, without the padding behind it in a hybrid.
        width: how many leaves its part of the tree has, a power of two.
        file_width: how many the whole tree has.
    """

    root: bytes
    piece: int
    size: int
    width: int
    file_width: int

    @property
    def leaves(self) -> range:
        """The places of its blocks in the lowest layer of the tree."""
        first = self.piece * self.width
        return range(first, first + -(-self.size // limits.BLOCK))

    def wrong_blocks(self, data: memoryview, leaves: Sequence[bytes]) -> set[int]:
        """The blocks of a piece that are not as they should be.

        Args:
            data: the bytes of the piece, padding included, which must be zeros (BEP 47).
            leaves: the hash of each block.
        """
        wrong: set[int] = set()
        for block, at in enumerate(range(0, len(data), limits.BLOCK)):
            end = min(at + limits.BLOCK, len(data))
            content, padding = data[at : max(at, min(end, self.size))], data[max(at, self.size) : end]
            if (content and sha256(content).digest() != leaves[block]) or any(padding):
                wrong.add(block)
        return wrong


class TreePlaces:
    """The places of all pieces of a torrent of version 2, or a hybrid.

    Args:
        torrent: the torrent.
    """

    def __init__(self, torrent: Torrent) -> None:
        self._geometry = torrent.geometry
        self._files = [file for file in torrent.files if file.pieces_root is not None]
        self._offsets = [file.offset for file in self._files]
        # Files with the same root have the same hashes.
        self._by_root = {file.pieces_root: file for file in reversed(self._files)}

    def of(self, piece: int) -> TreePlace:
        """The place of a piece."""
        start = self._geometry.start_of(piece)
        file = self._files[bisect_right(self._offsets, start) - 1]
        pieces, width = self._pieces(file)
        size = min(self._geometry.bytes_of_full(1), file.offset + file.length - start)
        assert file.pieces_root is not None
        return TreePlace(file.pieces_root, piece - pieces.start, size, width, merkle.width(len(pieces)) * width)

    def find(self, root: bytes, leaf: int) -> int | None:
        """The piece that has a block; None if there is none.

        Args:
            root: the root of the file.
            leaf: the block, by its place in the lowest layer of the file's tree.
        """
        file = self._by_root.get(root)
        if file is None:
            return None
        pieces, width = self._pieces(file)
        return pieces[leaf // width] if 0 <= leaf < len(pieces) * width else None

    def _pieces(self, file: TorrentFile) -> tuple[range, int]:
        """The pieces of a file, and how many leaves each has in its tree."""
        pieces = self._geometry.pieces_of(file.offset, file.length)
        if len(pieces) > 1:
            return pieces, self._geometry.blocks_per_piece
        return pieces, merkle.width(-(-file.length // limits.BLOCK))
