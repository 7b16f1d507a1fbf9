"""Blocks become pieces."""

from __future__ import annotations

import os
from weakref import ref

import pytest
from bitarray.util import zeros

from geventbt import Geometry, limits
from geventbt.client.pieces.assembly import Assembly
from geventbt.client.pieces.picker import BlockPicker
from geventbt.protocol.constants import PIECE

BLOCKS = 4
LENGTH = BLOCKS * limits.BLOCK
GEOMETRY = Geometry(5 * LENGTH + 100, LENGTH)
DATA = os.urandom(GEOMETRY.length)


class Owner:
    """Counts the complete pieces."""

    def __init__(self) -> None:
        self.complete = 0

    def on_complete(self) -> None:
        self.complete += 1


class Download:
    """A picker, an assembly, and peers that have everything."""

    def __init__(self, *peers: str) -> None:
        self.owner = Owner()
        self.picker: BlockPicker[str] = BlockPicker(GEOMETRY, zeros(6, "big"), max_open=limits.DISK_QUEUE)
        self.picker.sequential = True
        self.assembly: Assembly[str] = Assembly(GEOMETRY, self.picker, self.owner)
        for peer in peers:
            self.picker.add_peer(peer, ~zeros(6, "big"))

    def request(self, peer: str, blocks: int = 1000) -> list[tuple[int, int, int, memoryview, None]]:
        """The blocks with which a peer answers its requests."""
        sent = []
        for run in self.picker.pick(peer, blocks):
            for block in range(run.first, run.first + run.blocks):
                start = run.piece * LENGTH + block * limits.BLOCK
                end = min(start + limits.BLOCK, (run.piece + 1) * LENGTH, GEOMETRY.length)
                sent.append((PIECE, run.piece, block * limits.BLOCK, memoryview(DATA)[start:end], None))
        return sent


def test_pieces_are_complete_once_their_last_block_is_here():
    download = Download("ann")
    blocks = download.request("ann")
    assert download.assembly.receive("ann", blocks[:-1]) == []
    assert download.owner.complete == 5
    download.assembly.receive("ann", blocks[-1:])
    pieces = download.assembly.take_complete(max_bytes=1 << 30)
    assert download.owner.complete == len(pieces) == 6
    assert b"".join(complete.data for complete in pieces) == DATA
    assert {sender for complete in pieces for sender in complete.senders} == {"ann"}
    assert download.assembly.take_complete(max_bytes=1 << 30) == []


def test_a_batch_holds_one_piece_and_more_only_within_its_bound():
    download = Download("ann")
    download.assembly.receive("ann", download.request("ann"))
    assert len(download.assembly.take_complete(max_bytes=1)) == 1
    assert len(download.assembly.take_complete(max_bytes=2 * LENGTH)) == 2


def test_each_block_has_its_own_sender():
    download = Download("ann", "bob")
    download.picker.set_priorities(b"\4\0\0\0\0\0")
    first, second = download.request("ann", 2), download.request("bob", 2)
    download.assembly.receive("bob", second)
    download.assembly.receive("ann", first)
    (complete,) = download.assembly.take_complete(max_bytes=1)
    assert complete.senders == ["ann", "ann", "bob", "bob"]


def test_blocks_that_were_not_requested_or_come_twice_are_wasted_and_change_nothing():
    download = Download("ann", "bob")
    blocks = download.request("ann", 1)
    forged = [(PIECE, 0, 0, memoryview(bytes(limits.BLOCK)), None)]
    download.assembly.receive("bob", forged)
    download.assembly.receive("ann", blocks)
    download.assembly.receive("ann", forged)
    assert download.assembly.wasted == 2 * limits.BLOCK
    download.assembly.receive("ann", download.request("ann"))
    assert download.assembly.take_complete(max_bytes=1)[0].data == DATA[:LENGTH]


def test_a_block_that_two_were_asked_for_is_cancelled_at_the_slower_one():
    download = Download("ann", "bob")
    blocks = download.request("ann")
    joined = download.request("bob")
    assert joined
    late = download.assembly.receive("bob", joined)
    assert [(other, event[1:3]) for other, event in late] == [("ann", event[1:3]) for event in joined]
    assert len(blocks) > len(joined)


def test_too_many_unverified_pieces_hold_the_requests_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "HASH_QUEUE", 0)
    download = Download("ann")
    download.assembly.receive("ann", download.request("ann", 3 * BLOCKS))
    assert not download.assembly.is_behind
    download.assembly.receive("ann", download.request("ann", BLOCKS))
    assert download.assembly.is_behind
    download.assembly.finished(1)
    assert not download.assembly.is_behind


def test_buffers_are_kept_for_the_next_pieces_and_none_when_all_is_here():
    download = Download("ann")
    download.assembly.receive("ann", download.request("ann", BLOCKS))
    (complete,) = download.assembly.take_complete(max_bytes=1)
    recycled = ref(complete.buffer)
    download.picker.verified(complete.piece)
    download.assembly.recycle(complete.buffer)
    download.assembly.receive("ann", download.request("ann"))
    pieces = download.assembly.take_complete(max_bytes=1 << 30)
    assert pieces[0].buffer is recycled()
    for complete in pieces:
        download.picker.verified(complete.piece)
        download.assembly.recycle(complete.buffer)
    assert download.picker.done
    del complete, pieces
    assert recycled() is None


def test_a_piece_that_is_let_go_begins_anew():
    download = Download("ann")
    download.assembly.receive("ann", download.request("ann", 2))
    download.picker.failed(0)
    download.assembly.let_go(0)
    download.assembly.receive("ann", download.request("ann", BLOCKS))
    assert download.assembly.take_complete(max_bytes=1)[0].data == DATA[:LENGTH]
