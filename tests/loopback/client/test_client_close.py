"""A client that is closed from two sides at once."""

from __future__ import annotations

from pathlib import Path

import gevent
import pytest
from gevent.event import Event

import geventbt
from geventbt.client.torrent.runner import TorrentRunner


def test_who_closes_a_client_second_waits_until_it_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").write_bytes(bytes(100_000))
    torrent = geventbt.create_torrent(tmp_path / "data")
    client = geventbt.seed(torrent, tmp_path, ("127.0.0.1", 0))
    may_go_on = Event()
    close = TorrentRunner.close

    def close_slowly(self: TorrentRunner, timeout: float) -> None:
        may_go_on.wait(10)
        close(self, timeout)

    monkeypatch.setattr(TorrentRunner, "close", close_slowly)
    first, second = gevent.spawn(client.close), gevent.spawn(client.close)
    assert not gevent.wait([first, second], timeout=0.05)
    may_go_on.set()
    gevent.joinall([first, second], timeout=10, raise_error=True)
    assert first.ready()
    assert second.ready()
