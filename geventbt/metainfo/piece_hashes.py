"""What the pieces of a torrent hash to: the SHA-1 of version 1 (BEP 3), the roots of Merkle trees of version 2
(BEP 52), or in a hybrid both, end to end. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from typing import Protocol

from geventbt import limits
from geventbt.geometry import Geometry
from geventbt.metainfo import merkle

SHA1 = 20
"""Bytes of a SHA-1."""


class Hasher(Protocol):
    """Hashes the bytes of one piece."""

    def update(self, data: bytes | bytearray | memoryview, /) -> object:
        """Go on with more bytes: whole blocks, except at the end of the piece."""

    def digest(self) -> bytes:
        """The hash of what there was; to be called once."""


class PieceHashes(Protocol):
    """The hashes that the pieces of a torrent must have."""

    def expected(self, piece: int) -> bytes:
        """The hash that a piece must have.

        Raises:
            IndexError: if there is no such piece.
        """

    def hasher(self, piece: int) -> Hasher:
        """What makes such a hash of the bytes of a piece."""


class FlatHashes:
    """The SHA-1 of each piece, end to end (BEP 3)."""

    def __init__(self, hashes: bytes) -> None:
        self._hashes = hashes

    def expected(self, piece: int) -> bytes:
        """The SHA-1 of a piece."""
        return _entry(self._hashes, SHA1, piece)

    def hasher(self, piece: int) -> Hasher:
        """A SHA-1."""
        return sha1()


class TreeHashes:
    """The node over the blocks of each piece (BEP 52).

    Args:
        geometry: that of version 2, see `Geometry.of_files`.
        lengths: bytes of each file.
        layer: the hash of each piece, end to end: those of the piece layers, and the roots of files of one piece.
    """

    def __init__(self, geometry: Geometry, lengths: Sequence[int], layer: bytes) -> None:
        self._geometry = geometry
        self._layer = layer
        self._whole_files = _whole_files(geometry, lengths)

    def expected(self, piece: int) -> bytes:
        """The root of the tree over a piece."""
        return _entry(self._layer, merkle.HASH, piece)

    def hasher(self, piece: int) -> TreeHasher:
        """A hasher of leaves. What is behind the end of the file, as a hybrid's padding, is left out."""
        size = self._geometry.piece_size(piece)
        if piece in self._whole_files:
            return TreeHasher(size, merkle.width(-(-size // limits.BLOCK)))
        return TreeHasher(size, self._geometry.blocks_per_piece)


class HybridHashes:
    """Both hashes of each piece, that of version 1 first.

    Attributes:
        trees: those of version 2.
    """

    def __init__(self, flat: FlatHashes, trees: TreeHashes) -> None:
        self.trees = trees
        self._flat = flat

    def expected(self, piece: int) -> bytes:
        """The SHA-1 and the root of the tree of a piece."""
        return self._flat.expected(piece) + self.trees.expected(piece)

    def hasher(self, piece: int) -> Hasher:
        """Both in one pass over the bytes."""
        return _BothHashers(self._flat.hasher(piece), self.trees.hasher(piece))


class TreeHasher:
    """The root of a Merkle tree over some bytes.

    Args:
        size: how many bytes there are; what is beyond is not hashed.
        width: how many leaves the tree has, a power of two.

    Attributes:
        leaves: the hash of each block so far.
    """

    def __init__(self, size: int, width: int) -> None:
        self._left = size
        self._width = width
        self.leaves: list[bytes] = []

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Hash whole blocks, or the end."""
        with memoryview(data) as view:
            part = view[: self._left]
            self._left -= len(part)
            self.leaves += merkle.leaves(part)

    def digest(self) -> bytes:
        """The root."""
        return merkle.root(self.leaves, self._width)


class _BothHashers:
    def __init__(self, flat: Hasher, tree: Hasher) -> None:
        self._flat = flat
        self._tree = tree

    def update(self, data: bytes | bytearray | memoryview) -> None:
        self._flat.update(data)
        self._tree.update(data)

    def digest(self) -> bytes:
        return self._flat.digest() + self._tree.digest()


def digest_of(hashes: PieceHashes, piece: int, data: bytes | bytearray | memoryview) -> bytes:
    """The hash of the bytes of a whole piece."""
    hasher = hashes.hasher(piece)
    hasher.update(data)
    return hasher.digest()


def trees_of(hashes: PieceHashes) -> TreeHashes | None:
    """The hashes of version 2 among those of a torrent; None in version 1."""
    if isinstance(hashes, HybridHashes):
        return hashes.trees
    return hashes if isinstance(hashes, TreeHashes) else None


def contradicts(expected: bytes, digest: bytes) -> bool:
    """Whether a piece has one of a hybrid's two hashes and not the other, which no bytes can mend: the torrent was made
    wrong."""
    both = len(expected) == SHA1 + merkle.HASH
    return both and (expected[:SHA1] == digest[:SHA1]) != (expected[SHA1:] == digest[SHA1:])


def _entry(hashes: bytes, size: int, piece: int) -> bytes:
    if not 0 <= piece < len(hashes) // size:
        raise IndexError(f"piece {piece}: there are {len(hashes) // size}")
    return hashes[piece * size : (piece + 1) * size]


def _whole_files(geometry: Geometry, lengths: Sequence[int]) -> frozenset[int]:
    """The pieces that are a whole file, and shorter than others: their trees have no more leaves than they need."""
    first = 0
    whole: list[int] = []
    for length in filter(None, lengths):
        pieces = len(geometry.pieces_of(geometry.start_of(first), length))
        if pieces == 1:
            whole.append(first)
        first += pieces
    return frozenset(whole)
