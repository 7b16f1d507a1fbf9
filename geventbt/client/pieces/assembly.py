"""Blocks become pieces: put together in memory, verified and written by native threads, and blamed on their senders
when they are wrong."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import gevent

from geventbt import limits
from geventbt.client.pieces.blame import Blame
from geventbt.client.pieces.picker import BlockPicker
from geventbt.concurrency.threads import THREADS, in_thread
from geventbt.errors import StorageError
from geventbt.protocol.connection import Event
from geventbt.storage import Storage

_log = logging.getLogger("geventbt")

_FEWEST_UNVERIFIED = 3
"""Complete pieces, however long, that keep the native threads busy."""
_VERIFIERS = THREADS + 1
"""Batches handed to the native threads: while they are at one each, another is ready."""
_BATCH = 2 * limits.MIB
"""Bytes of pieces that go to a thread together: each trip there and back takes its time. *Measured*: pieces of 1 MiB
move a twentieth faster two at a time than one by one, and no faster four at a time."""
_FEWEST_SPARE = 4
"""Buffers kept for the next pieces: a new one has to be filled with zeros by the kernel first."""

_piece_of = itemgetter(1)


class _Complete(NamedTuple):
    """A piece all of whose blocks are here, and who sent each."""

    piece: int
    buffer: memoryview
    data: memoryview
    senders: list[Hashable]


class Assembly:
    """The pieces of one torrent that are on their way.

    Args:
        storage: verifies and writes them.
        picker: knows who was asked for what.
        on_verified: called with a piece that is on the disk, and the senders of its blocks.
        on_failed: called with a piece whose hash was wrong; it is going to be fetched again.
        on_guilty: called with those who have been found to have sent wrong data.
        spares: asked whether somebody who sent all of a wrong piece is to be spared this time.
        on_forgiven: called with those who were found guilty, when the torrent itself turns out to be wrong.
        on_error: called with the error when the disk fails.
        on_room: called when a piece no longer waits for the hash and the disk.

    Attributes:
        wasted: bytes that came twice, unasked or wrong.
        failed: the pieces that were wrong when they last came.
    """

    def __init__(
        self,
        storage: Storage,
        picker: BlockPicker,
        *,
        on_verified: Callable[[int, list[Hashable]], None],
        on_failed: Callable[[int], None],
        on_guilty: Callable[[set[Hashable]], None],
        spares: Callable[[Hashable], bool],
        on_forgiven: Callable[[set[Hashable]], None],
        on_error: Callable[[StorageError], None],
        on_room: Callable[[], None],
    ) -> None:
        self._storage = storage
        self._picker = picker
        self._geometry = storage.torrent.geometry
        self._blame = Blame()
        self._on_verified = on_verified
        self._on_failed = on_failed
        self._on_guilty = on_guilty
        self._spares = spares
        self._on_forgiven = on_forgiven
        self._on_error = on_error
        self._on_room = on_room
        # Views, because a bytearray that is assigned a block makes a copy of it before it copies it into its place.
        self._buffers: dict[int, memoryview] = {}
        self._spare: list[memoryview] = []
        self._complete: deque[int] = deque()
        self._verifying: set[gevent.Greenlet] = set()
        self._unverified = 0
        self._most_unverified = max(_FEWEST_UNVERIFIED, self._geometry.pieces_in(limits.HASH_QUEUE))
        self.wasted = 0
        self.failed: set[int] = set()

    def receive(self, peer: Hashable, blocks: list[Event]) -> list[tuple[Hashable, Event]]:
        """Take blocks from a peer that was asked for them, in the hub.

        Args:
            peer: who has sent them.
            blocks: as `WireDelegate.on_blocks` is told of them.

        Returns:
            The other peers that were asked for one of them, and need not send it.
        """
        late: list[tuple[Hashable, Event]] = []
        for piece, group in groupby(blocks, _piece_of):
            of_piece = list(group)
            special = self._picker.received(peer, piece, [event[2] // limits.BLOCK for event in of_piece])
            if special:
                of_piece = self._sort_out(of_piece, special, late)
            if of_piece and self._picker.is_open(piece):
                self._put_in_place(piece, of_piece)
        return late

    def _sort_out(
        self, blocks: list[Event], special: dict[int, tuple[Hashable, ...] | None], late: list[tuple[Hashable, Event]]
    ) -> list[Event]:
        """Leave out the blocks that are to be thrown away, and note who else was asked for the others."""
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
        buffer = self._buffers.get(piece)
        if buffer is None:
            buffer = self._buffers[piece] = self._take_buffer()
        for _, _, offset, block, _ in blocks:
            buffer[offset : offset + len(block)] = block
        if self._picker.is_received(piece):
            self._verify_soon(piece)

    def _verify_soon(self, piece: int) -> None:
        self._complete.append(piece)
        self._unverified += 1
        if len(self._verifying) < _VERIFIERS:
            greenlet = gevent.spawn(self._verify_complete)
            self._verifying.add(greenlet)
            greenlet.rawlink(self._verifying.discard)

    @property
    def is_behind(self) -> bool:
        """Whether so much waits for the hash and the disk that nothing more is to be asked for.

        *Measured*: what waits in the processor's cache is hashed a quarter faster than what has left it.
        """
        return self._unverified > self._most_unverified

    def let_go(self, piece: int) -> None:
        """Forget what has come of a piece."""
        buffer = self._buffers.pop(piece, None)
        if buffer is not None:
            self._give_buffer(buffer)

    def finish(self, timeout: float) -> None:
        """Block until the pieces that are complete are verified and written, `timeout` seconds at the most."""
        gevent.joinall(list(self._verifying), timeout)

    def _take_buffer(self) -> memoryview:
        return self._spare.pop() if self._spare else memoryview(bytearray(self._geometry.piece_length))

    def _give_buffer(self, buffer: memoryview) -> None:
        if self._picker.done:
            self._spare.clear()
            return
        # As many as are in use: with many peers it is one piece of each, and all of them end at different times; with
        # few it is what waits for the hash, and as much again on its way there and back.
        most = max(_FEWEST_SPARE, len(self._buffers), 2 * limits.HASH_QUEUE // len(buffer))
        if len(self._spare) < most:
            self._spare.append(buffer)

    def _verify_complete(self) -> None:
        while self._complete:
            size = 0
            batch: list[_Complete] = []
            while self._complete and (not batch or size + self._geometry.piece_length <= _BATCH):
                batch.append(self._take_complete())
                size += self._geometry.piece_length
            try:
                self._verify(batch)
            finally:
                self._unverified -= len(batch)
                self._on_room()

    def _take_complete(self) -> _Complete:
        piece = self._complete.popleft()
        buffer = self._buffers.pop(piece)
        data = buffer[: self._geometry.piece_size(piece)]
        return _Complete(piece, buffer, data, self._picker.senders(piece))

    def _verify(self, batch: list[_Complete]) -> None:
        """Verify pieces that are complete, and write those that are good."""
        outcomes, error = in_thread(_write_all, self._storage, [(complete.piece, complete.data) for complete in batch])
        # The good ones first: those who sent one are to be trusted before anybody is blamed.
        for good, complete in sorted(zip(outcomes, batch, strict=False), key=itemgetter(0), reverse=True):
            take = self._take_good if good else self._take_bad
            take(complete.piece, complete.data, complete.senders)
            # Not after a kill: a native thread may still be reading it.
            self._give_buffer(complete.buffer)
        if error is not None:
            self._on_error(error)

    def _take_good(self, piece: int, data: memoryview, senders: list[Hashable]) -> None:
        self.failed.discard(piece)
        self._picker.verified(piece)
        self._on_verified(piece, senders)
        if piece in self._blame:
            guilty = in_thread(self._blame.piece_good, piece, list(_blocks(data)))
            self._accuse(piece, guilty)

    def _take_bad(self, piece: int, data: memoryview, senders: list[Hashable]) -> None:
        self.wasted += len(data)
        self.failed.add(piece)
        blocks = [(offset, sender, block) for (offset, block), sender in zip(_blocks(data), senders, strict=True)]
        guilty = in_thread(self._blame.piece_failed, piece, blocks)
        # The next attempt is one peer's alone, so that it tells something whatever comes of it.
        self._picker.failed(piece, alone=True)
        self._on_failed(piece)
        if self._blame.is_parked(piece):
            self._park(piece, senders)
        else:
            spared = {sender for sender in guilty if self._spares(sender)}
            self._pass_over(piece, spared)
            self._accuse(piece, guilty - spared)

    def _accuse(self, piece: int, guilty: set[Hashable]) -> None:
        if guilty:
            _log.warning("piece %d: wrong data from %s", piece, ", ".join(map(str, guilty)))
            self._on_guilty(guilty)

    def _park(self, piece: int, senders: list[Hashable]) -> None:
        """Leave a piece that nobody seems to have until there is nothing else to do: the torrent itself is wrong there.
        Nobody is asked for it twice, or it would be fetched for ever."""
        _log.warning("piece %d: whoever sends it, it is wrong: the torrent seems to be broken", piece)
        self._picker.set_priority(piece, 1)
        self._pass_over(piece, set(senders))
        self._on_forgiven(set(self._blame.parked[piece]))

    def _pass_over(self, piece: int, senders: set[Hashable]) -> None:
        """Do not ask these for a piece again."""
        for sender in senders:
            # It may have left.
            with suppress(KeyError):
                self._picker.peer_lost(sender, piece)


def _blocks(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    for offset in range(0, len(data), limits.BLOCK):
        yield offset, data[offset : offset + limits.BLOCK]


def _write_all(storage: Storage, pieces: list[tuple[int, memoryview]]) -> tuple[list[bool], StorageError | None]:
    """Verify and write pieces, in a native thread. Returns which were good, and what ended it."""
    outcomes: list[bool] = []
    try:
        for piece, data in pieces:
            outcomes.append(storage.write_piece(piece, data))
    except StorageError as error:
        return outcomes, error
    return outcomes, None
