"""`PeerSource`: anything that finds the addresses of a torrent's peers, and `SourceStatus`, what a user sees of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class SourceStatus(Protocol):
    """The state of one thing that names peers of a torrent: a tracker, the DHT, the local network, the other peers."""

    @property
    def peers(self) -> int:
        """The number of peers that it has named: of a tracker and the DHT, when last asked; else since the start."""

    @property
    def last_announce(self) -> float | None:
        """When it was asked last, on the clock of `time.monotonic`; None before the first time, and if it never is."""

    @property
    def next_announce(self) -> float | None:
        """When it is asked next, on the same clock, if it is not needed before; None if that is not known."""

    @property
    def error(self) -> str | None:
        """Why it failed the last time, printable; None if it did not."""


class PeerSource(Protocol):
    """Finds peers of one torrent: its trackers, the DHT, the local network.

    It is made with a function that takes the addresses, and is started and stopped as often as its torrent is.
    """

    @property
    def allowed_for_private(self) -> bool:
        """Whether it may be used for private torrents (BEP 27)."""

    @property
    def can_find_more(self) -> bool:
        """Whether it may ever find another peer: there is something to ask."""

    @property
    def status(self) -> Mapping[str, SourceStatus]:
        """The status of each thing that it asks, by name."""

    def start(self) -> None:
        """Look for peers, in the background; nothing happens if that has begun already."""

    def need_more(self) -> None:
        """Look for more peers than usual, as soon as that is allowed."""

    def completed(self) -> None:
        """The download is complete."""

    def moved(self) -> None:
        """We are reached at another port or address: tell it, as soon as that is allowed."""

    def stop(self, timeout: float) -> None:
        """Look for no more peers, and say that we leave; blocks for at most `timeout` seconds."""
