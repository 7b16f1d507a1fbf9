"""`Announcer`: announces one torrent to its trackers at their intervals, and passes on the peers they give.

BEP 12 puts trackers into tiers. Within a tier the order is random at first; they are asked one after the other until
one answers, which moves to the front. BEP 12 alone would go on to the next tier only when all of one have failed; as
libtorrent and others do, each tier here has a routine of its own, so that we announce to one tracker of each tier, all
tiers side by side, and a dead or slow tracker delays no other tier.

A tracker that failed is not asked again before a time that doubles with each failure, or that it said itself (BEP 31).
One that is asked for more peers before its interval is over, and gives none that it has not given before, is asked so
after a time that doubles too, up to its interval.
"""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from time import monotonic
from typing import Any

import gevent

from geventbt import limits
from geventbt.concurrency.greenlets import spawn
from geventbt.concurrency.routine import Routine
from geventbt.discovery.periodic import AskAgain
from geventbt.discovery.trackers import tracker
from geventbt.discovery.trackers.announce import (
    COMPLETED,
    REGULAR,
    STARTED,
    STOPPED,
    AnnounceRequest,
    AnnounceResponse,
)
from geventbt.discovery.trackers.announce_queue import AnnounceQueue
from geventbt.errors import TrackerError
from geventbt.net.addresses import Address
from geventbt.net.text import without_path

_log = logging.getLogger("geventbt")

_JITTER = 0.05
"""The part by which an announce comes later than at its interval, at the most."""

MakeRequest = Callable[[str], AnnounceRequest]
OnPeers = Callable[[list[Address], str], Any]


@dataclass(slots=True)
class TrackerStatus:
    """The state of one tracker.

    Attributes:
        error: why the last announce failed, or None if it did not. Untrusted text, printable and bounded.
        warning: the warning in its last answer, or None; untrusted, too.
        last_announce: when it was asked last, on the clock of `time.monotonic`; None before the first announce.
        next_announce: when this tracker may be asked next, on the same clock: infinite if never; None before the first
            announce.
        seeders: in its last answer, or None.
        leechers: likewise.
        peers: how many its last answer gave.
        external_ip: our address as it sees it, or None (BEP 24).
        registered: whether the tracker counts us as a peer: it has answered, and "stopped" was not sent since.
        address: the IP address from which it answered last, or None.
    """

    error: str | None = None
    warning: str | None = None
    last_announce: float | None = None
    next_announce: float | None = None
    seeders: int | None = None
    leechers: int | None = None
    peers: int = 0
    external_ip: str | None = None
    registered: bool = False
    address: str | None = None


class Announcer:
    """Announces one torrent to its trackers until it is stopped.

    Args:
        tiers: announce URLs, as in `Torrent.trackers`; the first `limits.TRACKERS` are used, each once.
        make_request: called with the event ("started", "completed", "stopped" or "") before each announce; returns what
            to say. The announcer itself puts in the event, where it is one of the first three, the tracker's id and,
            where there is none, a key. It must not block.
        on_peers: called with the peers of an answer, if it gives any, and the tracker's URL, on the greenlet of its
            tier. An exception is logged.
        announce: asks one tracker; another may be put in its place.
        queue: bounds the announces that are under way, of all torrents that share it; None for one of its own.
    """

    def __init__(
        self,
        tiers: Sequence[Sequence[str]],
        make_request: MakeRequest,
        on_peers: OnPeers,
        *,
        announce: Callable[..., AnnounceResponse] = tracker.announce,
        queue: AnnounceQueue | None = None,
    ) -> None:
        queue = queue or AnnounceQueue(limits.TRACKER_ANNOUNCES, limits.ANNOUNCES)
        self._asker = _Asker(make_request, on_peers, announce, secrets.randbits(32))
        self._tiers = [_Tier([_Tracker(url) for url in tier], self._asker, queue) for tier in _distinct(tiers)]
        self._is_started = False
        self._is_stopped = False
        self._is_completed = False

    @property
    def status(self) -> dict[str, TrackerStatus]:
        """The state of each tracker, by its URL: tier by tier, the one that answered last first."""
        return {known.url: known.status for known in self._trackers()}

    def _trackers(self) -> Iterator[_Tracker]:
        return (known for tier in self._tiers for known in tier.trackers)

    def start(self) -> None:
        """Announce "started" to the trackers, and from then on at their intervals, in the background.

        Raises:
            RuntimeError: it was started before.
        """
        if self._is_started or self._is_stopped:
            raise RuntimeError("an announcer is started once")
        self._is_started = True
        for tier in self._tiers:
            tier.routine.start()

    def completed(self) -> None:
        """Announce "completed" to the tracker of each tier: at once, or as soon as it counts us as a peer.

        Only the first call counts.
        """
        if self._is_completed:
            return
        self._is_completed = True
        for tier in self._tiers:
            for known in tier.trackers:
                known.completed_pending = True
            tier.routine.wake()

    def need_more(self) -> None:
        """Ask for more peers before the interval is over, but not before the tracker's min interval is."""
        for tier in self._tiers:
            tier.need_more()

    def moved(self) -> None:
        """Announce where we are reached now, as soon as the trackers' min intervals are over."""
        for tier in self._tiers:
            tier.moved()

    def stop(self, timeout: float = limits.ANNOUNCE_STOP_TIMEOUT) -> None:
        """Stop announcing, and announce "stopped" to the trackers that count us, all of them side by side.

        A tracker that has not answered "started" or "completed" yet has half of the time for it, and may count us
        whether it answers or not.

        Args:
            timeout: seconds for that. It blocks no longer; with 0 nothing is sent.
        """
        self._is_stopped = True
        ends = monotonic() + timeout
        for tier in self._tiers:
            tier.is_over = True
        if timeout > 0:
            # A call from `on_peers` runs on one of the greenlets, which then ends by itself.
            working = [tier.routine.greenlet for tier in self._tiers if tier.announces_event]
            others = [greenlet for greenlet in working if greenlet not in (None, gevent.getcurrent())]
            gevent.joinall(others, timeout / 2)
        for tier in self._tiers:
            tier.stop()
        knowing = [known for known in self._trackers() if known.may_count_us]
        leaving = [
            spawn("announcing that we leave", self._asker.leave, known, ends) for known in knowing if timeout > 0
        ]
        try:
            gevent.joinall(leaving, timeout=max(0.0, ends - monotonic()))
        finally:
            gevent.killall(leaving)


def _distinct(tiers: Sequence[Sequence[str]]) -> list[list[str]]:
    """The same tiers without a URL that came before, over the limit, or without any."""
    seen: set[str] = set()
    distinct = []
    for tier in tiers:
        urls = [url for url in dict.fromkeys(tier) if url not in seen][: limits.TRACKERS - len(seen)]
        seen.update(urls)
        distinct.append(urls)
    return [urls for urls in distinct if urls]


@dataclass(slots=True, eq=False)
class _Tracker:
    """The announce state of one tracker."""

    url: str
    status: TrackerStatus = field(default_factory=TrackerStatus)
    trackerid: bytes | None = None
    failures: int = 0
    completed_pending: bool = False
    asking: str | None = None
    """The event of the announce that is under way."""
    may_count_us: bool = False
    """Whether "started" was sent, and neither refused nor followed by "stopped"."""
    given: set[Address] = field(default_factory=set)
    """The peers that it has given."""
    again: AskAgain = field(default_factory=lambda: AskAgain(limits.ANNOUNCE_INTERVAL, limits.EARLY_ANNOUNCE))

    def next_event(self) -> str:
        if not self.status.registered:
            return STARTED
        return COMPLETED if self.completed_pending else REGULAR

    def answered(self, event: str, response: AnnounceResponse, now: float) -> None:
        least = limits.MIN_ANNOUNCE_INTERVAL if response.min_interval is None else response.min_interval
        # A little later, so that torrents which were started together drift apart.
        interval = max(response.interval, least) * random.uniform(1, 1 + _JITTER)
        early = limits.EARLY_ANNOUNCE if response.min_interval is None else least
        is_new = self._note_given(response.peers)
        self.failures = 0
        # The first answer may well give no peers.
        self.again.asked(now, found=is_new or event == STARTED, interval=interval, min_interval=early)
        self.trackerid = response.trackerid or self.trackerid
        self.completed_pending = self.completed_pending and event != COMPLETED
        if self.status.error is not None:
            _log.info("the tracker %s answers again", without_path(self.url))
        self.status.error = None
        self.status.warning = response.warning
        self.status.seeders, self.status.leechers = response.seeders, response.leechers
        self.status.peers = len(response.peers)
        self.status.external_ip = response.external_ip or self.status.external_ip
        self._note_times(now)
        self.status.registered = True
        self.status.address = response.address

    def _note_times(self, now: float) -> None:
        self.status.last_announce, self.status.next_announce = now, self.again.planned

    def _note_given(self, peers: Sequence[Address]) -> bool:
        """Note the peers of an answer; returns whether it has given others than before."""
        new = [peer for peer in peers if peer not in self.given]
        if len(self.given) + len(new) > limits.TRACKER_GIVEN:
            self.given.clear()
        self.given.update(new)
        return bool(new)

    def failed(self, error: Exception, now: float) -> None:
        wait = min(limits.ANNOUNCE_RETRY * 2.0 ** min(self.failures, 30), limits.MAX_ANNOUNCE_RETRY)
        retry_in = error.retry_in if isinstance(error, TrackerError) else None
        self.failures += 1
        self.again.failed(now, wait if retry_in is None else retry_in)
        # It refuses, or nothing has reached it: it does not count us, unless it has before.
        self.may_count_us = self.status.registered
        if str(error) != self.status.error:
            _log.warning("the tracker %s: %s", without_path(self.url), error)
        self.status.error = str(error)
        self._note_times(now)


class _Asker:
    """Announces to one tracker and notes the outcome. Neither a tracker nor a callback of the user makes it fail."""

    def __init__(
        self, make_request: MakeRequest, on_peers: OnPeers, announce: Callable[..., AnnounceResponse], key: int
    ) -> None:
        self._make_request = make_request
        self._on_peers = on_peers
        self._announce = announce
        self._key = key

    def ask(self, known: _Tracker) -> bool:
        """Announce what is due; returns whether the tracker has answered."""
        event = known.asking = known.next_event()
        known.again.begin()
        try:
            request = self._request(known, event)
            known.may_count_us = True
            response = self._announce(known.url, request)
        except TrackerError as error:
            known.failed(error, monotonic())
            return False
        except Exception as error:
            _log.exception("an announce to %s failed", known.url)
            known.failed(error, monotonic())
            return False
        finally:
            known.asking = None
        known.answered(event, response, monotonic())
        self._hand_on(response, known.url)
        return True

    def _request(self, known: _Tracker, event: str) -> AnnounceRequest:
        request = self._make_request(event)
        key = self._key if request.key is None else request.key
        return replace(request, event=event or request.event, key=key, trackerid=known.trackerid)

    def _hand_on(self, response: AnnounceResponse, url: str) -> None:
        if not response.peers:
            return
        try:
            self._on_peers(list(response.peers), url)
        except Exception:
            _log.exception("on_peers failed")

    def leave(self, known: _Tracker, ends: float) -> None:
        """Announce "stopped", and "completed" before it where that has not been said yet.

        Args:
            known: the tracker.
            ends: when to end at the latest.
        """
        known.status.registered = known.may_count_us = False
        if not known.completed_pending:
            self._leave(known, STOPPED, ends)
            return
        completing = spawn("announcing completed", self._leave, known, COMPLETED, ends)
        try:
            # "stopped" is not to come first; nor is it to be lost where no answer comes.
            completing.join((ends - monotonic()) / 2)
            self._leave(known, STOPPED, ends)
        finally:
            completing.kill(block=False)

    def _leave(self, known: _Tracker, event: str, ends: float) -> None:
        try:
            request = replace(self._request(known, event), numwant=0)
            self._announce(known.url, request, timeout=max(0.001, ends - monotonic()))
        except TrackerError as error:
            known.status.error = str(error)
        except Exception:
            _log.exception("an announce to %s failed", known.url)


class _Tier:
    """The trackers of one tier, of which the first that answers is enough."""

    def __init__(self, trackers: list[_Tracker], asker: _Asker, queue: AnnounceQueue) -> None:
        random.shuffle(trackers)
        self.trackers = trackers
        self.routine = Routine(f"announcing to {trackers[0].url}", self._announce_due)
        self.is_over = False
        self._asker = asker
        self._queue = queue
        self._current: _Tracker | None = None

    @property
    def announces_event(self) -> bool:
        """Whether "started" or "completed" is under way."""
        return any(known.asking in (STARTED, COMPLETED) for known in self.trackers)

    def wake(self) -> None:
        """Announce: there is a place for it; see `Announcing`."""
        self.routine.wake()

    def stop(self) -> None:
        """Announce no more."""
        self.routine.stop(limits.ANNOUNCE_STOP_TIMEOUT)
        self._queue.withdraw(self)

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
                self._queue.withdraw(self)
                return None if wait == inf else wait
            known = self._first_due()
            place = without_path(known.url)
            if not self._queue.enter(self, place):
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

    def _first_due(self) -> _Tracker:
        """The tracker to ask now: the first that may be asked (BEP 12)."""
        now = monotonic()
        return next(known for known in self.trackers if known is self._current or known.again.planned <= now)

    def _ask(self, known: _Tracker) -> None:
        """Ask a tracker; one that answers moves to the front (BEP 12)."""
        self._current = None
        if self._asker.ask(known):
            self.trackers.remove(known)
            self.trackers.insert(0, known)
            self._current = known
