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

from collections.abc import Callable, Iterator, Sequence
from time import monotonic

import gevent

from geventbt import limits
from geventbt.concurrency.greenlets import spawn
from geventbt.discovery.announce_queue import AnnounceQueue
from geventbt.discovery.trackers import tracker
from geventbt.discovery.trackers.announce import AnnounceResponse
from geventbt.discovery.trackers.asker import MakeRequest, OnPeers, TrackerAsker
from geventbt.discovery.trackers.tier import Tier
from geventbt.discovery.trackers.tracker_state import TrackerState, TrackerStatus


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
        self._asker = TrackerAsker(make_request, on_peers, announce)
        self._tiers = [Tier([TrackerState(url) for url in tier], self._asker, queue) for tier in _distinct(tiers)]
        self._is_started = False
        self._is_stopped = False
        self._is_completed = False

    @property
    def status(self) -> dict[str, TrackerStatus]:
        """The state of each tracker, by its URL: tier by tier, the one that answered last first."""
        return {known.url: known.status for known in self._trackers()}

    def _trackers(self) -> Iterator[TrackerState]:
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
