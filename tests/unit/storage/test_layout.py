"""Where the ranges of pieces lie in files."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventbt.geometry import Geometry
from geventbt.metainfo import TorrentFile
from geventbt.storage.layout import Layout


def make_files(lengths: list[int]) -> list[TorrentFile]:
    offsets = accumulate(lengths, initial=0)
    ranges = zip(lengths, offsets, strict=False)
    return [TorrentFile((str(i),), length, offset) for i, (length, offset) in enumerate(ranges)]


def make_layout(lengths: list[int], piece_length: int) -> Layout:
    return Layout(make_files(lengths), Geometry(sum(lengths), piece_length))


def test_a_range_within_one_file_is_one_span():
    assert make_layout([100], 10).spans(3, 2, 5) == [(0, 32, 5)]


def test_a_range_over_several_files_is_a_span_in_each():
    assert make_layout([4, 3, 20], 16).spans(0, 2, 10) == [(0, 2, 2), (1, 0, 3), (2, 0, 5)]


def test_files_without_bytes_are_never_met():
    assert make_layout([0, 4, 0, 0, 4, 0], 8).spans(0, 0, 8) == [(1, 0, 4), (4, 0, 4)]


def test_the_last_piece_ends_with_the_last_file():
    assert make_layout([10, 5], 8).spans(1, 0, 7) == [(0, 8, 2), (1, 0, 5)]


@pytest.mark.parametrize("where", [(0, 0, 0), (0, 0, 9), (0, -1, 1), (1, 7, 1), (2, 0, 1), (-1, 0, 1)])
def test_a_range_that_is_not_inside_a_piece_is_refused(where: tuple[int, int, int]):
    with pytest.raises(ValueError, match="not a range of a piece"):
        make_layout([10, 5], 8).spans(*where)


def test_files_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match="add up"):
        Layout(make_files([4, 4]), Geometry(9, 4))


def test_the_pieces_of_a_file_include_those_it_shares():
    files = make_files([10, 0, 10])
    layout = Layout(files, Geometry(20, 8))
    assert [list(layout.pieces(file)) for file in files] == [[0, 1], [], [1, 2]]
    assert list(layout.pieces(files[2], 6)) == [2]
    assert list(layout.pieces(files[2], 10)) == []


@given(st.lists(st.integers(0, 20), min_size=1, max_size=12).filter(sum), st.integers(1, 30), st.data())
def test_spans_agree_with_a_map_of_every_byte(lengths: list[int], piece_length: int, data: st.DataObject):
    """The naive model lists (file, offset) for each byte of the stream."""
    stream = [(file, offset) for file, length in enumerate(lengths) for offset in range(length)]
    layout, geometry = make_layout(lengths, piece_length), Geometry(len(stream), piece_length)
    piece = data.draw(st.integers(0, geometry.pieces - 1))
    offset = data.draw(st.integers(0, geometry.piece_size(piece) - 1))
    length = data.draw(st.integers(1, geometry.piece_size(piece) - offset))
    spans = layout.spans(piece, offset, length)
    start = piece * piece_length + offset
    assert [(span.file, span.offset + i) for span in spans for i in range(span.length)] == stream[
        start : start + length
    ]
    assert len({span.file for span in spans}) == len(spans)
