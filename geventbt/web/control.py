"""What the user may do to torrents from the page."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from geventbt.client.client import Client
from geventbt.client.torrent.active_torrent import ActiveTorrent
from geventbt.client.torrent.file_map import FileRef
from geventbt.concurrency.greenlets import spawn
from geventbt.errors import GeventBTError
from geventbt.metainfo import Magnet, Torrent


class Control(Protocol):
    """Does what the user asks for. A service that remembers its torrents has one of its own."""

    def add(self, source: Torrent | Magnet) -> ActiveTorrent:
        """Add a torrent; raises as `Client.add`."""

    def pause(self, torrent: ActiveTorrent) -> None:
        """Pause it."""

    def resume(self, torrent: ActiveTorrent) -> None:
        """Go on with it."""

    def check(self, torrent: ActiveTorrent) -> None:
        """Hash all of its data again, in the background."""

    def remove(self, torrent: ActiveTorrent, *, delete: bool) -> None:
        """Remove it, and delete its files or leave them; raises as `ActiveTorrent.remove`."""

    def set_priorities(self, torrent: ActiveTorrent, priorities: Mapping[int, int]) -> None:
        """Set priorities of files by their index; raises as `ActiveTorrent.set_priorities`."""

    def set_limits(self, down: int | None, up: int | None) -> None:
        """Set both rates of all torrents together, in bytes a second; None for no limit."""

    def note_on(self, torrent: ActiveTorrent) -> str | None:
        """What the user is to know of a torrent beside its own state, such as what it waits for."""


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

    def check(self, torrent: ActiveTorrent) -> None:
        """Hash all of its data again, in the background."""
        spawn(f"checking {torrent.name!r}", _check, torrent)

    def remove(self, torrent: ActiveTorrent, *, delete: bool) -> None:
        """Remove it, and delete its files or leave them."""
        torrent.remove(delete=delete)

    def set_priorities(self, torrent: ActiveTorrent, priorities: Mapping[int, int]) -> None:
        """Set priorities of files by their index."""
        torrent.set_priorities(dict[FileRef, int](priorities.items()))

    def set_limits(self, down: int | None, up: int | None) -> None:
        """Set both rates of all torrents together, in bytes a second; None for no limit."""
        self._client.set_limits(down=down, up=up)

    def note_on(self, torrent: ActiveTorrent) -> str | None:
        """Nothing: its own state says all."""
        return None


def _check(torrent: ActiveTorrent) -> None:
    # An error is the torrent's, and shown there.
    with suppress(GeventBTError, OSError):
        torrent.check()
