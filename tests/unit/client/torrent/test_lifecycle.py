"""The state of a torrent, its error, and those that wait for either."""

from __future__ import annotations

import gevent
import pytest

from geventbt.client.status import TorrentState
from geventbt.client.torrent.lifecycle import Lifecycle
from geventbt.errors import DownloadError, StorageError


@pytest.fixture
def life() -> Lifecycle:
    life = Lifecycle(TorrentState.CHECKING)
    life.enter(TorrentState.DOWNLOADING)
    return life


def test_a_state_that_may_not_follow_is_refused() -> None:
    life = Lifecycle(TorrentState.METADATA)
    with pytest.raises(AssertionError, match="from metadata to seeding"):
        life.enter(TorrentState.SEEDING)


def test_a_torrent_is_done_while_it_seeds(life: Lifecycle) -> None:
    assert not life.done.is_set()
    life.enter(TorrentState.SEEDING)
    assert life.done.is_set()
    life.enter(TorrentState.DOWNLOADING)
    assert not life.done.is_set()


def test_a_pause_is_shown_in_place_of_what_it_stops(life: Lifecycle) -> None:
    life.is_paused = True
    assert (life.state, life.phase) == (TorrentState.PAUSED, TorrentState.DOWNLOADING)
    life.enter(TorrentState.CHECKING)
    assert life.state is TorrentState.CHECKING


def test_only_the_first_error_counts(life: Lifecycle) -> None:
    first = DownloadError("first")
    assert life.fail(first)
    assert not life.fail(DownloadError("second"))
    assert life.error is first
    assert life.is_over


def test_those_that_wait_get_the_error(life: Lifecycle) -> None:
    waiting = gevent.spawn(life.wait, life.done, None)
    gevent.sleep(0)
    life.fail(DownloadError("gone"))
    with pytest.raises(DownloadError, match="gone"):
        waiting.get(timeout=5)


def test_a_fault_that_is_over_before_those_that_wait_run_is_waited_through(life: Lifecycle) -> None:
    waiting = gevent.spawn(life.wait, life.done, None)
    gevent.sleep(0)
    life.is_suspended = True
    life.fail(StorageError("full"))
    life.recover()
    life.enter(TorrentState.DOWNLOADING)
    gevent.sleep(0.01)
    assert not waiting.ready()
    life.enter(TorrentState.SEEDING)
    assert waiting.get(timeout=5) is True


def test_a_wait_that_is_woken_in_vain_ends_in_time(life: Lifecycle) -> None:
    waiting = gevent.spawn(life.wait, life.done, 0.05)
    gevent.sleep(0)
    life.enter(TorrentState.SEEDING)
    life.enter(TorrentState.DOWNLOADING)
    assert waiting.get(timeout=5) is False


def test_a_fault_of_the_disk_is_not_the_end(life: Lifecycle) -> None:
    life.is_suspended = True
    life.fail(StorageError("full"))
    assert life.state is TorrentState.FAILED
    assert not life.is_over
    life.recover()
    assert (life.state, life.error, life.is_suspended) == (TorrentState.CHECKING, None, False)


def test_a_lack_that_was_no_failure_leaves_the_state_as_it_is(life: Lifecycle) -> None:
    life.is_suspended = True
    life.recover()
    assert life.state is TorrentState.DOWNLOADING


def test_a_torrent_that_was_removed_enters_no_other_state(life: Lifecycle) -> None:
    life.fail(DownloadError("removed"), TorrentState.REMOVED)
    life.enter(TorrentState.DOWNLOADING)
    assert life.state is TorrentState.REMOVED
    assert life.done.is_set()


def test_news_that_came_before_are_not_missed(life: Lifecycle) -> None:
    life.notify()
    with gevent.Timeout(5):
        life.wait_for_news(60)
