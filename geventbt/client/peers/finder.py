"""Where a torrent's peers come from: its user, its trackers, and whoever else tells of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import gevent
from gevent import socket as gevent_socket

from geventbt.client.peers.known_peers import Candidates, Source
from geventbt.discovery.trackers.announce import AnnounceRequest
from geventbt.net.addresses import Address

if TYPE_CHECKING:
    from geventbt.discovery.trackers.announcer import Announcer, TrackerStatus

_log = logging.getLogger("geventbt")

_AT_ONCE = 100
"""Addresses learnt before others have their turn: *measured*, a thousand hold the hub up for 70 ms."""


class Finder:
    """Finds the peers of one torrent.

    Args:
        candidates: where they are put.
        make_announce: called with an event; returns what the trackers are told.
        on_found: called when there are new candidates.

    Attributes:
        tiers: announce URLs.
    """

    def __init__(
        self,
        candidates: Candidates,
        make_announce: Callable[[str], AnnounceRequest],
        on_found: Callable[[], None],
    ) -> None:
        self.tiers: list[list[str]] = []
        self._candidates = candidates
        self._make_announce = make_announce
        self._on_found = on_found
        self._announcer: Announcer | None = None
        self._last_announcer: Announcer | None = None

    @property
    def has_trackers(self) -> bool:
        """Whether there is anybody to ask."""
        return any(self.tiers)

    @property
    def trackers(self) -> dict[str, TrackerStatus]:
        """How it goes with each tracker, or how it ended, by its URL."""
        return self._last_announcer.status if self._last_announcer else {}

    def start(self) -> None:
        """Announce to the trackers, unless that has begun already."""
        if self._announcer is None and self.has_trackers:
            # Only now: http and TLS are half of what a client imports.
            from geventbt.discovery.trackers.announcer import Announcer

            self._announcer = self._last_announcer = Announcer(self.tiers, self._make_announce, self._on_tracker_peers)
            self._announcer.start()

    def need_more(self) -> None:
        """Ask the trackers for more peers, as soon as they allow it."""
        if self._announcer is not None:
            self._announcer.need_more()

    def completed(self) -> None:
        """Tell the trackers that the download is complete."""
        if self._announcer is not None:
            self._announcer.completed()

    def stop(self, timeout: float) -> None:
        """Tell the trackers that we leave; blocks for `timeout` seconds at the most."""
        announcer, self._announcer = self._announcer, None
        if announcer is not None:
            announcer.stop(timeout)

    def add_by_user(self, peers: Iterable[Address]) -> None:
        """Learn of peers from the user, by address or by name."""
        self.add(_resolve(peers), Source.USER)

    def add(self, addresses: Iterable[Address], source: Source, told_by: str = "") -> None:
        """Learn of peers.

        Args:
            addresses: (host, port) of each.
            source: what told of them.
            told_by: the IP address of whoever did.
        """
        addresses = list(addresses)
        for start in range(0, len(addresses), _AT_ONCE):
            if start:
                gevent.sleep(0)
            now = monotonic()
            for address in addresses[start : start + _AT_ONCE]:
                self._candidates.add(address, source, now, told_by=told_by)
            self._on_found()

    def _on_tracker_peers(self, peers: list[Address], url: str) -> None:
        self.add(peers, Source.TRACKER, _teller(url))


def checked(peers: Iterable[Address]) -> list[Address]:
    """Peers as a user names them.

    Raises:
        ValueError: one is no (host, port).
    """
    found: list[Address] = []
    for peer in peers:
        host, port = peer if isinstance(peer, (tuple, list)) and len(peer) == 2 else (None, None)
        if not isinstance(host, str) or not isinstance(port, int) or not 0 < port < 1 << 16:
            raise ValueError(f"{peer!r} is no (host, port) of a peer")
        found.append((host, port))
    return found


def _resolve(addresses: Iterable[Address]) -> list[Address]:
    """The IP addresses behind names that the user gave; a name that leads nowhere is left out."""
    resolved: list[Address] = []
    for host, port in addresses:
        try:
            answers = gevent_socket.getaddrinfo(host, port, type=gevent_socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            _log.warning("the peer %s:%s cannot be found: %s", host, port, error)
            continue
        resolved.append(answers[0][4][:2])
    return resolved


def _teller(url: str) -> str:
    """The IP address of a tracker, by which it is judged which peers it may name."""
    try:
        name = urlsplit(url).hostname or ""
        address: str = gevent_socket.getaddrinfo(name, None)[0][4][0]
    except (OSError, ValueError):
        # As good as an address of the internet.
        return url
    return address
