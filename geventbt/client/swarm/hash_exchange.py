"""Hashes of version 2, given to the peers of a swarm and asked of them (BEP 52).

A piece with a wrong hash has most often one wrong block. In version 2 each block has a hash of its own: peers that have
the piece send the hashes of its blocks, with a proof that leads to the root of the file, and so the wrong blocks are
known, and who sent them.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from geventbt import limits
from geventbt.client.swarm.hash_asker import HashAsker
from geventbt.client.swarm.hash_server import HashServer
from geventbt.client.swarm.source import BlockSource
from geventbt.concurrency.threads import in_thread
from geventbt.errors import GeventBTError, WireTimeout
from geventbt.metainfo.tree_places import TreePlace, TreePlaces
from geventbt.storage import Storage
from geventbt.wire.wire import Wire

_log = logging.getLogger("geventbt")


class HashExchange:
    """Gives hashes to the peers of one torrent, and asks them for those of blocks; a `BlockJudge`.

    Args:
        storage: the data of a torrent of version 2, or of a hybrid with its piece layers.
    """

    def __init__(self, storage: Storage) -> None:
        info_hash = storage.torrent.info_hash_v2
        assert info_hash is not None
        self._swarm_hash = info_hash[:20]
        self._places = TreePlaces(storage.torrent)
        self._server = HashServer(storage)
        self._askers: dict[BlockSource, HashAsker] = {}

    def serve(self, wire: Wire) -> None:
        """Answer the requests of a peer; before its handshake, as it may send them at once."""
        self._server.serve(wire)

    def add(self, peer: BlockSource, wire: Wire) -> None:
        """Ask a peer too, if its connection is one of version 2.

        libtorrent closes one of version 1 on which it is asked for hashes, even where both sides have said that they
        know version 2.
        """
        if self._swarm_hash in (wire.info_hash, wire.wait_handshake().info_hash):
            self._askers[peer] = HashAsker(wire)

    def remove(self, peer: BlockSource) -> None:
        """Ask a peer no more."""
        self._askers.pop(peer, None)

    def wrong_blocks(self, piece: int, data: memoryview, senders: Collection[BlockSource]) -> set[int] | None:
        """The wrong blocks of a piece whose hash was wrong; blocks until they are known.

        Args:
            piece: its index.
            data: its bytes.
            senders: those that sent it, who are asked last; those first that have given most.

        Returns:
            Their indices; None where no peer gives the hashes of the blocks, and for a piece of one block: its hash is
            the torrent's alone, which may be wrong itself.
        """
        place = self._places.of(piece)
        leaves = self._fetch(place, senders) if place.width > 1 else None
        return None if leaves is None else in_thread(place.wrong_blocks, data, leaves)

    def _fetch(self, place: TreePlace, senders: Collection[BlockSource]) -> list[bytes] | None:
        peers = sorted(self._askers, key=lambda peer: (peer in senders, -peer.trust, -peer.received))
        for peer in peers[: limits.LEAF_SOURCES]:
            asker = self._askers.get(peer)
            if asker is None:
                continue
            try:
                return asker.fetch_leaves(place, limits.LEAF_TIMEOUT)
            except GeventBTError as error:
                _log.info("no hashes of blocks from %s: %s", peer, error)
                if isinstance(error, WireTimeout):
                    self.remove(peer)
        return None
