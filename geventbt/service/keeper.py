"""`Keeper`: what a session keeps, written by native threads, one file after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from gevent.lock import BoundedSemaphore

from geventbt.concurrency.shield import shielded
from geventbt.concurrency.threads import in_thread
from geventbt.metainfo import Magnet, Torrent
from geventbt.service.record import ServiceRecord, TorrentRecord
from geventbt.service.store import StateStore

_T = TypeVar("_T")


class Keeper:
    """Keeps the state of a session in a `StateStore`, or nothing at all. Its methods block until that is safe on the
    disk, and raise StorageError where it cannot be.

    Args:
        store: the store; None to keep nothing.
    """

    def __init__(self, store: StateStore | None) -> None:
        self._store = store
        self._writing = BoundedSemaphore(1)

    def load_service(self) -> ServiceRecord:
        """What is kept of the session itself."""
        return self._call(StateStore.load_service) or ServiceRecord()

    def load(self) -> list[tuple[Torrent | Magnet, TorrentRecord | None]]:
        """All torrents that are kept."""
        return self._call(lambda store: list(store.load())) or []

    def add(self, source: Torrent | Magnet, record: TorrentRecord, service: ServiceRecord) -> None:
        """Keep a torrent, and first of all that its number is taken."""

        def write(store: StateStore) -> None:
            store.save_service(service)
            store.add(source, record)

        self._call(write)

    def remove(self, info_hash: bytes) -> None:
        """Forget a torrent."""
        self._call(lambda store: store.remove(info_hash))

    def save_source(self, source: Torrent | Magnet) -> None:
        """Keep the metadata of a torrent in place of its link."""
        self._call(lambda store: store.save_source(source))

    def save(self, info_hash: bytes, record: TorrentRecord) -> None:
        """Keep what has changed of a torrent."""
        self._call(lambda store: store.save(info_hash, record))

    def save_all(self, records: Iterable[tuple[bytes, TorrentRecord]], service: ServiceRecord) -> None:
        """Keep all that has changed."""
        taken = list(records)

        def write(store: StateStore) -> None:
            for info_hash, record in taken:
                store.save(info_hash, record)
            store.save_service(service)

        self._call(write)

    def torrent_path(self, info_hash: bytes) -> str:
        """Where the .torrent file of a torrent is kept; "" if nowhere."""
        return "" if self._store is None else str(self._store.torrent_path(info_hash))

    def close(self) -> None:
        """Leave the store to other processes."""
        with self._writing:
            store, self._store = self._store, None
            if store is not None:
                store.close()

    def _call(self, write: Callable[[StateStore], _T]) -> _T | None:
        # The thread of a greenlet that is killed would go on, beside that of the next one.
        return shielded(self._call_alone, write)

    def _call_alone(self, write: Callable[[StateStore], _T]) -> _T | None:
        with self._writing:
            return None if self._store is None else in_thread(write, self._store)
