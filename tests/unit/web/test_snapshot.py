"""Torrents as plain values."""

from __future__ import annotations

import pytest
from bitarray import bitarray

from geventbt.web.snapshot import piece_map, rounded


@pytest.mark.parametrize(
    ("value", "shown"), [(0, 0), (3.6, 4), (999.4, 999), (1000, 1000), (1239, 1230), (98765.4, 98700), (1e9 + 1, 10**9)]
)
def test_a_speed_is_told_in_three_digits(value: float, shown: int) -> None:
    assert rounded(value) == shown


def test_a_small_torrent_has_a_cell_for_each_piece() -> None:
    assert piece_map(bitarray("0110")) == "0990"
    assert piece_map(bitarray()) == ""


def test_a_large_torrent_has_cells_of_several_pieces_and_none_looks_complete_that_is_not() -> None:
    have = bitarray("1" * 480_000)
    have[99_999] = 0
    cells = piece_map(have)
    assert len(cells) == 480
    assert cells.count("8") == 1
    assert cells[99] == "8"
    assert set(cells) == {"8", "9"}
