"""`Readahead`: what readers need, and until when."""

from __future__ import annotations

import pytest

from geventbt.client.torrent.readahead import Readahead


def ahead(pieces: range, seconds: float = 1.0) -> dict[int, float]:
    """Pieces that are needed one after the other."""
    return {piece: place * seconds for place, piece in enumerate(pieces)}


def test_the_pieces_ahead_of_a_reader_are_due_one_after_the_other():
    windows = Readahead()
    assert windows.move("a", ahead(range(3, 6)), 10.0) == ({3, 4, 5}, set())
    assert [windows.due(piece) for piece in range(2, 7)] == [None, 10.0, 11.0, 12.0, None]
    assert set(windows) == {3, 4, 5}


def test_a_piece_keeps_its_deadline_when_its_reader_comes_nearer_as_it_was_expected_to():
    windows = Readahead()
    windows.move("a", ahead(range(3, 6)), 10.0)
    assert windows.move("a", ahead(range(4, 8)), 11.1) == ({4, 6, 7}, {3})
    assert [windows.due(piece) for piece in range(4, 8)] == [11.1, 12.0, 13.1, 14.1]


def test_deadlines_are_set_anew_for_a_reader_that_is_faster_or_slower_than_was_thought():
    windows = Readahead()
    windows.move("a", ahead(range(3, 6)), 10.0)
    assert windows.move("a", ahead(range(4, 8), 0.5), 10.5) == ({4, 5, 6, 7}, {3})
    assert [windows.due(piece) for piece in range(4, 8)] == [10.5, 11.0, 11.5, 12.0]
    windows.move("a", ahead(range(5, 8), 2.0), 20.0)
    assert [windows.due(piece) for piece in range(5, 8)] == [20.0, 22.0, 24.0]


def test_deadlines_are_set_anew_when_it_is_known_how_fast_a_reader_is():
    """The next piece is due as was thought, but those behind it are not."""
    windows = Readahead()
    windows.move("a", ahead(range(8), 0.5), 10.0)
    windows.move("a", ahead(range(1, 8), 0.1), 10.5)
    assert windows.due(7) == pytest.approx(11.1)


def test_a_small_change_of_a_rate_changes_no_deadline():
    windows = Readahead()
    windows.move("a", ahead(range(100), 0.1), 10.0)
    assert windows.move("a", ahead(range(1, 101), 0.12), 10.1) == ({100}, {0})


def test_no_piece_is_due_before_those_in_front_of_it():
    windows = Readahead()
    windows.move("a", ahead(range(3, 6)), 10.0)
    windows.move("a", ahead(range(4, 10), 0.1) | {5: 0.9}, 11.0)
    due = [windows.due(piece) or 0.0 for piece in range(4, 10)]
    assert due == sorted(due)


def test_a_piece_that_two_need_is_due_when_the_first_needs_it_and_until_both_have_gone():
    windows = Readahead()
    windows.move("a", ahead(range(5)), 0.0)
    windows.move("b", ahead(range(4, 6)), 0.0)
    assert windows.due(4) == 0.0
    assert windows.move("b", {}, 1.0) == ({4}, {5})
    assert windows.due(4) == 4.0
    assert windows.move("a", {}, 1.0) == (set(), {0, 1, 2, 3, 4})
    assert not windows
