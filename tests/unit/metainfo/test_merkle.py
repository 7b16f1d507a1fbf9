"""Merkle trees of files (BEP 52)."""

from __future__ import annotations

from hashlib import sha256
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventbt import limits
from geventbt.metainfo import merkle
from geventbt.metainfo.piece_hashes import TreeHasher


def naive_root(leaves: list[bytes], width: int) -> bytes:
    """The root by the book: all zero leaves are there, and every pair is hashed."""
    nodes = leaves + [bytes(32)] * (width - len(leaves))
    while len(nodes) > 1:
        nodes = [sha256(nodes[at] + nodes[at + 1]).digest() for at in range(0, len(nodes), 2)]
    return nodes[0]


def hashes(count: int) -> list[bytes]:
    return [sha256(b"%d" % number).digest() for number in range(count)]


@given(st.integers(1, 70))
def test_a_root_is_that_of_all_leaves_and_zeros(count: int):
    leaves = hashes(count)
    width = merkle.width(count)
    assert merkle.root(leaves, width) == naive_root(leaves, width)
    assert merkle.root(leaves, 4 * width) == naive_root(leaves, 4 * width)


@given(st.integers(2, 40), st.sampled_from([1, 2, 4, 8]))
def test_the_root_of_a_file_is_the_same_by_its_pieces_and_by_its_blocks(pieces: int, blocks_per_piece: int):
    leaves = hashes(pieces * blocks_per_piece - blocks_per_piece // 2)
    layer = b"".join(
        naive_root(leaves[at : at + blocks_per_piece], blocks_per_piece)
        for at in range(0, len(leaves), blocks_per_piece)
    )
    width = merkle.width(pieces) * blocks_per_piece
    assert merkle.root_of_pieces(layer, blocks_per_piece) == naive_root(leaves, width)


@given(st.integers(2, 100), st.integers(0, 4), st.data())
def test_what_a_tree_proves_leads_to_its_root(pieces: int, level: int, data: st.DataObject):
    layer = hashes(pieces)
    tree = merkle.Tree(b"".join(layer), level)
    width = merkle.width(pieces)
    assert tree.root == merkle.root_of_pieces(b"".join(layer), 1 << level)
    length = data.draw(st.sampled_from([1 << power for power in range(1, width.bit_length())]))
    index = data.draw(st.integers(0, width // length - 1)) * length
    found = tree.prove(index, length, merkle.level_of(width) - 1 if length < width else 0)
    assert found is not None
    assert found[: max(0, pieces - index)][:length] == layer[index : index + length]
    assert len(found) == length + merkle.level_of(width) - merkle.level_of(length)
    assert merkle.fold(found[:length], index, found[length:]) == tree.root


@given(st.integers(2, 9), st.integers(0, 4), st.data())
def test_what_the_blocks_of_one_piece_prove_is_what_the_whole_tree_proves(pieces: int, level: int, data: st.DataObject):
    leaves = hashes(pieces * (1 << level) - data.draw(st.integers(0, (1 << level) - 1)))
    whole = merkle.Tree(b"".join(leaves), 0)
    per_piece = [leaves[at : at + (1 << level)] for at in range(0, len(leaves), 1 << level)]
    upper = merkle.Tree(b"".join(merkle.root(piece, 1 << level) for piece in per_piece), level)
    assert upper.root == whole.root
    piece = data.draw(st.integers(0, pieces - 1))
    tree = merkle.BlockTree(per_piece[piece], piece, upper)
    length = 1 << data.draw(st.integers(0, level))
    index = (piece << level) + data.draw(st.integers(0, (1 << level) // length - 1)) * length
    proof_layers = data.draw(st.integers(0, 8))
    assert tree.prove(index, length, proof_layers) == whole.prove(index, length, proof_layers)
    assert tree.prove((piece << level) - length, length, 0) is None
    assert tree.prove((piece + 1) << level, length, 0) is None


@given(st.integers(0, 7), st.integers(0, 31))
def test_a_changed_hash_does_not_lead_to_the_root(at: int, byte: int):
    tree = merkle.Tree(b"".join(hashes(32)), 2)
    found = tree.prove(8, 4, 4)
    assert found is not None
    found[at % len(found)] = bytes(value ^ (place == byte) for place, value in enumerate(found[at % len(found)]))
    assert merkle.fold(found[:4], 8, found[4:]) != tree.root


@pytest.mark.parametrize(
    ("index", "length", "proof_layers"),
    [(0, 0, 0), (0, 3, 0), (1, 2, 0), (16, 2, 0), (0, 32, 0), (0, 2, 4), (0, 2, 1 << 31), (1 << 31, 1, 0), (-2, 2, 0)],
)
def test_what_is_not_in_the_tree_is_not_proved(index: int, length: int, proof_layers: int):
    assert merkle.Tree(b"".join(hashes(11)), 2).prove(index, length, proof_layers) is None


@given(st.integers(1, 40 * limits.BLOCK // 7), st.sampled_from([limits.BLOCK, 4 * limits.BLOCK]))
def test_a_hasher_gives_the_root_however_its_blocks_come(size: int, part: int):
    content = Random(size).randbytes(size)
    width = merkle.width(-(-size // limits.BLOCK))
    hasher = TreeHasher(size, width)
    padded = content + bytes(3 * limits.BLOCK)
    for at in range(0, len(padded), part):
        hasher.update(padded[at : at + part])
    assert hasher.digest() == naive_root(merkle.leaves(content), width)
