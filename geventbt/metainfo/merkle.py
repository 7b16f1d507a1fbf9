"""Merkle trees of files, as version 2 torrents have them (BEP 52). Pure.

A file is cut into blocks of 16 KiB. The SHA-256 of each block is a *leaf*; the last block is hashed as short as it is.
The leaves are filled up with zero hashes to a power of two, and each pair of nodes is hashed to its parent, up to the
root. The layer whose nodes stand for whole pieces is the *piece layer*: its nodes are the hashes of the file's pieces,
and what fills it up to a power of two is the root of a piece without any leaf.

A file of one piece or less has no piece layer: its root is that of its own leaves, filled up to no more than the next
power of two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import sha256

from geventbt import limits

HASH = 32
"""Bytes of a hash."""

NO_LEAF = bytes(HASH)
"""What stands for a block beyond the end of the file."""


def leaves(data: bytes | bytearray | memoryview) -> list[bytes]:
    """The hash of each block of some data that begins at a block of its file."""
    with memoryview(data) as view:
        return [sha256(view[at : at + limits.BLOCK]).digest() for at in range(0, len(view), limits.BLOCK)]


def width(count: int) -> int:
    """The power of two that a layer of `count` nodes is filled up to; 1 for an empty one."""
    return 1 << max(0, count - 1).bit_length()


@lru_cache(maxsize=64)
def padding(level: int) -> bytes:
    """The root of a tree of 2 ** `level` leaves, all of which are beyond the end of the file."""
    if level == 0:
        return NO_LEAF
    child = padding(level - 1)
    return sha256(child + child).digest()


def parents(layer: Sequence[bytes], level: int = 0) -> list[bytes]:
    """The layer above a layer.

    Args:
        layer: hashes of the nodes.
        level: how many layers are below it: where its number of nodes is odd, one of that level's `padding` is added.
    """
    nodes = [*layer, padding(level)] if len(layer) % 2 else layer
    return [sha256(nodes[at] + nodes[at + 1]).digest() for at in range(0, len(nodes), 2)]


def root(layer: Sequence[bytes], to_width: int, level: int = 0) -> bytes:
    """The root over a layer.

    Args:
        layer: hashes of its nodes, at least one.
        to_width: the power of two that it is filled up to.
        level: how many layers are below it.
    """
    nodes = layer
    while to_width > 1:
        nodes = parents(nodes, level)
        to_width //= 2
        level += 1
    return nodes[0]


def split(layer: bytes) -> list[bytes]:
    """A layer's hashes, which are given end to end."""
    return [layer[at : at + HASH] for at in range(0, len(layer), HASH)]


def root_of_pieces(layer: bytes, blocks_per_piece: int) -> bytes:
    """The root of a file of more than one piece.

    Args:
        layer: the hashes of its pieces, end to end.
        blocks_per_piece: blocks of a piece of full length, a power of two.
    """
    hashes = split(layer)
    return root(hashes, width(len(hashes)), level_of(blocks_per_piece))


def level_of(blocks: int) -> int:
    """How many layers are below the node over `blocks` blocks, a power of two."""
    return blocks.bit_length() - 1


def fold(hashes: Sequence[bytes], index: int, proof: Iterable[bytes]) -> bytes:
    """The root that some neighbours in a layer and the proof of them lead to.

    Args:
        hashes: the neighbours: a power of two of them, the first at a multiple of their number.
        index: where the first is in the layer.
        proof: the sibling of the node over them, of the node over both, and so on up to the root (BEP 52, hash
            request).
    """
    position = index // len(hashes)
    node = root(hashes, len(hashes))
    for sibling in proof:
        node = sha256(sibling + node if position % 2 else node + sibling).digest()
        position //= 2
    return node


class Tree:
    """The upper part of a file's tree, from a layer up to the root: what hash requests are answered from (BEP 52).

    Args:
        layer: the hashes of the lowest layer here, end to end.
        level: how many layers are below it.

    Attributes:
        level: see above.
        width: the power of two that the lowest layer is filled up to.
    """

    def __init__(self, layer: bytes, level: int) -> None:
        self.level = level
        self._layers = [layer]
        nodes = split(layer)
        self.width = width(len(nodes))
        while len(nodes) > 1:
            nodes = parents(nodes, level)
            level += 1
            self._layers.append(b"".join(nodes))

    @property
    def root(self) -> bytes:
        """The root of the file."""
        return self._layers[-1]

    def prove(self, index: int, length: int, proof_layers: int) -> list[bytes] | None:
        """The hashes of some neighbours of the lowest layer, and the proof of them; see `prove`."""
        return prove(self.node, self.width, index, length, proof_layers)

    def node(self, height: int, at: int) -> bytes:
        """A node, by its place in a layer that is `height` layers above the lowest."""
        return self._layers[height][at * HASH : (at + 1) * HASH] or padding(self.level + height)


class BlockTree:
    """A file's tree from its blocks up to the root, the blocks being those of one piece alone.

    Args:
        leaves: the hash of each block of the piece.
        piece: the piece, by its place in the file.
        pieces: the tree above the pieces.
    """

    def __init__(self, leaves: Sequence[bytes], piece: int, pieces: Tree) -> None:
        self._pieces = pieces
        self._width = 1 << pieces.level
        self._first = piece * self._width
        self._blocks = Tree(b"".join([*leaves, *[NO_LEAF] * (self._width - len(leaves))]), 0)

    def prove(self, index: int, length: int, proof_layers: int) -> list[bytes] | None:
        """The leaves of some neighbours, all of this piece, and the proof of them; see `prove`."""
        if not self._first <= index <= index + length <= self._first + self._width:
            return None
        return prove(self._node, self._pieces.width * self._width, index, length, proof_layers)

    def _node(self, height: int, at: int) -> bytes:
        if height < self._pieces.level:
            return self._blocks.node(height, at - (self._first >> height))
        return self._pieces.node(height - self._pieces.level, at)


def prove(
    node: Callable[[int, int], bytes], to_width: int, index: int, length: int, proof_layers: int
) -> list[bytes] | None:
    """The hashes of some neighbours in a layer, and the proof of them.

    Args:
        node: gives a node, by its height above the layer, and its place.
        to_width: the power of two that the layer is filled up to.
        index: where the first neighbour is in the layer, a multiple of `length`.
        length: how many, a power of two.
        proof_layers: how many layers above theirs the proof is to cover.

    Returns:
        The neighbours, and the siblings of the nodes above them, upwards; those that are within them are left out.
        None if there are no such nodes.
    """
    if not 0 < length <= to_width or length & (length - 1) or index % length or not 0 <= index < to_width:
        return None
    if not 0 <= proof_layers < max(1, to_width.bit_length() - 1):
        return None
    hashes = [node(0, at) for at in range(index, index + length)]
    position = index // length
    for height in range(level_of(length), proof_layers + 1) if proof_layers else ():
        hashes.append(node(height, position ^ 1))
        position //= 2
    return hashes
