"""Hash requests to one peer: sent, and their answers verified (BEP 52)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from time import monotonic
from typing import Any

import gevent
from gevent.event import AsyncResult

from geventbt import limits
from geventbt.errors import MetadataMismatch, MetadataNotAvailable, WireClosed, WireTimeout
from geventbt.metainfo import merkle
from geventbt.metainfo.tree_places import TreePlace
from geventbt.protocol.message_objects import HashRequest
from geventbt.wire.wire import Wire

_REJECT_DELAY = 1.0
"""Seconds after which a rejected request is sent again."""


class HashAsker:
    """Asks one peer for hashes. A peer that sends some unasked, or wrong ones, is left.

    Its methods block, and raise:
        MetadataNotAvailable: the peer rejected a request.
        MetadataMismatch: it sent hashes that do not lead to the root. The wire is closed.
        WireTimeout, WireClosed: it did not answer.
        LocalProtocolError: it does not know version 2.

    Args:
        wire: a connection to it, after the handshake.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._pending: dict[HashRequest, AsyncResult] = {}
        wire.on_hashes.connect(self._on_hashes)
        wire.on_hash_reject.connect(self._on_reject)
        wire.on_close.connect(self._on_close)

    def fetch_layer(self, root: bytes, pieces: int, level: int, timeout: float) -> bytes:
        """The piece layer of a file. Rejected requests are repeated: some peers limit their rate.

        Args:
            root: its root.
            pieces: its pieces, at least two.
            level: how many layers are below that of pieces.
            timeout: seconds for each range.
        """
        width = merkle.width(pieces)
        length = min(limits.HASHES_ASKED, width)
        ranges = [_request(root, level, index, length, width) for index in range(0, pieces, length)]
        return b"".join(self._fetch(ranges, timeout, limits.METADATA_REJECTS))[: pieces * merkle.HASH]

    def fetch_leaves(self, place: TreePlace, timeout: float) -> list[bytes]:
        """The hashes of the blocks of a piece.

        Args:
            place: of the piece, more than one leaf wide.
            timeout: seconds for each range.
        """
        length = min(limits.HASHES_ASKED, place.width)
        leaves = place.leaves
        starts = range(leaves.start, leaves.stop, length)
        ranges = [_request(place.root, 0, index, length, place.file_width) for index in starts]
        return merkle.split(b"".join(self._fetch(ranges, timeout, 0)))

    def _fetch(self, ranges: Sequence[HashRequest], timeout: float, max_rejects: int) -> list[bytes]:
        """The hashes of several ranges, verified."""
        found: list[bytes] = []
        for at in range(0, len(ranges), limits.HASH_REQUESTS):
            window = ranges[at : at + limits.HASH_REQUESTS]
            for asked in window:
                self._ask(asked)
            found += [self._wait(asked, monotonic() + timeout, max_rejects) for asked in window]
        return found

    def _ask(self, asked: HashRequest) -> None:
        self._pending[asked] = AsyncResult()
        self._wire.hash_request(**asdict(asked))

    def _wait(self, asked: HashRequest, deadline: float, max_rejects: int) -> bytes:
        answer = self._answer_to(asked, deadline)
        rejects = 0
        while answer is None:
            rejects += 1
            if rejects > max_rejects:
                raise MetadataNotAvailable("the peer rejected a request for hashes")
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
            # It stays pending: what comes late was asked for all the same.
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


def _request(root: bytes, level: int, index: int, length: int, width: int) -> HashRequest:
    """A request for a range of a layer that is filled up to `width`, with the proof of it; a whole layer needs none."""
    return HashRequest(root, level, index, length, merkle.level_of(width) - 1 if length < width else 0)
