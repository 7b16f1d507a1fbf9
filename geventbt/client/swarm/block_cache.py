"""Read cache for uploads: a long stretch is read at a time, by native threads where that may take long, and kept for
the requests that follow."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from itertools import islice
from typing import TypeAlias

from gevent.event import AsyncResult

from geventbt import limits
from geventbt.concurrency.threads import in_thread
from geventbt.errors import GeventBTError, PieceNotAvailable, StorageError
from geventbt.protocol.connection import RequestKey
from geventbt.storage import Storage

_Stretch: TypeAlias = tuple[int, int]
"""A piece, and which stretch of it."""
_Outcome: TypeAlias = memoryview | GeventBTError

STRETCH = 1 * limits.MIB
"""Bytes read at a time: peers ask for the blocks of a piece in order, so one trip to a thread serves 64 requests."""
MAX_KEPT = 32
"""Stretches kept: 32 MiB."""
KEPT_PER_PEER = 4
"""Stretches kept for each peer. *Measured*: memory that is soon used again is still in the processor's cache, and
seeding to one peer takes a tenth less time with 4 than with 32."""
MAX_READ = 2 * limits.MIB
"""Bytes read in one trip to a thread: requests for a byte in each of many pieces must not fill the memory."""


class BlockCache:
    """Reads blocks of verified pieces, and keeps what is likely to be requested next.

    Args:
        storage: where the pieces are.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._geometry = storage.torrent.geometry
        self._max_stretches = max(1, MAX_READ // min(STRETCH, self._geometry.piece_length))
        self._kept: OrderedDict[_Stretch, AsyncResult] = OrderedDict()

    def __len__(self) -> int:
        """The number of stretches that are kept."""
        return len(self._kept)

    def read(self, requests: Sequence[RequestKey], peers: int = 1) -> list[_Outcome]:
        """Read several blocks; those that are not in memory are read in one trip to a thread, up to `MAX_READ` bytes.

        Args:
            requests: piece, offset and length of each. They lie inside their pieces.
            peers: the number of peers that may request blocks.

        Returns:
            For the first of them, at least one, its bytes or the error: `PieceNotAvailable` if the
            piece is not verified, `StorageError` if it cannot be read.
        """
        wanted = dict.fromkeys([(piece, offset // STRETCH) for piece, offset, _ in requests])
        stretches = self._read_stretches(list(islice(wanted, self._max_stretches)))
        while len(self._kept) > min(MAX_KEPT, KEPT_PER_PEER * peers):
            self._kept.popitem(last=False)
        blocks: list[_Outcome] = []
        for piece, offset, length in requests:
            index, start = divmod(offset, STRETCH)
            stretch = stretches.get((piece, index))
            if stretch is None:
                break
            if isinstance(stretch, memoryview):
                end = start + length
                stretch = stretch[start:end] if end <= STRETCH else self._read_across(piece, offset, length)
            blocks.append(stretch)
        return blocks

    def _read_across(self, piece: int, offset: int, length: int) -> _Outcome:
        """Read across the border of two stretches: rare, and never for a client that asks for blocks of a power of two
        bytes."""
        return in_thread(_attempt, self._storage, piece, offset, length)

    def _read_stretches(self, wanted: Collection[_Stretch]) -> dict[_Stretch, _Outcome]:
        """The bytes of stretches, or the errors."""
        outcomes: dict[_Stretch, _Outcome] = {}
        results: dict[_Stretch, AsyncResult] = {}
        missing = []
        for key in wanted:
            if not self._storage.have[key[0]]:
                outcomes[key] = PieceNotAvailable(f"piece {key[0]} is not verified here")
            elif key in self._kept:
                self._kept.move_to_end(key)
                results[key] = self._kept[key]
            elif (cached := self._storage.read_cached(*self._range(key))) is not None:
                results[key] = self._kept[key] = AsyncResult()
                results[key].set(memoryview(cached))
            else:
                missing.append(key)
        if missing:
            outcomes.update(self._load(missing))
        # Blocks only while another greenlet is reading the very same.
        outcomes.update((key, result.get()) for key, result in results.items())
        return outcomes

    def _load(self, keys: Sequence[_Stretch]) -> dict[_Stretch, _Outcome]:
        """Read stretches in a thread, and keep them."""
        results = {key: AsyncResult() for key in keys}
        self._kept.update(results)
        outcomes: dict[_Stretch, _Outcome] = dict.fromkeys(keys, PieceNotAvailable("the read was cancelled"))
        try:
            outcomes.update(zip(keys, in_thread(self._read_all, keys), strict=True))
        finally:
            for key, outcome in outcomes.items():
                if isinstance(outcome, GeventBTError):
                    self._kept.pop(key, None)
                results[key].set(outcome)
        return outcomes

    def _read_all(self, keys: Sequence[_Stretch]) -> list[_Outcome]:
        """Read stretches, in a native thread."""
        return [_attempt(self._storage, *self._range(key)) for key in keys]

    def _range(self, key: _Stretch) -> RequestKey:
        piece, index = key
        offset = index * STRETCH
        return piece, offset, min(STRETCH, self._geometry.piece_size(piece) - offset)


def _attempt(storage: Storage, piece: int, offset: int, length: int) -> _Outcome:
    try:
        return memoryview(storage.read(piece, offset, length))
    except StorageError as error:
        return error
