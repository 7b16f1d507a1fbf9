"""A keeper writes one thing after another, whatever becomes of the greenlets that ask for it."""

from __future__ import annotations

import threading
from pathlib import Path

import gevent

from geventbt.service.keeper import Keeper
from geventbt.service.record import ServiceRecord
from geventbt.service.store import StateStore


class SlowStore(StateStore):
    """Takes its time for the first record, and notes how many it writes at one time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.writing = 0
        self.most = 0
        self._counting = threading.Lock()

    def save_service(self, record: ServiceRecord) -> None:
        with self._counting:
            self.writing += 1
            self.most = max(self.most, self.writing)
        self.begun.set()
        self.may_end.wait(30)
        super().save_service(record)
        with self._counting:
            self.writing -= 1


def test_a_write_whose_greenlet_is_killed_ends_before_the_next_one_begins(tmp_path: Path) -> None:
    store = SlowStore(tmp_path)
    keeper = Keeper(store)
    first = gevent.spawn(keeper.save_all, [], ServiceRecord(seconds=1))
    with gevent.Timeout(30):
        while not store.begun.is_set():
            gevent.sleep(0.001)
    first.kill()
    second = gevent.spawn(keeper.save_all, [], ServiceRecord(seconds=2))
    gevent.idle()
    store.may_end.set()
    second.get(timeout=30)
    assert store.most == 1
    keeper.close()
    assert StateStore(tmp_path).load_service().seconds == 2
