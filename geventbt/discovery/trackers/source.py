"""`TrackerSource`: the trackers of a torrent as a source of peers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from geventbt import limits
from geventbt.discovery.trackers.announce import AnnounceRequest
from geventbt.net.addresses import Address
from geventbt.net.datagrams import DatagramConnector
from geventbt.net.network import DIRECT, Network

if TYPE_CHECKING:
    from geventbt.discovery.announce_queue import AnnounceQueue
    from geventbt.discovery.trackers.announcer import Announcer
    from geventbt.discovery.trackers.tracker_state import TrackerStatus


class TrackerSource:
    """Announces a torrent to its trackers while it is started; a `PeerSource`.

    Args:
        make_request: called with an event before each announce; see `Announcer`.
        on_peers: called with the peers of an answer, and the IP address of the tracker.
        network: opens the sockets.
        udp: opens the connections to UDP trackers; None for the network.
        listens_at: the IP address that we listen on, to ask from; None for all.
        queue: bounds the announces of all torrents that share it; None for one of its own.

    Attributes:
        tiers: announce URLs; a change holds from the next start on.
    """

    allowed_for_private = True

    def __init__(
        self,
        make_request: Callable[[str], AnnounceRequest],
        on_peers: Callable[[list[Address], str], object],
        network: Network = DIRECT,
        udp: DatagramConnector | None = None,
        listens_at: str | None = None,
        queue: AnnounceQueue | None = None,
    ) -> None:
        self.tiers: Sequence[Sequence[str]] = ()
        self._make_request = make_request
        self._on_peers = on_peers
        self._network = network
        self._udp: DatagramConnector = udp or network
        self._listens_at = listens_at
        self._queue = queue
        self._announcer: Announcer | None = None
        self._last_announcer: Announcer | None = None
        self._is_started = False

    @property
    def can_find_more(self) -> bool:
        """Whether there is a tracker."""
        return any(self.tiers)

    @property
    def status(self) -> Mapping[str, TrackerStatus]:
        """The status of each tracker by its URL, also after the last stop."""
        return self._last_announcer.status if self._last_announcer else {}

    def start(self) -> None:
        """Announce, unless that has begun already."""
        self._is_started = True
        if self._announcer is None and self.can_find_more:
            # Only now: HTTP and TLS are half of what a client imports.
            from geventbt.discovery.trackers.announcer import Announcer
            from geventbt.discovery.trackers.tracker import announce_from

            announce = partial(announce_from, self._udp, network=self._network, source=self._listens_at)
            self._announcer = self._last_announcer = Announcer(
                self.tiers, self._make_request, self._hand_on, announce=announce, queue=self._queue
            )
            self._announcer.start()

    def change(self, tiers: Sequence[Sequence[str]]) -> None:
        """Announce to other trackers from now on; blocks until the old ones are informed that we leave."""
        before, self.tiers = self.tiers, tiers
        if self._is_started and tiers != before:
            self.stop(limits.ANNOUNCE_STOP_TIMEOUT)
            self.start()

    def need_more(self) -> None:
        """Ask for more peers, as soon as the trackers allow it."""
        if self._announcer is not None:
            self._announcer.need_more()

    def completed(self) -> None:
        """Announce that the download is complete."""
        if self._announcer is not None:
            self._announcer.completed()

    def moved(self) -> None:
        """Announce where we are reached now, as soon as the trackers allow it."""
        if self._announcer is not None:
            self._announcer.moved()

    def stop(self, timeout: float) -> None:
        """Announce that we leave; blocks for at most `timeout` seconds."""
        self._is_started = False
        announcer, self._announcer = self._announcer, None
        if announcer is not None:
            announcer.stop(timeout)

    def _hand_on(self, peers: list[Address], url: str) -> Any:
        # A URL stands for an address of the internet.
        self._on_peers(peers, self.status[url].address or url)
