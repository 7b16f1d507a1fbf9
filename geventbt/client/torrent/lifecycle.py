"""The state of a torrent: its transitions, the error that ended it, and the greenlets that wait for either."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from gevent.event import Event

from geventbt.arguments import check_seconds, given
from geventbt.client.status import TorrentState
from geventbt.concurrency.notifier import Notifier


class Lifecycle:
    """The state of one torrent. `TorrentState` lists the transitions; `enter` is the only place where one is made.

    Args:
        state: the first state.

    Attributes:
        error: why the torrent has failed, or None.
        is_paused: whether the user has paused it.
        is_suspended: whether a fault of the disk has stopped it for the time being; its error is not final then.
        known: set once the metadata is here, or the torrent has failed.
        done: set while everything wanted is here, or the torrent has failed.
        changes: notified of every change.
        news: set when the torrent's own greenlet is to look at everything again.
        on_news: called at every change, in place of the torrent's own greenlet where it has none; or None.
    """

    def __init__(self, state: TorrentState) -> None:
        self.error: Exception | None = None
        self.is_paused = False
        self.is_suspended = False
        self.known = Event()
        self.done = Event()
        self.changes = Notifier()
        self.news = Event()
        self.on_news: Callable[[], object] | None = None
        self._phase = state

    @property
    def phase(self) -> TorrentState:
        """Its state, as if it were not paused."""
        return self._phase

    @property
    def state(self) -> TorrentState:
        """Its state; a paused torrent is PAUSED unless it is checked or over."""
        active = (TorrentState.METADATA, TorrentState.DOWNLOADING, TorrentState.SEEDING)
        return TorrentState.PAUSED if self.is_paused and self._phase in active else self._phase

    @property
    def is_over(self) -> bool:
        """Whether it has ended for good."""
        return self.error is not None and not self.is_suspended

    def enter(self, state: TorrentState) -> None:
        """Enter another state. Nothing happens once the torrent was removed: its greenlet may come here before it is
        killed."""
        if self._phase is TorrentState.REMOVED:
            return
        assert self._phase.may_become(state), f"from {self._phase} to {state}"
        self._phase = state
        if state in (TorrentState.CHECKING, TorrentState.DOWNLOADING):
            self.done.clear()
        else:
            self.done.set()
        self.notify()

    def fail(self, error: Exception, state: TorrentState = TorrentState.FAILED) -> bool:
        """Note the error that ends the torrent.

        Args:
            error: is raised to all that wait.
            state: FAILED or REMOVED.

        Returns:
            False if it has ended before.
        """
        if self.error is not None:
            return False
        self.error = error
        self.known.set()
        self.enter(state)
        return True

    def recover(self) -> None:
        """Go on after a fault of the disk: the data is to be looked at again."""
        self.is_suspended = False
        self.error = None
        if self._phase is TorrentState.FAILED:
            self.enter(TorrentState.CHECKING)

    def raise_error(self) -> None:
        """Raise the error that has failed the torrent, if there is one, without the tracebacks of other greenlets."""
        if self.error is not None:
            raise self.error.with_traceback(None)

    def wait(self, event: Event, timeout: float | None) -> bool:
        """Block until `known` or `done` is set, and raise the error that has failed the torrent.

        An event may be cleared again before a greenlet that it has woken runs: what was over for a moment, such as a
        torrent that failed and was resumed at once, is waited for on.
        """
        check_seconds(**given(timeout=timeout))
        ends = None if timeout is None else monotonic() + timeout
        while True:
            happened = event.wait(None if ends is None else max(0.0, ends - monotonic()))
            self.raise_error()
            if event.is_set() or not happened:
                return event.is_set()

    def notify(self) -> None:
        """Wake the torrent's own greenlet, and all that wait for `changes`."""
        self.news.set()
        if self.on_news is not None:
            self.on_news()
        self.changes.notify()

    def wait_for_news(self, timeout: float) -> None:
        """Block until the next `notify`, or the last that was not waited for; for the torrent's own greenlet."""
        self.news.wait(timeout)
        self.news.clear()
