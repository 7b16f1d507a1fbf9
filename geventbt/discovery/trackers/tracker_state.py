"""The state of one tracker of a torrent: what its last answer said, and when it may be asked next."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from geventbt import limits
from geventbt.discovery.periodic import AskAgain
from geventbt.discovery.trackers.announce import COMPLETED, REGULAR, STARTED, AnnounceResponse
from geventbt.errors import TrackerError
from geventbt.net.addresses import Address
from geventbt.net.text import without_path

_log = logging.getLogger("geventbt")

_JITTER = 0.05
"""The part by which an announce comes later than at its interval, at the most."""


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


@dataclass(slots=True, eq=False)
class TrackerState:
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
