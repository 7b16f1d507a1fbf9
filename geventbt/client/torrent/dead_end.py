"""Detection of downloads that cannot go on: no peer is left, or the torrent itself seems to be wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from geventbt import limits
from geventbt.errors import DownloadError, NoPeersError

MAX_RETRIES = 3
"""Connections to a peer that has given us data, one after the other, before a download that fails without peers gives
it up."""
_MAX_NAMED = 10
"""Pieces that are named in an error."""


class Prospects(Protocol):
    """The swarm of a download, and what may still become of it."""

    @property
    def seeding(self) -> bool:
        """Whether nothing is missing that we want."""

    @property
    def broken(self) -> set[int]:
        """The pieces that were wrong from every source."""

    @property
    def is_stuck(self) -> bool:
        """Whether all that is missing is broken, and no other peer that is known can be tried."""

    def is_alone(self, failures: int) -> bool:
        """Whether no peer is connected, and none is left to connect to."""

    @property
    def last_failure(self) -> Exception | None:
        """Why the last connection could not be made, or was closed."""


class PastPeers(Protocol):
    """What the peers of a download have done so far."""

    @property
    def has_served(self) -> bool:
        """Whether any has given a good piece."""

    @property
    def has_banned(self) -> bool:
        """Whether any was banned."""


class FailedSeeds(Protocol):
    """The web seeds of a download."""

    @property
    def errors(self) -> Sequence[str]:
        """What has failed at each that has failed."""


class DeadEnd:
    """Raises when a download cannot go on.

    Args:
        past: what the peers have done.
        web_seeds: the web seeds.
        has_named_peers: whether the user has named any peer.
        now: the clock, in seconds.
    """

    def __init__(
        self, past: PastPeers, web_seeds: FailedSeeds, *, has_named_peers: bool, now: Callable[[], float]
    ) -> None:
        self._past = past
        self._web_seeds = web_seeds
        self._has_named_peers = has_named_peers
        self._now = now
        self._stuck_since: float | None = None

    def check(self, swarm: Prospects, *, can_find_more: bool) -> None:
        """Look whether there is anything to hope for.

        Args:
            swarm: its peers.
            can_find_more: whether trackers, the DHT or anything else may still find a peer.

        Raises:
            DownloadError: no peer is left to ask for pieces that were wrong from every peer, and for a while none has
                been found.
            NoPeersError: no peer is left, and none can be found.
        """
        if swarm.seeding:
            return
        if self._is_stuck(swarm, can_find_more=can_find_more):
            pieces = ", ".join(map(str, sorted(swarm.broken)[:_MAX_NAMED]))
            raise DownloadError(f"pieces {pieces} are wrong from every peer: the torrent seems to be broken")
        if can_find_more or not swarm.is_alone(MAX_RETRIES):
            return
        if not self._has_named_peers:
            raise NoPeersError(f"no peers to download from{self._failed_seeds}")
        failure = swarm.last_failure
        what = "every peer has left" if self._past.has_served else "no peer could be reached"
        if self._past.has_banned:
            what = "every peer has left, or sent wrong data"
        text = f"{what}: {failure}" if failure else what
        raise NoPeersError(f"{text}{self._failed_seeds}") from failure

    @property
    def _failed_seeds(self) -> str:
        """A part of an error about the web seeds, if there are any."""
        errors = self._web_seeds.errors
        more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
        return f"; no web seed can be used: {errors[0]}{more}" if errors else ""

    def _is_stuck(self, swarm: Prospects, *, can_find_more: bool) -> bool:
        if not swarm.is_stuck:
            self._stuck_since = None
            return False
        now = self._now()
        self._stuck_since = now if self._stuck_since is None else self._stuck_since
        return not can_find_more or now - self._stuck_since >= limits.STUCK_TIME
