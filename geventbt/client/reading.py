"""Blocks for peers, from a storage: read by native threads, a good stretch at a time, and kept for the requests that
follow."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeAlias

from gevent.event import AsyncResult

from geventbt import limits
from geventbt.client.threads import in_thread
from geventbt.errors import PieceNotAvailable
from geventbt.storage import Storage

_Stretch: TypeAlias = tuple[int, int]

STRETCH = 1 * limits.MIB
"""Bytes read at a time: peers ask for the blocks of a piece in order, so one trip to a thread serves 64 requests."""
KEPT = 32
"""Stretches kept: 32 MiB."""


class BlockReader:
    """Reads blocks of verified pieces. Called as ``reader(piece, offset, length)``, for `Wire.serve`.

    Args:
        storage: where the pieces are.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._stretches: OrderedDict[_Stretch, AsyncResult] = OrderedDict()

    def __call__(self, piece: int, offset: int, length: int) -> memoryview:
        """The bytes of a block.

        Raises:
            PieceNotAvailable: the piece is not verified.
            StorageError: it cannot be read.
        """
        if not self._storage.have[piece]:
            raise PieceNotAvailable(f"piece {piece} is not here")
        index, start = divmod(offset, STRETCH)
        if start + length > STRETCH:
            # Across the border of two stretches: rare, and never from a client that asks for blocks of a power of two.
            return memoryview(in_thread(self._storage.read, piece, offset, length))
        return self._stretch(piece, index)[start : start + length]

    def _stretch(self, piece: int, index: int) -> memoryview:
        key = (piece, index)
        result = self._stretches.get(key)
        if result is None:
            return self._load(key)
        self._stretches.move_to_end(key)
        # Blocks only while another greenlet is reading the very same.
        stretch: memoryview = result.get()
        return stretch

    def _load(self, key: _Stretch) -> memoryview:
        result = self._stretches[key] = AsyncResult()
        if len(self._stretches) > KEPT:
            self._stretches.popitem(last=False)
        piece, index = key
        offset = index * STRETCH
        length = min(STRETCH, self._storage.torrent.geometry.piece_size(piece) - offset)
        try:
            stretch = memoryview(in_thread(self._storage.read, piece, offset, length))
        except BaseException as error:
            self._stretches.pop(key, None)
            result.set_exception(error if isinstance(error, Exception) else PieceNotAvailable("the read was given up"))
            raise
        result.set(stretch)
        return stretch
