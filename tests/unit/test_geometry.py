"""A length cut into pieces and blocks (BEP 3)."""

from __future__ import annotations

import pytest
from bitarray import bitarray

from geventbt import limits
from geventbt.geometry import Geometry


@pytest.mark.parametrize(
    ("length", "pieces", "last"), [(1, 1, 1), (99, 1, 99), (100, 1, 100), (101, 2, 1), (250, 3, 50), (300, 3, 100)]
)
def test_the_last_piece_takes_what_is_left(length: int, pieces: int, last: int):
    geometry = Geometry(length, 100)
    assert geometry.pieces == pieces
    assert geometry.piece_size(pieces - 1) == last
    assert sum(geometry.piece_size(piece) for piece in range(pieces)) == length


@pytest.mark.parametrize(
    ("length", "piece_length"),
    [(0, 1), (-1, 1), (1, 0), (1, -1), (1, limits.PIECE_LENGTH + 1), (limits.PIECES * 16 + 1, 16)],
)
def test_senseless_lengths_are_refused(length: int, piece_length: int):
    with pytest.raises(ValueError):
        Geometry(length, piece_length)


def test_the_most_pieces_are_what_a_bitfield_can_say():
    assert Geometry(limits.PIECES * 16, 16).pieces == limits.PIECES


@pytest.mark.parametrize("piece", [-1, 3, 1 << 40])
def test_a_piece_that_is_not_there_has_no_size(piece: int):
    with pytest.raises(IndexError):
        Geometry(250, 100).piece_size(piece)


@pytest.mark.parametrize(
    ("piece", "offset", "length"), [(0, 0, 100), (0, 99, 1), (1, 10, 90), (2, 0, 50), (2, 49, 1), (0, 0, 1)]
)
def test_a_range_inside_a_piece_is_contained(piece: int, offset: int, length: int):
    assert Geometry(250, 100).contains(piece, offset, length)


@pytest.mark.parametrize(
    ("piece", "offset", "length"),
    [(0, 0, 0), (0, 0, 101), (0, 100, 1), (0, -1, 1), (0, 1, -1), (2, 0, 51), (2, 50, 1), (3, 0, 1), (-1, 0, 1)],
)
def test_any_other_range_is_not(piece: int, offset: int, length: int):
    assert not Geometry(250, 100).contains(piece, offset, length)


def test_blocks_cover_a_piece():
    assert list(Geometry(250, 100).blocks(0, 40)) == [(0, 40), (40, 40), (80, 20)]
    assert list(Geometry(250, 100).blocks(2, 40)) == [(0, 40), (40, 10)]
    assert list(Geometry(250, 100).blocks(0)) == [(0, 100)]


def test_where_pieces_lie_in_the_stream():
    geometry = Geometry(250, 100)
    assert [geometry.start_of(piece) for piece in range(3)] == [0, 100, 200]
    assert [geometry.piece_at(position) for position in (0, 99, 100, 249)] == [(0, 0), (0, 99), (1, 0), (2, 49)]


@pytest.mark.parametrize(
    ("start", "length", "pieces"),
    [(0, 1, [0]), (0, 100, [0]), (0, 101, [0, 1]), (99, 2, [0, 1]), (100, 150, [1, 2]), (50, 0, []), (250, -1, [])],
)
def test_the_pieces_of_a_range_of_the_stream(start: int, length: int, pieces: list[int]):
    assert list(Geometry(250, 100).pieces_of(start, length)) == pieces


@pytest.mark.parametrize(("pieces", "size"), [("000", 0), ("110", 200), ("001", 50), ("111", 250)])
def test_the_bytes_of_a_set_of_pieces(pieces: str, size: int):
    assert Geometry(250, 100).bytes_of(bitarray(pieces)) == size


def test_how_many_full_pieces_fit_and_what_they_hold():
    geometry = Geometry(3 * limits.BLOCK, limits.BLOCK + 1)
    assert geometry.blocks_per_piece == 2
    assert geometry.pieces_in(2 * limits.BLOCK + 1) == 1
    assert geometry.bytes_of_full(2) == 2 * limits.BLOCK + 2
