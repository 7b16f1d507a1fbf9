"""Who is blamed for pieces with a wrong hash, and when the torrent itself is thought to be wrong there."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from hashlib import sha1
from pathlib import Path

import pytest
from bitarray.util import ones

from geventbt import MemoryBackend, Storage, StorageBackend, Torrent, limits
from geventbt.bencoding import encode
from geventbt.client.peers.known_peers import KnownPeers
from geventbt.client.pieces.picker import BlockPicker
from geventbt.client.swarm.reputation import Reputation
from geventbt.client.swarm.source import BlockSource
from geventbt.client.swarm.verifier import BlockJudge, Verifier
from geventbt.errors import StorageError
from geventbt.protocol.constants import PIECE as PIECE_MESSAGE
from tests.loopback.harness import eventually
from tests.unit.swarm_helpers import FakeSource

LENGTH = 2 * limits.BLOCK
PIECES = 4
DATA = random.Random(1).randbytes(PIECES * LENGTH)
OTHER = ("192.0.2.1", 6881)


def torrent_of(wrong: Set[int]) -> Torrent:
    """A torrent of `DATA` in which the hashes of some pieces are wrong."""
    pieces = [DATA[start : start + LENGTH] for start in range(0, len(DATA), LENGTH)]
    hashes = [bytes(20) if piece in wrong else sha1(data).digest() for piece, data in enumerate(pieces)]
    info = {"name": "data", "length": len(DATA), "piece length": LENGTH, "pieces": b"".join(hashes)}
    return Torrent.from_info(encode(info))


class Swarm:
    """A verifier with sources that are asked for one piece after the other; its owner, and the judge of the sources.

    Args:
        folder: for the storage, which is in memory.
        wrong: the pieces whose hash is wrong in the torrent.
        backend: keeps the data; by default the memory.
        judge: finds wrong blocks.
    """

    def __init__(
        self,
        folder: Path,
        wrong: Set[int] = frozenset(),
        backend: StorageBackend | None = None,
        judge: BlockJudge | None = None,
    ) -> None:
        torrent = torrent_of(wrong)
        self.storage = Storage(torrent, folder, backend=backend or MemoryBackend(torrent))
        self.picker: BlockPicker[BlockSource] = BlockPicker(
            torrent.geometry, self.storage.have, max_open=limits.DISK_QUEUE
        )
        self.picker.sequential = True
        self.verifier = Verifier(self.storage, self.picker, self, self, judge)
        self.reputation = Reputation(KnownPeers())
        self.sources: list[BlockSource] = []
        self.failed: list[int] = []
        self.guilty: set[BlockSource] = set()
        self.forgiven: set[BlockSource] = set()

    def add(self, address: tuple[str, int]) -> FakeSource:
        """A source that has every piece."""
        source = FakeSource(address, address=address)
        self.sources.append(source)
        self.picker.add_peer(source, ones(PIECES, "big"))
        return source

    def leave(self, source: BlockSource) -> None:
        self.sources.remove(source)
        self.picker.remove_peer(source)

    def send(self, source: BlockSource, *, lies: bool = False) -> int | None:
        """Have a source send the piece that it is asked for. Returns the piece, or None where it is asked for none."""
        runs = self.picker.pick(source, 2)
        if not runs:
            return None
        (run,) = runs
        assert run.blocks == 2
        start = run.piece * LENGTH
        data = bytes(LENGTH) if lies else DATA[start : start + LENGTH]
        blocks = [
            (PIECE_MESSAGE, run.piece, offset, memoryview(data)[offset : offset + limits.BLOCK], None)
            for offset in (0, limits.BLOCK)
        ]
        self.verifier.assembly.receive(source, blocks)
        self.verifier.finish(10)
        return run.piece

    # ------------------------------------------------------------------ the owner of the verifier

    def on_verified(self, piece: int, senders: Sequence[BlockSource]) -> None:
        self.reputation.credit(senders, LENGTH)

    def on_failed(self, piece: int) -> None:
        self.failed.append(piece)

    def spares(self, sender: BlockSource, *, is_proven: bool = False) -> bool:
        others = (source for source in self.sources if source is not sender)
        is_only_one = not any(map(self.picker.interesting, others))
        return self.reputation.spares(sender, is_only_one=is_only_one, is_proven=is_proven)

    def on_guilty(self, piece: int, guilty: Set[BlockSource]) -> None:
        self.guilty |= guilty
        for source in guilty:
            self.leave(source)

    def on_forgiven(self, forgiven: Set[BlockSource]) -> None:
        self.forgiven |= forgiven

    def on_storage_error(self, error: StorageError) -> None:
        raise error

    def on_room(self) -> None:
        """Sources are asked by the test."""


# ------------------------------------------------------------------ an honest source and a wrong torrent


@pytest.mark.parametrize("wrong", [{0}, {3}, {0, 1}, {0, 2}, {0, 1, 2, 3}])
def test_the_only_source_is_not_blamed_for_hashes_that_are_wrong_in_the_torrent(
    tmp_path: Path, wrong: set[int]
) -> None:
    swarm = Swarm(tmp_path, wrong)
    honest = swarm.add(("10.0.0.1", 6881))
    sent = [swarm.send(honest) for _ in range(PIECES)]
    assert sorted(piece for piece in sent if piece is not None) == list(range(PIECES))
    assert set(swarm.storage.have.search(0)) == wrong
    assert not swarm.guilty


def test_a_piece_that_was_wrong_is_not_asked_for_again_from_the_same_source(tmp_path: Path) -> None:
    swarm = Swarm(tmp_path, {1})
    honest = swarm.add(("10.0.0.1", 6881))
    assert [swarm.send(honest) for _ in range(PIECES + 1)] == [0, 1, 2, 3, None]
    assert swarm.failed == [1]


def test_the_only_source_that_sends_nothing_but_lies_is_found_in_the_end(tmp_path: Path) -> None:
    """It comes back again and again, as after each lie it is passed over."""
    swarm = Swarm(tmp_path)
    liar = swarm.add(("10.0.0.1", 6881))
    for _ in range(100):
        if swarm.guilty:
            break
        if swarm.send(liar, lies=True) is None:
            swarm.leave(liar)
            swarm.sources.append(liar)
            swarm.picker.add_peer(liar, ones(PIECES, "big"))
    assert swarm.guilty == {liar}


# ------------------------------------------------------------------ data that is lost at once


class LosingBackend(MemoryBackend):
    """Loses its file just after a piece was written to it."""

    storage: Storage | None = None

    @contextmanager
    def writing(self, files: Iterable[int]) -> Iterator[None]:
        with super().writing(files):
            yield
        if self.storage is not None:
            self.storage.have.setall(0)


def test_a_piece_that_is_lost_before_it_is_announced_is_fetched_again(tmp_path: Path) -> None:
    backend = LosingBackend(torrent_of(set()))
    swarm = Swarm(tmp_path, backend=backend)
    source = swarm.add(OTHER)
    backend.storage = swarm.storage
    assert swarm.send(source) == 0
    assert swarm.picker.missing == PIECES
    backend.storage = None
    assert [swarm.send(source) for _ in range(PIECES)] == [0, 1, 2, 3]
    assert not swarm.guilty


# ------------------------------------------------------------------ liars, by network

ONE_NETWORK = {
    "ports of one host": [("10.0.0.1", port) for port in range(1, 7)],
    "addresses of one /64": [(f"2001:db8:0:1::{host}", 6881) for host in range(1, 7)],
    "an IPv4 address in both forms": [("10.0.0.1", 1), ("::ffff:10.0.0.1", 2), ("10.0.0.1", 3), ("::ffff:10.0.0.1", 4)],
}


@pytest.mark.parametrize("liars", ONE_NETWORK.values(), ids=ONE_NETWORK.keys())
def test_many_liars_of_one_network_do_not_make_the_torrent_seem_wrong(
    tmp_path: Path, liars: list[tuple[str, int]]
) -> None:
    swarm = Swarm(tmp_path)
    swarm.add(OTHER)
    for address in liars:
        assert swarm.send(swarm.add(address), lies=True) == 0
    assert {source.address for source in swarm.guilty} == set(liars)
    assert not swarm.forgiven
    assert swarm.picker.priority(0) > 1


def test_liars_of_several_networks_make_the_torrent_seem_wrong_and_are_forgiven(tmp_path: Path) -> None:
    swarm = Swarm(tmp_path)
    swarm.add(OTHER)
    liars = [swarm.add((f"10.0.{network}.1", 6881)) for network in range(limits.SOLE_SOURCES)]
    for liar in liars:
        assert swarm.send(liar, lies=True) == 0
    assert swarm.forgiven == set(liars)
    assert swarm.guilty == set(liars[:-1])
    # The others come first from now on.
    assert swarm.picker.priority(0) == 1


def test_a_good_copy_shows_that_the_torrent_was_right(tmp_path: Path) -> None:
    swarm = Swarm(tmp_path)
    honest = swarm.add(OTHER)
    liars = [swarm.add((f"10.0.{network}.1", 6881)) for network in range(limits.SOLE_SOURCES)]
    for liar in liars:
        swarm.send(liar, lies=True)
    assert [swarm.send(honest) for _ in range(PIECES)] == [1, 2, 3, 0]
    assert swarm.storage.have.all()
    assert swarm.guilty == set(liars)


# ------------------------------------------------------------------ wrong blocks


class Judge:
    """Knows which blocks are wrong: by the data."""

    def wrong_blocks(self, piece: int, data: memoryview, senders: Collection[BlockSource]) -> set[int] | None:
        good = DATA[piece * LENGTH : (piece + 1) * LENGTH]
        return {at // limits.BLOCK for at in range(0, LENGTH, limits.BLOCK) if data[at] != good[at]}


def test_a_source_of_a_wrong_block_is_guilty_although_it_was_good_before(tmp_path: Path) -> None:
    swarm = Swarm(tmp_path, judge=Judge())
    liar, honest = swarm.add(("10.0.0.1", 6881)), swarm.add(OTHER)
    liar.trust = 8
    swarm.send(liar, lies=True)
    eventually(lambda: swarm.guilty == {liar})
    assert swarm.failed == [0]
    assert swarm.verifier.assembly.wasted == LENGTH
    assert [swarm.send(honest) for _ in range(PIECES)] == [0, 1, 2, 3]
    assert swarm.storage.have.all()


def test_the_only_source_is_kept_although_it_sent_a_wrong_block(tmp_path: Path) -> None:
    swarm = Swarm(tmp_path, judge=Judge())
    only = swarm.add(OTHER)
    swarm.send(only, lies=True)
    eventually(lambda: swarm.failed == [0])
    assert [swarm.send(only) for _ in range(PIECES)] == [1, 2, 3, None]
    assert not swarm.guilty
