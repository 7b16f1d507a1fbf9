"""The torrents of a client by all that peers may know them by."""

from __future__ import annotations

from collections.abc import Iterator

from geventbt.client.torrent.runner import TorrentRunner


class TorrentTable:
    """Finds the torrent that an inbound peer asks for, also by what stands for its info hash in an encrypted opening. A
    `TorrentLookup`: it is asked for each connection, and costs the same with any number of torrents.

    A hybrid is known by two info hashes (BEP 52), of which a magnet link may name one: the other is found out with the
    metadata.
    """

    def __init__(self) -> None:
        self._runners: dict[bytes, TorrentRunner] = {}
        self._by_hash: dict[bytes, TorrentRunner] = {}
        self._by_req2: dict[bytes, bytes] = {}
        self._unhashed: list[bytes] = []
        self._links: set[TorrentRunner] = set()

    def __iter__(self) -> Iterator[TorrentRunner]:
        return iter(list(self._runners.values()))

    def count_connections(self) -> int:
        """The connections of all torrents."""
        return sum(runner.connections for runner in self._runners.values())

    def add(self, runner: TorrentRunner) -> None:
        """Take a torrent."""
        self._runners[runner.identity.info_hash] = runner
        self._index(runner)
        if runner.identity.metainfo is None:
            self._links.add(runner)

    def remove(self, info_hash: bytes) -> TorrentRunner:
        """Remove a torrent, by the info hash that is its name here.

        Raises:
            KeyError: there is none.
        """
        runner = self._runners.pop(info_hash)
        self._links.discard(runner)
        for known in [known for known, other in self._by_hash.items() if other is runner]:
            del self._by_hash[known]
        return runner

    def clear(self) -> None:
        """Remove all torrents."""
        for info_hash in list(self._runners):
            self.remove(info_hash)

    def runner_of(self, info_hash: bytes) -> TorrentRunner | None:
        """The torrent that has an info hash, or None."""
        if info_hash not in self._by_hash:
            self._follow_links()
        return self._by_hash.get(info_hash)

    def knows(self, info_hash: bytes) -> bool:
        """Whether a torrent has an info hash."""
        return self.runner_of(info_hash) is not None

    def find(self, hidden: bytes) -> bytes | None:
        """The info hash of `geventbt.protocol.mse.req2`, or None."""
        # Only now: it takes cryptography.
        from geventbt.protocol.mse import req2

        self._follow_links()
        self._by_req2.update((req2(info_hash), info_hash) for info_hash in self._unhashed)
        self._unhashed.clear()
        info_hash = self._by_req2.get(hidden)
        return info_hash if info_hash in self._by_hash else None

    def _index(self, runner: TorrentRunner) -> None:
        for info_hash in runner.identity.swarm_hashes:
            if self._by_hash.setdefault(info_hash, runner) is runner:
                self._unhashed.append(info_hash)

    def _follow_links(self) -> None:
        """Take note of the metadata that has come for links."""
        for runner in [link for link in self._links if link.identity.metainfo is not None]:
            self._links.discard(runner)
            self._index(runner)
