"""Hash requests of peers, answered (BEP 52)."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from time import monotonic
from typing import Any, TypeAlias

from gevent.lock import BoundedSemaphore

from geventbt import limits
from geventbt.concurrency.threads import in_thread
from geventbt.errors import LocalProtocolError, StorageError, WireClosed
from geventbt.metainfo import merkle
from geventbt.metainfo.tree_places import TreePlaces
from geventbt.protocol.message_objects import HashRequest
from geventbt.rates.token_bucket import RateLimit
from geventbt.storage import Storage
from geventbt.wire.wire import Wire

_log = logging.getLogger("geventbt")

_LeafTree: TypeAlias = merkle.Tree | merkle.BlockTree


class HashServer:
    """Answers the hash requests of all peers of one torrent, whether they are choked or not.

    Hashes of pieces come from the piece layers, hashes of blocks from the data: a verified piece is read and hashed, in
    a native thread and one at a time. Requests that come too fast are rejected, and those for blocks of several pieces.

    Args:
        storage: the data of a torrent of version 2, or of a hybrid with its piece layers.
        now: the monotonic clock, in seconds.
    """

    def __init__(self, storage: Storage, *, now: Callable[[], float] = monotonic) -> None:
        self._storage = storage
        self._now = now
        self._geometry = storage.torrent.geometry
        self._piece_layers = storage.torrent.piece_layers
        self._level = merkle.level_of(self._geometry.blocks_per_piece)
        self._places = TreePlaces(storage.torrent)
        self._trees: dict[bytes, merkle.Tree] = {}
        self._leaf_trees: OrderedDict[int, _LeafTree] = OrderedDict()
        self._leaf_rate = RateLimit(limits.LEAVES_RATE, now())
        self._hashing = BoundedSemaphore(1)

    def serve(self, wire: Wire) -> None:
        """Answer the requests of a peer from now on."""
        wire.on_hash_request.connect(partial(self._answer, RateLimit(limits.HASHES_RATE, self._now())))

    def _answer(self, rate: RateLimit, wire: Wire, **fields: Any) -> None:
        asked = HashRequest(**fields)
        size = asked.length * merkle.HASH
        is_allowed = asked.length <= limits.HASHES_SERVED and rate.take(size, self._now()) == size
        hashes = self._find(asked) if is_allowed else None
        # A peer that has left needs no answer.
        with suppress(WireClosed, LocalProtocolError):
            if hashes is None:
                wire.hash_reject(**asdict(asked))
            else:
                wire.hashes(**asdict(asked), hashes=b"".join(hashes))

    def _find(self, asked: HashRequest) -> list[bytes] | None:
        """The hashes, and the proof of them; None for a reject."""
        tree: _LeafTree | None = None
        if asked.base_layer == self._level and asked.pieces_root in self._piece_layers:
            tree = self._tree(asked.pieces_root)
        elif asked.base_layer == 0:
            tree = self._leaf_tree(asked)
        return None if tree is None else tree.prove(asked.index, asked.length, asked.proof_layers)

    def _tree(self, root: bytes) -> merkle.Tree:
        """The tree of a file of several pieces, above its pieces."""
        tree = self._trees.get(root)
        if tree is None:
            tree = self._trees[root] = in_thread(merkle.Tree, self._piece_layers[root], self._level)
        return tree

    def _leaf_tree(self, asked: HashRequest) -> _LeafTree | None:
        """The tree that has the blocks asked for, if they are of one piece, which is here, and it is not too much."""
        piece = self._places.find(asked.pieces_root, asked.index)
        if piece is None or asked.length > self._places.of(piece).width:
            return None
        with self._hashing:
            if piece not in self._leaf_trees and not self._hash_blocks(piece):
                return None
            self._leaf_trees.move_to_end(piece)
            return self._leaf_trees[piece]

    def _hash_blocks(self, piece: int) -> bool:
        """Read a piece, and keep the hashes of its blocks. Returns whether it was possible."""
        size = min(self._geometry.piece_size(piece), self._leaf_rate.burst)
        taken = self._leaf_rate.take(size, self._now())
        if taken < size or not self._storage.have[piece]:
            self._leaf_rate.give_back(taken)
            return False
        try:
            leaves = in_thread(self._storage.leaf_hashes, piece)
        except StorageError as error:
            _log.info("the blocks of piece %d cannot be hashed: %s", piece, error)
            return False
        place = self._places.of(piece)
        if place.width == place.file_width:
            self._leaf_trees[piece] = merkle.Tree(b"".join(leaves), 0)
        else:
            self._leaf_trees[piece] = merkle.BlockTree(leaves, place.piece, self._tree(place.root))
        if len(self._leaf_trees) > limits.LEAF_TREES:
            self._leaf_trees.popitem(last=False)
        return True
