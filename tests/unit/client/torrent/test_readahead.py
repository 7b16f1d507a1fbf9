"""`Readahead`: what readers need, and until when."""

from __future__ import annotations

from geventbt.client.torrent.readahead import Readahead


def test_the_pieces_ahead_of_a_reader_are_due_one_after_the_other():
    windows = Readahead()
    assert windows.move("a", range(3, 6), 10.0) == ({3, 4, 5}, set())
    assert [windows.due(piece) for piece in range(2, 7)] == [None, 10.0, 11.0, 12.0, None]
    assert set(windows) == {3, 4, 5}


def test_a_piece_is_due_no_later_because_its_reader_has_come_nearer():
    windows = Readahead()
    windows.move("a", range(3, 6), 10.0)
    assert windows.move("a", range(4, 8), 20.0) == ({6, 7}, {3})
    assert [windows.due(piece) for piece in range(4, 8)] == [11.0, 12.0, 22.0, 23.0]


def test_a_piece_that_two_need_is_due_when_the_first_needs_it_and_until_both_have_gone():
    windows = Readahead()
    windows.move("a", range(5), 0.0)
    windows.move("b", range(4, 6), 0.0)
    assert windows.due(4) == 0.0
    assert windows.move("b", (), 1.0) == ({4}, {5})
    assert windows.due(4) == 4.0
    assert windows.move("a", (), 1.0) == (set(), {0, 1, 2, 3, 4})
    assert not windows
