"""What the parts of one torrent share, as `ClientContext` is what the torrents of one client share."""

from __future__ import annotations

from dataclasses import dataclass

from geventbt.client.context import ClientContext
from geventbt.client.options import TorrentOptions
from geventbt.client.torrent.events import TorrentEvents
from geventbt.client.torrent.identity import TorrentIdentity
from geventbt.client.torrent.lifecycle import Lifecycle


@dataclass(frozen=True, slots=True, eq=False)
class TorrentContext:
    """One torrent, as its parts see it.

    Attributes:
        client: what all torrents of its client share.
        options: how the user wants it.
        identity: what it is.
        life: its state.
        events: its signals.
    """

    client: ClientContext
    options: TorrentOptions
    identity: TorrentIdentity
    life: Lifecycle
    events: TorrentEvents
