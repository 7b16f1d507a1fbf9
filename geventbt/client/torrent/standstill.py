"""Downloads that stand still: since when, what they wait for in words, and which causes are news. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from geventbt.discovery.trackers.tracker_state import TrackerStatus
from geventbt.net.text import clean_text, without_path


class Cause(NamedTuple):
    """What a download waits for.

    Attributes:
        kind: one word; causes of one kind are not reported one after the other.
        text: one line, printable.
    """

    kind: str
    text: str


class StandstillWatch:
    """Notices that a download stands still.

    A cause is news at first, when its kind has changed, and again after a download had moved for a while; never more
    often than once in `after` seconds.

    Args:
        after: seconds without progress after which a download stands still.
    """

    def __init__(self, after: float) -> None:
        self._after = after
        self._progress: object = None
        self._since = 0.0
        self._moving_since = 0.0
        self._is_still = False
        self._reported: str | None = None
        self._reported_at = float("-inf")

    def is_still(self, progress: object, now: float, *, is_stopped: bool = False) -> bool:
        """Whether nothing has happened for a while.

        Args:
            progress: anything that is equal to the last while nothing happens.
            now: the time in seconds.
            is_stopped: whether nothing can happen: it stands still at once.
        """
        if progress != self._progress:
            self._progress, self._since = progress, now
            if self._is_still:
                self._is_still, self._moving_since = False, now
        if not self._is_still and (is_stopped or now - self._since >= self._after):
            self._is_still = True
            if self._since - self._moving_since >= self._after:
                self._reported = None
        return self._is_still

    def is_news(self, cause: Cause, now: float) -> bool:
        """Whether a cause is to be reported now; then it is news no more."""
        if cause.kind == self._reported or now < self._reported_at + self._after:
            return False
        self._reported, self._reported_at = cause.kind, now
        return True


@dataclass(frozen=True, slots=True)
class PeerCounts:
    """The connected peers of a download.

    Attributes:
        peers: all of them.
        useful: those that have a piece that is missing.
        unchoked: those of the useful that do not choke us.
        silent: those of the unchoked that leave requests unanswered.
        missing: pieces that are wanted and missing.
        broken: those of them that were wrong from every peer.
    """

    peers: int
    useful: int
    unchoked: int
    silent: int
    missing: int
    broken: int


def cause_with_peers(counts: PeerCounts) -> Cause:
    """What a download waits for that has peers."""
    peers = _counted(counts.peers, "peer")
    missing = f"the {_counted(counts.missing, 'piece')} missing"
    if counts.missing and counts.broken >= counts.missing:
        return Cause("broken", f"{peers}, {missing} came wrong from every one that has them")
    if not counts.useful:
        return Cause("pieces", f"{peers}, none has {missing}")
    have = f"{peers}, {counts.useful} with pieces that are missing"
    if not counts.unchoked:
        return Cause("choked", f"{have}: these all choke us")
    if counts.silent >= counts.unchoked:
        return Cause("silent", f"{have}: none of these answers our requests")
    return Cause("blocks", f"{have}: no block comes from these")


@dataclass(frozen=True, slots=True)
class Search:
    """How the search for peers goes.

    Attributes:
        trackers: by URL.
        dht_nodes: good nodes of the DHT; None where the DHT is not used.
        known: addresses of peers that are known.
        failure: why the last connection to a peer failed, or None.
    """

    trackers: Mapping[str, TrackerStatus]
    dht_nodes: int | None
    known: int
    failure: Exception | None


def cause_without_peers(search: Search) -> Cause:
    """What a download waits for that has no peers."""
    parts = [_known(search), _trackers(search.trackers)]
    if search.dht_nodes is not None:
        parts.append(f"DHT: {_counted(search.dht_nodes, 'node')}")
    return Cause("peers", "no peers: " + "; ".join(parts))


def _known(search: Search) -> str:
    if not search.known:
        return "no addresses known"
    failure = f" (the last failed: {clean_text(str(search.failure))})" if search.failure else ""
    return f"{_counted(search.known, 'address', 'addresses')} known{failure}"


def _trackers(trackers: Mapping[str, TrackerStatus]) -> str:
    if not trackers:
        return "no trackers"
    errors = {url: tracker.error for url, tracker in trackers.items() if tracker.error}
    answering = sum(tracker.registered and not tracker.error for tracker in trackers.values())
    parts: list[str] = []
    if errors:
        url, error = next(iter(errors.items()))
        first = f"{without_path(url)}: {clean_text(error)}"
        parts.append(f"{len(errors)} of {_counted(len(trackers), 'tracker')} failing ({first})")
    if answering:
        parts.append(f"{_counted(answering, 'tracker')} answering")
    return ", ".join(parts) or f"{_counted(len(trackers), 'tracker')} not asked yet"


def cause_without_metadata(asked: int, search: Search) -> Cause:
    """What a magnet link waits for.

    Args:
        asked: peers that are being asked, or connected to.
        search: how the search for others goes.
    """
    if asked:
        return Cause("metadata", f"the metadata: {_counted(asked, 'peer')} asked")
    return Cause("peers", f"the metadata: {cause_without_peers(search).text}")


def cause_of_disk(error: Exception, next_try: float | None) -> Cause:
    """What a download waits for that a fault of the disk has stopped.

    Args:
        error: the fault.
        next_try: seconds until the next try; None if there is none before the user asks for it.
    """
    then = "tried again on resume" if next_try is None else f"next try in {next_try:.0f} s"
    return Cause(f"disk: {error}", f"the disk: {clean_text(str(error))}; {then}")


def _counted(count: int, noun: str, plural: str = "") -> str:
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
