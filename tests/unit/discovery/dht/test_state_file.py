"""The state of a DHT is written one at a time, whatever becomes of the greenlets that ask for it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import gevent
import pytest

from geventbt.discovery.dht.contacts import IPV4
from geventbt.discovery.dht.state import SavedNode
from geventbt.discovery.dht.state_file import StateFile


def test_a_write_whose_greenlet_is_killed_ends_before_the_next_one_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first_begun, second_begun, sync = threading.Event(), threading.Event(), os.fsync
    met: list[bool] = []

    def slow_sync(descriptor: int) -> None:
        if first_begun.is_set():
            second_begun.set()
        else:
            first_begun.set()
            # As long as it would take the second one to begin, if it could.
            met.append(second_begun.wait(0.3))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", slow_sync)
    file = StateFile(tmp_path / "state")
    first = gevent.spawn(file.save, {IPV4: SavedNode(b"1" * 20, None, ())})
    with gevent.Timeout(30):
        while not first_begun.is_set():
            gevent.sleep(0.001)
    first.kill()
    gevent.spawn(file.save, {IPV4: SavedNode(b"2" * 20, None, ())}).get(timeout=30)
    file.close()
    assert met == [False]
    assert not caplog.records
    assert StateFile(tmp_path / "state").load()[IPV4].node_id == b"2" * 20
