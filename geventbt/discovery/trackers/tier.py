"""`Tier`: the trackers of one tier (BEP 12), asked one after the other until one answers, which moves to the front."""

from __future__ import annotations

import random
from math import inf
from time import monotonic

from geventbt import limits
from geventbt.concurrency.routine import Routine
from geventbt.discovery.announce_queue import AnnounceQueue
from geventbt.discovery.trackers.announce import COMPLETED, STARTED
from geventbt.discovery.trackers.asker import TrackerAsker
from geventbt.discovery.trackers.tracker_state import TrackerState
from geventbt.net.text import without_path


class Tier:
    """The trackers of one tier, of which the first that answers is enough.

    Args:
        trackers: the trackers, at least one.
        asker: announces to one of them.
        queue: bounds the announces that are under way.

    Attributes:
        trackers: the one that answered last first.
        routine: announces what is due.
        is_over: whether nothing more is announced.
    """

    def __init__(self, trackers: list[TrackerState], asker: TrackerAsker, queue: AnnounceQueue) -> None:
        random.shuffle(trackers)
        self.trackers = trackers
        self.routine = Routine(f"announcing to {trackers[0].url}", self._announce_due)
        self.is_over = False
        self._asker = asker
        self._queue = queue
        self._current: TrackerState | None = None

    @property
    def announces_event(self) -> bool:
        """Whether "started" or "completed" is under way."""
        return any(known.asking in (STARTED, COMPLETED) for known in self.trackers)

    def stop(self) -> None:
        """Announce no more."""
        self.routine.stop(limits.ANNOUNCE_STOP_TIMEOUT)
        self._queue.withdraw(self.routine.wake)

    def need_more(self) -> None:
        """Ask for more peers as soon as the trackers allow it."""
        news = [known.again.need_more() for known in self.trackers]
        if any(news):
            self.routine.wake()

    def moved(self) -> None:
        """Announce as soon as the trackers allow it, although no more peers are needed."""
        for known in self.trackers:
            known.again.ask_soon()
        self.routine.wake()

    def _announce_due(self) -> float | None:
        """Announce what is due. Returns the seconds until the next announce; None if there is none to come."""
        while not self.is_over:
            wait = self._due() - monotonic()
            if wait > 0:
                self._queue.withdraw(self.routine.wake)
                return None if wait == inf else wait
            known = self._first_due()
            place = without_path(known.url)
            if not self._queue.enter(self.routine.wake, place):
                return None
            try:
                self._ask(known)
            finally:
                self._queue.leave(place)
        return None

    def _due(self) -> float:
        """When to ask next: the tracker that answered last, or else the first that may be tried again."""
        current = self._current
        if current is None:
            return min(known.again.planned for known in self.trackers)
        return -inf if current.completed_pending else current.again.due

    def _first_due(self) -> TrackerState:
        """The tracker to ask now: the first that may be asked (BEP 12)."""
        now = monotonic()
        return next(known for known in self.trackers if known is self._current or known.again.planned <= now)

    def _ask(self, known: TrackerState) -> None:
        """Ask a tracker; one that answers moves to the front (BEP 12)."""
        self._current = None
        if self._asker.ask(known):
            self.trackers.remove(known)
            self.trackers.insert(0, known)
            self._current = known
