"""The hashes of pieces of version 2 torrents, asked of peers and served to them (BEP 52).

A .torrent file has them all. A magnet link has not: the info dictionary that peers send holds only the root of each
file, and the *piece layer* of a file of more than one piece is asked for in ranges, each with a proof that leads to the
root.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from functools import partial
from time import monotonic
from typing import Any

import gevent
from gevent.event import AsyncResult

from geventbt import limits
from geventbt.concurrency.threads import in_thread
from geventbt.errors import LocalProtocolError, MetadataMismatch, MetadataNotAvailable, WireClosed, WireTimeout
from geventbt.metainfo import Torrent, merkle
from geventbt.protocol.message_objects import HashRequest
from geventbt.rates.token_bucket import RateLimit
from geventbt.wire.wire import Wire

_REJECT_DELAY = 1.0
"""Seconds after which a rejected request is sent again."""


def fetch_layers(wire: Wire, torrent: Torrent, timeout: float) -> dict[bytes, bytes]:
    """Fetch the piece layers that a torrent lacks from one peer; blocks until they are here and verified.

    Args:
        wire: a connection to it, after the handshake.
        torrent: the torrent.
        timeout: seconds for each range.

    Returns:
        The layers, by the roots of their files.

    Raises:
        MetadataNotAvailable: the peer rejected a request, or does not know version 2.
        MetadataMismatch: it sent hashes that do not lead to the root. The wire is closed.
        WireTimeout, WireClosed: it did not answer.
    """
    asked = _AskedHashes(wire)
    level = merkle.level_of(torrent.geometry.blocks_per_piece)
    lengths = {file.pieces_root: file.length for file in torrent.files}
    layers: dict[bytes, bytes] = {}
    for root in torrent.missing_layers:
        pieces = len(torrent.geometry.pieces_of(0, lengths[root]))
        layers[root] = asked.fetch_layer(root, pieces, level, timeout)
    return layers


class _AskedHashes:
    """Hash requests of ours to one peer, and their answers."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._pending: dict[HashRequest, AsyncResult] = {}
        wire.on_hashes.connect(self._on_hashes)
        wire.on_hash_reject.connect(self._on_reject)
        wire.on_close.connect(self._on_close)

    def fetch_layer(self, root: bytes, pieces: int, level: int, timeout: float) -> bytes:
        """The piece layer of a file; see `fetch_layers`.

        Args:
            root: its root.
            pieces: its pieces, at least two.
            level: how many layers are below that of pieces.
            timeout: seconds for each range.
        """
        width = merkle.width(pieces)
        length = min(limits.HASHES_ASKED, width)
        proof_layers = merkle.level_of(width) - 1 if length < width else 0
        ranges = [HashRequest(root, level, index, length, proof_layers) for index in range(0, pieces, length)]
        layer = bytearray()
        for at in range(0, len(ranges), limits.HASH_REQUESTS):
            window = ranges[at : at + limits.HASH_REQUESTS]
            for asked in window:
                self._ask(asked)
            for asked in window:
                layer += self._wait(asked, monotonic() + timeout)
        return bytes(layer[: pieces * merkle.HASH])

    def _ask(self, asked: HashRequest) -> None:
        self._pending[asked] = AsyncResult()
        self._wire.hash_request(**asdict(asked))

    def _wait(self, asked: HashRequest, deadline: float) -> bytes:
        """The hashes of a range, verified."""
        answer = self._answer_to(asked, deadline)
        rejects = 0
        while answer is None:
            rejects += 1
            if rejects > limits.METADATA_REJECTS:
                raise MetadataNotAvailable("the peer rejected a request for hashes")
            # Peers that limit the rate of requests reject too.
            gevent.sleep(_REJECT_DELAY)
            self._ask(asked)
            answer = self._answer_to(asked, deadline)
        hashes = merkle.split(answer)
        proof = hashes[asked.length :]
        if len(hashes) < asked.length or merkle.fold(hashes[: asked.length], asked.index, proof) != asked.pieces_root:
            self._wire.close(0)
            raise MetadataMismatch("the peer sent hashes that do not lead to the root of the file")
        return answer[: asked.length * merkle.HASH]

    def _answer_to(self, asked: HashRequest, deadline: float) -> bytes | None:
        answer = self._pending[asked]
        answer.wait(max(0.0, deadline - monotonic()))
        if not answer.ready():
            raise WireTimeout("the peer did not answer a request for hashes in time")
        del self._pending[asked]
        hashes: bytes | None = answer.get()
        return hashes

    def _on_hashes(self, wire: Wire, hashes: bytes, **fields: Any) -> None:
        pending = self._pending.get(HashRequest(**fields))
        if pending is None:
            wire.close(0)
        else:
            pending.set(bytes(hashes))

    def _on_reject(self, wire: Wire, **fields: Any) -> None:
        pending = self._pending.get(HashRequest(**fields))
        if pending is not None:
            pending.set(None)

    def _on_close(self, wire: Wire, **fields: Any) -> None:
        for pending in self._pending.values():
            pending.set_exception(WireClosed("the peer left while hashes were asked for"))


class HashServer:
    """Answers the hash requests of all peers of one torrent from its piece layers.

    Requests for hashes of blocks are rejected, as libtorrent rejects them where it has not hashed the data itself; and
    those that come too fast.

    Args:
        torrent: the torrent, with its piece layers.
    """

    def __init__(self, torrent: Torrent) -> None:
        self._piece_layers = torrent.piece_layers
        self._level = merkle.level_of(torrent.geometry.blocks_per_piece)
        self._trees: dict[bytes, merkle.Tree] = {}

    def serve(self, wire: Wire) -> None:
        """Answer the requests of a peer from now on."""
        rate = RateLimit(limits.HASHES_RATE, monotonic())
        wire.on_hash_request.connect(partial(self._answer, rate))

    def _answer(self, rate: RateLimit, wire: Wire, **fields: Any) -> None:
        asked = HashRequest(**fields)
        size = asked.length * merkle.HASH
        is_allowed = asked.length <= limits.HASHES_SERVED and rate.take(size, monotonic()) == size
        hashes = self._find(asked) if is_allowed else None
        # A peer that has left needs no answer.
        with suppress(WireClosed, LocalProtocolError):
            if hashes is None:
                wire.hash_reject(**asdict(asked))
            else:
                wire.hashes(**asdict(asked), hashes=b"".join(hashes))

    def _find(self, asked: HashRequest) -> list[bytes] | None:
        layer = self._piece_layers.get(asked.pieces_root)
        if layer is None or asked.base_layer != self._level:
            return None
        tree = self._trees.get(asked.pieces_root)
        if tree is None:
            tree = self._trees[asked.pieces_root] = in_thread(merkle.Tree, layer, self._level)
        return tree.prove(asked.index, asked.length, asked.proof_layers)
