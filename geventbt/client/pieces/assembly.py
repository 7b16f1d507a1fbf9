"""Blocks become pieces: put together in memory until they can be verified. Pure.

A piece that is complete waits in a queue for the owner to verify it, in native threads: see `swarm/verifier.py`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Generic, Protocol

from geventbt import limits
from geventbt.client.pieces.open_piece import K, Run
from geventbt.client.pieces.picker import BlockPicker
from geventbt.geometry import Geometry
from geventbt.protocol.connection import Event
from geventbt.protocol.constants import PIECE

MIN_UNVERIFIED = 3
"""Complete pieces, however long, that keep the native threads busy."""
MIN_SPARE = 4
"""Buffers kept for the next pieces: a new one has to be filled with zeros by the kernel first."""

_piece_of = itemgetter(1)


@dataclass(slots=True, eq=False)
class CompletePiece(Generic[K]):
    """A piece all of whose blocks are here.

    Attributes:
        piece: its index.
        buffer: what it was put together in; it goes back to `Assembly.recycle`.
        data: its bytes, at the start of the buffer.
        senders: the key of the source of each block.
    """

    piece: int
    buffer: memoryview
    data: memoryview
    senders: list[K]


class AssemblyOwner(Protocol):
    """Verifies the pieces of an `Assembly`."""

    def on_complete(self) -> None:
        """A piece is complete: `Assembly.take_complete` gives it."""


class Assembly(Generic[K]):
    """The pieces of one torrent that are being received.

    Args:
        geometry: the lengths of the pieces.
        picker: knows which source was asked for which block.
        owner: is called when a piece is complete.

    Attributes:
        wasted: bytes that came twice, unrequested or wrong.
    """

    def __init__(self, geometry: Geometry, picker: BlockPicker[K], owner: AssemblyOwner) -> None:
        self._geometry = geometry
        self._picker = picker
        self._owner = owner
        # Views, because a bytearray that is assigned a block makes a copy of it before it copies it into its place.
        self._buffers: dict[int, memoryview] = {}
        self._spare: list[memoryview] = []
        self._complete: deque[int] = deque()
        self._unverified = 0
        self._max_unverified = max(MIN_UNVERIFIED, geometry.pieces_in(limits.HASH_QUEUE))
        self.wasted = 0

    @property
    def is_behind(self) -> bool:
        """Whether so much waits for the hash and the disk that nothing more should be requested.

        *Measured*: what waits in the processor's cache is hashed a quarter faster than what has left it.
        """
        return self._unverified > self._max_unverified

    # ------------------------------------------------------------------ receiving

    def receive(self, source: K, blocks: list[Event]) -> list[tuple[K, Event]]:
        """Take blocks from a source.

        Args:
            source: the key of the source that sent them.
            blocks: (PIECE, piece, offset, block, token) each. The views are valid during the call.

        Returns:
            The other sources that were asked for one of them, and need not send it.
        """
        late: list[tuple[K, Event]] = []
        for piece, group in groupby(blocks, _piece_of):
            of_piece = list(group)
            special = self._picker.received(source, piece, [event[2] // limits.BLOCK for event in of_piece])
            if special:
                of_piece = self._sort_out(of_piece, special, late)
            if of_piece and self._picker.is_open(piece):
                self._put_in_place(piece, of_piece)
        return late

    def receive_late(self, source: K, piece: int, offset: int, block: memoryview) -> list[tuple[K, Event]]:
        """Take a block from a source that was asked for it once, and no longer is.

        Returns as `receive`.
        """
        others = self._picker.received_late(source, piece, offset // limits.BLOCK)
        if others is None:
            self.wasted += len(block)
            return []
        event: Event = (PIECE, piece, offset, block, None)
        self._put_in_place(piece, [event])
        return [(other, event) for other in others]

    def _sort_out(
        self, blocks: list[Event], special: dict[int, tuple[K, ...] | None], late: list[tuple[K, Event]]
    ) -> list[Event]:
        """Leave out the blocks that are of no use, and note who else was asked for the others."""
        kept = []
        for event in blocks:
            others = special.get(event[2] // limits.BLOCK, ())
            if others is None:
                self.wasted += len(event[3])
            else:
                kept.append(event)
                late += [(other, event) for other in others]
        return kept

    def _put_in_place(self, piece: int, blocks: list[Event]) -> None:
        """Copy blocks into the buffer of their piece; when they were the last, it is complete."""
        buffer = self.buffer_of(piece)
        for _, _, offset, block, _ in blocks:
            buffer[offset : offset + len(block)] = block
        self._note_received(piece)

    def buffer_of(self, piece: int) -> memoryview:
        """The buffer that an open piece is put together in: a source that has reserved blocks receives into it."""
        buffer = self._buffers.get(piece)
        if buffer is None:
            buffer = self._buffers[piece] = self._take_buffer()
        return buffer

    def receive_in_place(self, source: K, run: Run) -> None:
        """Take blocks that a source has reserved, and that are in the buffer of their piece already."""
        special = self._picker.received(source, run.piece, range(run.first, run.first + run.blocks))
        self.wasted += len(special) * limits.BLOCK
        if self._picker.is_open(run.piece):
            self._note_received(run.piece)
        else:
            # It has been found on the disk meanwhile.
            self.let_go(run.piece)

    def _note_received(self, piece: int) -> None:
        if self._picker.is_received(piece):
            self._complete.append(piece)
            self._unverified += 1
            self._owner.on_complete()

    def let_go(self, piece: int) -> None:
        """Forget what has been received of a piece."""
        buffer = self._buffers.pop(piece, None)
        if buffer is not None:
            self.recycle(buffer)

    # ------------------------------------------------------------------ verifying

    def take_complete(self, max_bytes: int) -> list[CompletePiece[K]]:
        """Take complete pieces out of the queue: one, and more up to `max_bytes`; none if there is none.

        They count as unverified until they are passed to `finished`.
        """
        batch: list[CompletePiece[K]] = []
        size = 0
        while self._complete and (not batch or size + self._geometry.piece_length <= max_bytes):
            piece = self._complete.popleft()
            buffer = self._buffers.pop(piece)
            senders = [sender for sender in self._picker.senders(piece) if sender is not None]
            batch.append(CompletePiece(piece, buffer, buffer[: self._geometry.piece_size(piece)], senders))
            size += self._geometry.piece_length
        return batch

    def put_back(self, complete: CompletePiece[K]) -> None:
        """Go on with a piece of which some blocks are to be received again."""
        self._buffers[complete.piece] = complete.buffer

    def finished(self, pieces: int) -> None:
        """Note that this number of pieces no longer waits for the hash and the disk."""
        self._unverified -= pieces

    def recycle(self, buffer: memoryview) -> None:
        """Take a buffer back that nothing uses any more."""
        if self._picker.done:
            self._spare.clear()
            return
        # As many as are in use: with many peers it is one piece of each, and all of them end at different times; with
        # few it is what waits for the hash, and as much again on its way there and back.
        kept = max(MIN_SPARE, len(self._buffers), 2 * limits.HASH_QUEUE // len(buffer))
        if len(self._spare) < kept:
            self._spare.append(buffer)

    def _take_buffer(self) -> memoryview:
        return self._spare.pop() if self._spare else memoryview(bytearray(self._geometry.piece_length))
