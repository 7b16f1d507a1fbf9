"""The state of all torrents, as server-sent events: the whole first, then what has changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore

from geventbt import limits
from geventbt.client.client import Client
from geventbt.client.torrent.active_torrent import ActiveTorrent
from geventbt.concurrency.greenlets import spawn
from geventbt.concurrency.turns import in_turns
from geventbt.web.departure import watch_departure
from geventbt.web.journal import Journal
from geventbt.web.snapshot import Row, row_of


class Feed:
    """Tells listeners of changes. One greenlet compares for all of them, and only while there is one.

    A listener that is slow misses revisions, and gets the whole instead: it holds up no other, and nothing
    is kept for it.

    Args:
        client: has the torrents.
        journal: the lines of the log.
        totals: what is true of all torrents together, for JSON.
        note_on: what the user is to know of a torrent beside its own state; see `Control`.
    """

    def __init__(
        self,
        client: Client,
        journal: Journal,
        totals: Callable[[], dict[str, Any]],
        note_on: Callable[[ActiveTorrent], str | None] = lambda torrent: None,
    ) -> None:
        self._client = client
        self._journal = journal
        self._totals_now = totals
        self._note_on = note_on
        self._rows: dict[str, Row] = {}
        self._totals: dict[str, Any] = {}
        self._lines = 0
        self._revision = 0
        self._delta = b""
        self._listeners: set[Event] = set()
        self._starting = BoundedSemaphore(1)
        self._ticker: gevent.Greenlet | None = None

    def events(self, sock: Any = None) -> Iterator[bytes]:
        """The events for one listener, until it leaves; each is a chunk of a text/event-stream.

        Args:
            sock: of the listener, by which it is seen to leave; None where that is seen by writing to it only.
        """
        news = Event()
        watcher = None if sock is None else watch_departure(sock, lambda: self._dismiss(news))
        self._listeners.add(news)
        try:
            with self._starting:
                if self._ticker is None:
                    self._look()
                    self._ticker = spawn("feeding pages", self._tick)
            # Noted before it is sent: sending may take longer than the next change.
            seen = self._revision
            yield b"retry: 1000\n" + self._whole()
            yield from self._changes_for(news, seen)
        finally:
            if watcher is not None:
                watcher.kill(block=False)
            self._dismiss(news)
            if not self._listeners and self._ticker is not None:
                self._ticker.kill(block=False)
                self._ticker = None

    def _changes_for(self, news: Event, seen: int) -> Iterator[bytes]:
        while news in self._listeners:
            if self._revision == seen and not news.wait(limits.WEB_EVENT_HEARTBEAT):
                yield b":\n\n"
            news.clear()
            if self._revision != seen:
                delta = self._delta if self._revision == seen + 1 else None
                seen = self._revision
                yield self._whole() if delta is None else delta

    def _dismiss(self, news: Event) -> None:
        self._listeners.discard(news)
        news.set()

    def _tick(self) -> None:
        while True:
            gevent.sleep(limits.WEB_EVENT_INTERVAL)
            self._look()

    def _look(self) -> None:
        """Compare with the last time, and wake the listeners if anything has changed."""
        torrents = in_turns(list(self._client.torrents.items()))
        rows = {info_hash.hex(): row_of(torrent, self._note_on(torrent)) for info_hash, torrent in torrents}
        totals, lines = self._totals_now(), self._journal.after(self._lines)
        changed = {key: _changes(self._rows.get(key, {}), row) for key, row in rows.items()}
        delta = {
            "torrents": {key: row for key, row in changed.items() if row},
            "gone": [key for key in self._rows if key not in rows],
            "totals": _changes(self._totals, totals),
            "log": lines,
        }
        self._rows, self._totals, self._lines = rows, totals, self._journal.last
        if any(delta.values()):
            self._revision += 1
            self._delta = _event("delta", delta)
            for news in self._listeners:
                news.set()

    def _whole(self) -> bytes:
        lines = [line for line in self._journal.after(0) if line[0] <= self._lines]
        return _event("whole", {"torrents": self._rows, "totals": self._totals, "log": lines})


def _changes(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in now.items() if key not in before or before[key] != value}


def _event(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
