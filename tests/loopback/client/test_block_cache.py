"""Blocks that peers ask for, read from real files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

import geventbt
from geventbt import PieceNotAvailable, Storage, StorageError
from geventbt.client.swarm.block_cache import KEPT_PER_PEER, MAX_READ, STRETCH, BlockCache

BLOCK = 16384
PIECES = 6
PIECE = 2 * STRETCH


class Disk(Storage):
    """Remembers what was read where one may wait for the disk; as slow as a disk, unless `in_memory`."""

    def __init__(self, torrent: geventbt.Torrent, folder: Path) -> None:
        super().__init__(torrent, folder)
        self.reads: list[tuple[int, int, int]] = []
        self.in_memory: set[int] = set()

    def read(self, piece: int, offset: int, length: int) -> bytes:
        self.reads.append((piece, offset, length))
        return super().read(piece, offset, length)

    def read_cached(self, piece: int, offset: int, length: int) -> bytes | bytearray | None:
        return super().read(piece, offset, length) if piece in self.in_memory else None


@pytest.fixture
def data() -> bytes:
    return os.urandom(PIECES * PIECE - 5000)


@pytest.fixture
def disk(tmp_path: Path, data: bytes) -> Iterator[Disk]:
    (tmp_path / "data").write_bytes(data)
    torrent = geventbt.create_torrent(tmp_path / "data", piece_length=PIECE)
    with Disk(torrent, tmp_path) as storage:
        storage.check()
        yield storage


def test_blocks_in_order_are_read_with_one_trip_a_stretch(disk: Disk, data: bytes) -> None:
    reader = BlockCache(disk)
    for start in range(0, PIECE, STRETCH // 4):
        requests = [(1, offset, BLOCK) for offset in range(start, start + STRETCH // 4, BLOCK)]
        blocks = reader.read(requests)
        assert b"".join(blocks) == data[PIECE + start : PIECE + start + STRETCH // 4]
    assert disk.reads == [(1, 0, STRETCH), (1, STRETCH, STRETCH)]


def test_blocks_of_any_shape_are_the_right_ones(disk: Disk, data: bytes) -> None:
    last = len(data) % PIECE
    requests = [(0, STRETCH - 7, 100), (0, 1, 1), (5, last - 1, 1), (5, last - 131072, 131072), (0, PIECE - 3, 3)]
    reader = BlockCache(disk)
    for request in requests:
        piece, offset, length = request
        start = piece * PIECE + offset
        assert reader.read([request]) == [data[start : start + length]]


def test_a_byte_of_each_piece_does_not_have_them_all_read_at_once(disk: Disk, data: bytes) -> None:
    requests = [(piece, 0, 1) for piece in range(PIECES)]
    reader = BlockCache(disk)
    blocks = reader.read(requests)
    assert 1 <= len(blocks) < PIECES
    assert sum(length for _, _, length in disk.reads) <= MAX_READ
    while requests:
        del requests[: len(blocks)]
        blocks = reader.read(requests) if requests else []
    assert {piece for piece, _, _ in disk.reads} == set(range(PIECES))


def test_no_more_is_kept_than_for_the_peers_that_are_there(disk: Disk) -> None:
    reader = BlockCache(disk)
    for peers in (1, 2):
        for piece in range(PIECES):
            reader.read([(piece, 0, BLOCK)], peers=peers)
            reader.read([(piece, STRETCH, BLOCK)], peers=peers)
        assert len(reader) == KEPT_PER_PEER * peers


def test_who_asks_for_what_is_being_read_waits_for_it(disk: Disk, data: bytes) -> None:
    reader = BlockCache(disk)
    readers = [gevent.spawn(reader.read, [(2, BLOCK * number, BLOCK)]) for number in range(4)]
    gevent.joinall(readers, timeout=20, raise_error=True)
    assert [greenlet.value[0] for greenlet in readers] == [
        data[2 * PIECE + BLOCK * number : 2 * PIECE + BLOCK * (number + 1)] for number in range(4)
    ]
    assert len(disk.reads) == 1


def test_only_what_is_not_in_memory_is_read_in_a_thread(disk: Disk, data: bytes) -> None:
    disk.in_memory = {0, 1}
    reader = BlockCache(disk)
    requests = [(1, BLOCK, BLOCK), (2, 0, 100)]
    assert reader.read(requests) == [data[PIECE + BLOCK : PIECE + 2 * BLOCK], data[2 * PIECE : 2 * PIECE + 100]]
    assert disk.reads == [(2, 0, STRETCH)]
    # It is kept as well, for the requests that follow.
    disk.in_memory = set()
    assert reader.read([(1, 0, BLOCK)]) == [data[PIECE : PIECE + BLOCK]]
    assert disk.reads == [(2, 0, STRETCH)]


def test_what_is_not_there_is_refused_and_all_else_given(disk: Disk, data: bytes) -> None:
    disk.have[1] = False
    missing, good = BlockCache(disk).read([(1, 0, BLOCK), (0, 0, BLOCK)])
    assert isinstance(missing, PieceNotAvailable)
    assert good == data[:BLOCK]


def test_what_cannot_be_read_is_an_error_and_is_not_kept(disk: Disk, data: bytes, tmp_path: Path) -> None:
    reader = BlockCache(disk)
    os.truncate(tmp_path / "data", 0)
    (error,) = reader.read([(0, 0, BLOCK)])
    assert isinstance(error, StorageError)
    assert not len(reader)


def test_a_reader_that_is_killed_leaves_nobody_waiting(disk: Disk, data: bytes) -> None:
    reader = BlockCache(disk)
    first = gevent.spawn(reader.read, [(3, 0, BLOCK)])
    second = gevent.spawn(reader.read, [(3, 0, BLOCK)])
    gevent.sleep(0)
    first.kill()
    (block,) = second.get(timeout=20)
    assert isinstance(block, PieceNotAvailable) or block == data[3 * PIECE : 3 * PIECE + BLOCK]
    assert reader.read([(3, 0, BLOCK)]) == [data[3 * PIECE : 3 * PIECE + BLOCK]]
