"""Which torrents may run, and how places in the queue are changed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from geventbt.service.queue import Entry, may_run, moved_down, moved_to, moved_to_bottom, moved_to_top, moved_up

DOWNLOADS = [Entry(1, False), Entry(2, True), Entry(3, False), Entry(4, False)]
ENTRIES = st.lists(
    st.builds(Entry, st.integers(0, 50), st.booleans(), st.booleans(), st.booleans()), unique_by=lambda entry: entry.key
)


def test_the_first_of_the_queue_run() -> None:
    assert may_run(DOWNLOADS, 2, 1) == {1, 2, 3}


def test_without_limits_all_run() -> None:
    assert may_run(DOWNLOADS, None, None) == {1, 2, 3, 4}


def test_with_no_places_none_runs() -> None:
    assert may_run(DOWNLOADS, 0, 0) == set()


def test_one_that_is_forced_or_stalled_takes_no_place() -> None:
    queue = [Entry(1, False, is_stalled=True), Entry(2, False), Entry(3, False, is_forced=True), Entry(4, False)]
    assert may_run(queue, 1, None) == {1, 2, 3}


@given(ENTRIES, st.integers(0, 5), st.integers(0, 5))
def test_never_more_take_places_than_there_are(queue: list[Entry], downloads: int, seeds: int) -> None:
    running = may_run(queue, downloads, seeds)
    placed = [entry for entry in queue if entry.key in running and not (entry.is_forced or entry.is_stalled)]
    assert sum(not entry.seeds for entry in placed) <= downloads
    assert sum(entry.seeds for entry in placed) <= seeds
    assert all(entry.key in running for entry in queue if entry.is_forced or entry.is_stalled)


def test_places_are_changed_and_the_rest_keeps_its_order() -> None:
    assert moved_to_top("abcd", "cd") == list("cdab")
    assert moved_to_bottom("abcd", "ab") == list("cdab")
    assert moved_up("abcd", "bd") == list("badc")
    assert moved_up("abcd", "ab") == list("abcd")
    assert moved_down("abcd", "ac") == list("badc")
    assert moved_to("abcd", "a", 2) == list("bcad")
    assert moved_to("abcd", "d", 0) == list("dabc")
    assert moved_to("abcd", "a", 99) == list("bcda")


@given(st.permutations(list("abcdef")), st.sets(st.sampled_from("abcdefgh")))
def test_no_change_of_places_loses_a_torrent(queue: list[str], chosen: set[str]) -> None:
    for move in (moved_to_top, moved_to_bottom, moved_up, moved_down):
        assert sorted(move(queue, chosen)) == list("abcdef")
