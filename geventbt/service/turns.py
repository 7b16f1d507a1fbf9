"""`Turns`: lets those torrents of a session run whose turn it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import gevent

from geventbt.client.status import TorrentState
from geventbt.concurrency.greenlets import spawn
from geventbt.service import queue
from geventbt.service.record import Settings
from geventbt.service.torrent import ServiceTorrent

Order = Callable[[Sequence[bytes], Iterable[bytes]], list[bytes]]
"""A function of `geventbt.service.queue` that gives torrents other places."""


_SOON = 0.05


class TurnsOwner(Protocol):
    """The session, as its queue sees it."""

    @property
    def settings(self) -> Settings:
        """How many may run."""

    @property
    def torrents(self) -> list[ServiceTorrent]:
        """All torrents."""

    def now(self) -> int:
        """The time, in seconds since 1970."""


class Turns:
    """The queue of a session.

    Args:
        owner: has the torrents.
    """

    def __init__(self, owner: TurnsOwner) -> None:
        self._owner = owner
        self._since = owner.now()
        self._updating: gevent.Greenlet | None = None

    @property
    def order(self) -> list[ServiceTorrent]:
        """All torrents, the first in the queue first."""
        return sorted(self._owner.torrents, key=lambda torrent: torrent.record.position)

    def reorder(self, torrents: Iterable[ServiceTorrent], how: Order) -> None:
        """Give torrents other places in the queue."""
        by_hash = {torrent.info_hash: torrent for torrent in self.order}
        order = how(list(by_hash), [torrent.info_hash for torrent in torrents])
        self._number([by_hash[info_hash] for info_hash in order])

    def close_gaps(self) -> None:
        """Number the places from 0 on, after a torrent has gone."""
        self._number(self.order)

    def is_stalled(self, torrent: ServiceTorrent) -> bool:
        """Whether a torrent runs and has transferred nothing for a while."""
        record, settings = torrent.record, self._owner.settings
        silence = self._owner.now() - max(record.active, record.started, record.added, self._since)
        return torrent.runs and settings.skips_stalled and silence >= settings.stalled_after * 60

    def update_soon(self) -> None:
        """The same as `update` in a moment, once for many changes: a thousand torrents may complete at one time."""
        if self._updating is None or self._updating.ready():
            self._updating = gevent.spawn_later(_SOON, self.update)

    def stop(self) -> None:
        """Update no more."""
        if self._updating is not None:
            self._updating.kill()

    def update(self) -> None:
        """Let those torrents run that may, and no others."""
        settings = self._owner.settings
        running = queue.may_run(
            [self._entry(torrent) for torrent in self.order if not torrent.record.is_stopped],
            settings.downloads if settings.limits_downloads else None,
            settings.seeds if settings.limits_seeds else None,
        )
        for torrent in self._owner.torrents:
            runs = torrent.record.id in running
            if runs != torrent.runs:
                torrent.runs, torrent.changed_at = runs, self._owner.now()
                spawn(f"switching {torrent.name!r}", _switch, torrent)

    def _entry(self, torrent: ServiceTorrent) -> queue.Entry:
        takes_no_place = torrent.active.state is TorrentState.FAILED or self.is_stalled(torrent)
        return queue.Entry(torrent.record.id, torrent.is_complete, torrent.record.is_forced, takes_no_place)

    def _number(self, order: Iterable[ServiceTorrent]) -> None:
        for position, torrent in enumerate(order):
            if torrent.record.position != position:
                torrent.record.position, torrent.changed_at = position, self._owner.now()


def _switch(torrent: ServiceTorrent) -> None:
    with torrent.switching:
        if torrent.runs:
            torrent.active.resume()
        else:
            torrent.active.pause()
