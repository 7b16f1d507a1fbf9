"""When a download counts as stalled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from geventbt.client.stall_watch import StallWatch
from geventbt.client.status import Progress, TorrentState

STILL = Progress(TorrentState.DOWNLOADING, wanted=100, done=10, downloaded=20)


def test_it_is_stalled_after_the_timeout_without_any_progress() -> None:
    watch = StallWatch(5.0, 100.0)
    watch.note(STILL, 101.0)
    watch.note(STILL, 105.0)
    assert not watch.is_stalled(105.9)
    assert watch.is_stalled(106.0)


@pytest.mark.parametrize(
    "moved",
    [
        replace(STILL, downloaded=21),
        replace(STILL, done=11),
        replace(STILL, checked=1),
        replace(STILL, state=TorrentState.CHECKING),
    ],
)
def test_anything_that_comes_or_is_checked_is_progress(moved: Progress) -> None:
    watch = StallWatch(5.0, 0.0)
    watch.note(STILL, 0.0)
    watch.note(moved, 4.0)
    assert not watch.is_stalled(8.0)
    watch.note(moved, 8.0)
    assert watch.is_stalled(9.0)


def test_peers_that_come_and_go_are_not_progress() -> None:
    watch = StallWatch(5.0, 0.0)
    watch.note(STILL, 0.0)
    watch.note(replace(STILL, peers=3), 4.0)
    assert watch.is_stalled(5.0)


def test_without_a_timeout_it_is_never_stalled() -> None:
    watch = StallWatch(None, 0.0)
    watch.note(STILL, 0.0)
    assert not watch.is_stalled(1e9)
