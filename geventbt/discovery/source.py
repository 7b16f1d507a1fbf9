"""`PeerSource`: anything that finds the addresses of a torrent's peers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


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
    def status(self) -> Mapping[str, Any]:
        """The status of each thing that it asks, by name."""

    def start(self) -> None:
        """Look for peers, in the background; nothing happens if that has begun already."""

    def need_more(self) -> None:
        """Look for more peers than usual, as soon as that is allowed."""

    def completed(self) -> None:
        """The download is complete."""

    def stop(self, timeout: float) -> None:
        """Look for no more peers, and say that we leave; blocks for at most `timeout` seconds."""
