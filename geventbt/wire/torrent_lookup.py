"""The torrents that a server takes peers for."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol, TypeAlias, runtime_checkable

from geventbt.arguments import several
from geventbt.peer_id import info_hash_or_v2


@runtime_checkable
class TorrentLookup(Protocol):
    """The torrents of a server, where there are too many to be listed for each connection."""

    def knows(self, info_hash: bytes) -> bool:
        """Whether peers are taken for a torrent."""

    def find(self, hidden: bytes) -> bytes | None:
        """The info hash of `geventbt.protocol.mse.req2`, or None."""


InfoHashes: TypeAlias = Collection[bytes | str] | Callable[[], Collection[bytes | str]] | TorrentLookup
"""A collection of info hashes, which may change; a callable that returns one; or a `TorrentLookup`."""


def lookup_in(info_hashes: InfoHashes) -> TorrentLookup:
    """Look torrents up in any of the forms in which a server is given them.

    Raises:
        TypeError: a single info hash.
        ValueError: not info hashes.
    """
    if isinstance(info_hashes, TorrentLookup):
        return info_hashes
    if callable(info_hashes):
        return _ListedTorrents(info_hashes)
    listed = _ListedTorrents(several(info_hashes, "info_hashes"))
    # What is not an info hash is said now, and not for each peer.
    listed.knows(b"")
    return listed


class _ListedTorrents:
    """A `TorrentLookup` of a collection that may change at any time."""

    def __init__(self, info_hashes: Collection[bytes | str] | Callable[[], Collection[bytes | str]]) -> None:
        self._info_hashes = info_hashes
        self._by_req2: dict[bytes, bytes] = {}

    def _current(self) -> set[bytes]:
        items = self._info_hashes() if callable(self._info_hashes) else self._info_hashes
        return {info_hash_or_v2(item)[0] for item in items}

    def knows(self, info_hash: bytes) -> bool:
        return info_hash in self._current()

    def find(self, hidden: bytes) -> bytes | None:
        """The info hash of `geventbt.protocol.mse.req2`; the table is made anew only when the torrents have changed."""
        from geventbt.protocol.mse import req2

        current = self._current()
        if current != set(self._by_req2.values()):
            self._by_req2 = {req2(info_hash): info_hash for info_hash in current}
        return self._by_req2.get(hidden)
