"""What the user may do to torrents from the page."""

from __future__ import annotations

import os
from typing import Protocol

from geventbt.client.client import Client
from geventbt.client.torrent.active_torrent import ActiveTorrent
from geventbt.metainfo import Magnet, Torrent


class Control(Protocol):
    """Does what the user asks for. A service that remembers its torrents has one of its own."""

    def add(self, source: Torrent | Magnet) -> ActiveTorrent:
        """Add a torrent; raises as `Client.add`."""

    def pause(self, torrent: ActiveTorrent) -> None:
        """Pause it."""

    def resume(self, torrent: ActiveTorrent) -> None:
        """Go on with it."""

    def remove(self, torrent: ActiveTorrent) -> None:
        """Remove it; its files stay."""

    def set_limits(self, down: int | None, up: int | None) -> None:
        """Set both rates of all torrents together, in bytes a second; None for no limit."""


class ClientControl:
    """A `Control` of a client alone.

    Args:
        client: has the torrents.
        folder: what is added is put there, and nowhere else.
    """

    def __init__(self, client: Client, folder: str | os.PathLike[str]) -> None:
        self._client = client
        self._folder = folder

    def add(self, source: Torrent | Magnet) -> ActiveTorrent:
        """Add a torrent to the folder; raises as `Client.add`."""
        return self._client.add(source, self._folder)

    def pause(self, torrent: ActiveTorrent) -> None:
        """Pause it."""
        torrent.pause()

    def resume(self, torrent: ActiveTorrent) -> None:
        """Go on with it."""
        torrent.resume()

    def remove(self, torrent: ActiveTorrent) -> None:
        """Remove it; its files stay."""
        torrent.remove()

    def set_limits(self, down: int | None, up: int | None) -> None:
        """Set both rates of all torrents together, in bytes a second; None for no limit."""
        self._client.set_limits(down=down, up=up)
