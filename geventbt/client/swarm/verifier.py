"""Verifying and writing complete pieces in native threads, and finding the senders of wrong blocks.

Where the hashes of blocks can be had (BEP 52), only the wrong blocks of a piece are fetched again, and their senders
are guilty. Otherwise the whole piece is, and `Blame` finds the guilty.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Hashable, Iterator, Sequence, Set
from contextlib import suppress
from operator import itemgetter
from typing import Protocol

import gevent

from geventbt import limits
from geventbt.client.pieces.assembly import Assembly, CompletePiece
from geventbt.client.pieces.blame import Blame
from geventbt.client.pieces.picker import BlockPicker
from geventbt.client.swarm.source import BlockSource
from geventbt.concurrency.greenlets import spawn
from geventbt.concurrency.threads import THREADS, in_thread
from geventbt.errors import StorageError
from geventbt.net.addresses import network_of
from geventbt.storage import Storage

_log = logging.getLogger("geventbt")

_VERIFIERS = THREADS + 1
"""Batches handed to the native threads: while they are at one each, another is ready."""
_BATCH = 2 * limits.MIB
"""Bytes of pieces that go to a thread together: each trip there and back takes its time. *Measured*: pieces of 1 MiB
move a twentieth faster two at a time than one by one, and no faster four at a time."""


class VerifierOwner(Protocol):
    """Receives the outcome of complete pieces."""

    def on_verified(self, piece: int, senders: Sequence[BlockSource]) -> None:
        """A piece is on disk; one sender for each of its blocks."""

    def on_failed(self, piece: int) -> None:
        """The hash of a piece was wrong; it is going to be fetched again."""

    def on_storage_error(self, error: StorageError) -> None:
        """The disk failed."""

    def on_room(self) -> None:
        """Fewer pieces wait for the hash and the disk than before."""


class SenderJudge(Protocol):
    """Judges the senders of wrong data."""

    def spares(self, sender: BlockSource, *, is_proven: bool = False) -> bool:
        """Whether a source that sent all of a wrong piece, or one for which it is proven that it sent a wrong block, is
        to be kept all the same."""

    def on_guilty(self, piece: int, guilty: Set[BlockSource]) -> None:
        """These sources have sent wrong data in a piece."""

    def on_forgiven(self, forgiven: Set[BlockSource]) -> None:
        """These sources were found guilty of a piece at which the torrent itself is wrong."""


class BlockJudge(Protocol):
    """Finds the wrong blocks of a piece: a `HashExchange`."""

    def wrong_blocks(self, piece: int, data: memoryview, senders: Collection[BlockSource]) -> set[int] | None:
        """The wrong blocks of a piece whose hash was wrong, by their index; None where they cannot be known. May
        block."""


class Verifier:
    """Verifies the complete pieces of one torrent, writes the good ones, and names the senders of wrong ones.

    Args:
        storage: hashes and writes.
        picker: what is missing.
        owner: is called with the outcomes, in the hub.
        senders: judges those of wrong data.
        blocks: finds the wrong blocks of pieces; None in version 1.

    Attributes:
        assembly: the pieces that are being received.
        failed: the pieces that were wrong when they last came.
    """

    def __init__(
        self,
        storage: Storage,
        picker: BlockPicker[BlockSource],
        owner: VerifierOwner,
        senders: SenderJudge,
        blocks: BlockJudge | None = None,
    ) -> None:
        self._storage = storage
        self._picker = picker
        self._owner = owner
        self._sender_judge = senders
        self._block_judge = blocks
        self._judging: set[gevent.Greenlet] = set()
        self._blame: Blame[BlockSource] = Blame(_network)
        self._verifying: set[gevent.Greenlet] = set()
        self._warned: set[int] = set()
        self.assembly: Assembly[BlockSource] = Assembly(storage.torrent.geometry, picker, self)
        self.failed: set[int] = set()

    def on_complete(self) -> None:
        """A piece is complete: have it verified soon; see `AssemblyOwner`."""
        if len(self._verifying) < _VERIFIERS:
            greenlet = spawn("verifying pieces", self._run)
            self._verifying.add(greenlet)
            greenlet.rawlink(self._verifying.discard)

    def finish(self, timeout: float) -> None:
        """Block until the complete pieces are verified and written, for at most `timeout` seconds."""
        gevent.joinall(list(self._verifying), timeout)
        gevent.killall(list(self._judging), block=False)

    def _run(self) -> None:
        try:
            while batch := self.assembly.take_complete(_BATCH):
                try:
                    self._verify(batch)
                finally:
                    self.assembly.finished(len(batch))
                    self._owner.on_room()
        finally:
            # At once: the next piece may be complete before the links of this greenlet are called.
            self._verifying.discard(gevent.getcurrent())

    def _verify(self, batch: list[CompletePiece[BlockSource]]) -> None:
        outcomes, error = in_thread(_write_all, self._storage, [(complete.piece, complete.data) for complete in batch])
        # The good ones first: their senders are to be trusted before others are blamed.
        for good, complete in sorted(zip(outcomes, batch, strict=False), key=itemgetter(0), reverse=True):
            if not good:
                self._take_bad(complete)
            elif self._storage.have[complete.piece]:
                self._take_good(complete)
            else:
                # Its file has been lost since it was written.
                self._picker.failed(complete.piece)
                self.assembly.recycle(complete.buffer)
        if error is not None:
            for complete in batch[len(outcomes) :]:
                self._picker.failed(complete.piece)
                self.assembly.recycle(complete.buffer)
            self._owner.on_storage_error(error)

    def _take_good(self, complete: CompletePiece[BlockSource]) -> None:
        piece = complete.piece
        self.failed.discard(piece)
        self._picker.verified(piece)
        self._owner.on_verified(piece, complete.senders)
        if piece in self._blame:
            guilty = in_thread(self._blame.piece_good, piece, list(_blocks(complete.data)))
            self._accuse(piece, guilty)
        # Not after a kill: a native thread may still be reading it.
        self.assembly.recycle(complete.buffer)

    def _take_bad(self, complete: CompletePiece[BlockSource]) -> None:
        self.failed.add(complete.piece)
        if self._block_judge is None or len(self._judging) >= limits.REPAIRS:
            self._take_bad_piece(complete)
            return
        name = f"finding the wrong blocks of piece {complete.piece}"
        greenlet = spawn(name, self._judge_blocks, self._block_judge, complete)
        self._judging.add(greenlet)
        greenlet.rawlink(self._judging.discard)

    def _take_bad_piece(self, complete: CompletePiece[BlockSource]) -> None:
        """A piece is wrong, and it is not known which blocks are."""
        piece, data, senders = complete.piece, complete.data, complete.senders
        self.assembly.wasted += len(data)
        blocks = [(offset, sender, block) for (offset, block), sender in zip(_blocks(data), senders, strict=True)]
        guilty = in_thread(self._blame.piece_failed, piece, blocks)
        # The next attempt is one source's alone, so that it tells something whatever comes of it.
        self._picker.failed(piece, alone=True)
        self._owner.on_failed(piece)
        if self._blame.is_parked(piece):
            self._park(piece, senders)
        else:
            spared = {sender for sender in guilty if self._sender_judge.spares(sender)}
            self._pass_over(piece, spared)
            self._accuse(piece, guilty - spared)
        self.assembly.recycle(complete.buffer)

    def _judge_blocks(self, judge: BlockJudge, complete: CompletePiece[BlockSource]) -> None:
        """Find the wrong blocks of a piece, and have them fetched again."""
        wrong = judge.wrong_blocks(complete.piece, complete.data, complete.senders)
        if not self._picker.is_received(complete.piece):
            # It has been found on the disk meanwhile.
            self.assembly.recycle(complete.buffer)
        elif wrong:
            self._take_bad_blocks(complete, wrong)
        else:
            self._take_bad_piece(complete)
        self._owner.on_room()

    def _take_bad_blocks(self, complete: CompletePiece[BlockSource], wrong: set[int]) -> None:
        piece = complete.piece
        self.assembly.wasted += sum(len(block) for at, (_, block) in enumerate(_blocks(complete.data)) if at in wrong)
        self.assembly.put_back(complete)
        self._picker.wrong(piece, wrong)
        self._owner.on_failed(piece)
        guilty = {complete.senders[block] for block in wrong}
        spared = {sender for sender in guilty if self._sender_judge.spares(sender, is_proven=True)}
        self._pass_over(piece, spared)
        self._accuse(piece, guilty - spared)

    def _accuse(self, piece: int, guilty: set[BlockSource]) -> None:
        if guilty:
            self._warn(piece, "wrong data from " + ", ".join(map(str, guilty)))
            self._sender_judge.on_guilty(piece, guilty)

    def _park(self, piece: int, senders: list[BlockSource]) -> None:
        """Leave a piece that no source seems to have until there is nothing else to do: the torrent itself is wrong
        there. No source is asked for it twice, or it would be fetched for ever."""
        self._warn(piece, "wrong from every source: the torrent seems to be broken")
        self._picker.set_priority(piece, 1)
        self._pass_over(piece, set(senders))
        self._sender_judge.on_forgiven(self._blame.parked[piece])

    def _warn(self, piece: int, text: str) -> None:
        """Warn of a piece once: liars that come back for it must not fill the log."""
        _log.log(logging.INFO if piece in self._warned else logging.WARNING, "piece %d: %s", piece, text)
        self._warned.add(piece)

    def _pass_over(self, piece: int, senders: set[BlockSource]) -> None:
        """Do not ask these for a piece again."""
        for sender in senders:
            # It may have left.
            with suppress(KeyError):
                self._picker.peer_lost(sender, piece)


def _network(source: BlockSource) -> Hashable:
    """The network by which sources are counted, to know whether one party or several caused a failure."""
    address = source.remote_address
    return source if address is None else network_of(address[0])


def _blocks(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    for offset in range(0, len(data), limits.BLOCK):
        yield offset, data[offset : offset + limits.BLOCK]


def _write_all(storage: Storage, pieces: list[tuple[int, memoryview]]) -> tuple[list[bool], StorageError | None]:
    """Verify and write pieces, in a native thread. Returns which were good, and the error that ended it."""
    outcomes: list[bool] = []
    try:
        for piece, data in pieces:
            outcomes.append(storage.write_piece(piece, data))
    except StorageError as error:
        return outcomes, error
    return outcomes, None
