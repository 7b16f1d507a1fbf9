"""When upload slots are given away, by what is left to send and by what queues on its way."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from bitarray import bitarray
from bitarray.util import ones, zeros

from geventbt import Geometry, limits
from geventbt.client.swarm.choker import Choker, PeerView
from geventbt.client.swarm.dealer import Dealer
from geventbt.client.swarm.upload_slots import UploadSlots
from geventbt.client.swarm.uploads import Uploads
from geventbt.net.tcp_path import TcpPath
from geventbt.protocol.connection import RequestKey
from geventbt.rates.throttle import Throttle
from geventbt.rates.uplink_gate import UplinkGate

SIZE = 1 << 18


class Peer:
    """An interested `UploadPeer`."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.closed = self.has_all = False
        self.interested = self.choked = True
        self.is_busy = False
        self.queue_time: float | None = None
        self.tcp_path: TcpPath | None = None
        self.up_rate = 0.0
        self.uploaded = 0
        self.queued = 0
        self.pieces = zeros(10, "big")

    def view(self) -> PeerView[Peer]:
        return PeerView(self, self.interested, held=self.number)

    def choke(self) -> None:
        self.choked = True

    def unchoke(self) -> None:
        self.choked = False

    def announce(self, piece: int) -> None:
        raise AssertionError("nothing is dealt")


class Leecher:
    """An `UploadsOwner` that downloads, at a time of its own."""

    seeding = False
    uploaded = 0

    def __init__(self, slots: int, peers: int = 40) -> None:
        self.upload_peers = [Peer(number) for number in range(peers)]
        self.have: bitarray = ones(10, "big")
        self.now = 0.0
        dealer: Dealer[Peer] = Dealer(Geometry(10 * SIZE, SIZE), False)
        dealer.finish()
        gate = UplinkGate(lambda: self.now)
        self.uploads = Uploads(
            self, self, Choker(slots, rng=Random(1)), UploadSlots(slots), Throttle(), dealer, gate, now=lambda: self.now
        )  # fmt: skip
        gate.add(self.uploads)

    def read(self, requests: list[RequestKey], peers: int = 1) -> list[memoryview]:
        raise AssertionError("nothing is requested")

    def on_read_error(self, error: Exception) -> None:
        raise error

    @property
    def unchoked(self) -> set[Peer]:
        return {peer for peer in self.upload_peers if not peer.choked}

    def go_on(self, seconds: int, each: Callable[[Peer], None] = lambda peer: None) -> None:
        """Time passes; each tenth of a second something happens to those that have a slot."""
        for _ in range(seconds * 10):
            for peer in self.unchoked:
                each(peer)
            self.uploads.tick(self.now)
            self.now += 0.1


def send(queue_time: float | None, rate: float = 1e6) -> Callable[[Peer], None]:
    """Each is sent to by TCP, at a rate in bytes a second."""

    def sends(peer: Peer) -> None:
        peer.is_busy = True
        peer.queue_time = queue_time
        if queue_time is not None:
            acknowledged = 0 if peer.tcp_path is None else peer.tcp_path.acknowledged
            peer.tcp_path = TcpPath(queue_time, 0, acknowledged + int(rate / 10), 0.0)

    return sends


def send_by_utp(queue_time: float) -> Callable[[Peer], None]:
    def sends(peer: Peer) -> None:
        peer.is_busy = True
        peer.queue_time = queue_time

    return sends


def test_there_are_twice_as_many_slots_within_a_second_while_nothing_queues():
    leecher = Leecher(limits.FIRST_UPLOAD_SLOTS * 2)
    leecher.uploads.tick(leecher.now)
    assert len(leecher.unchoked) == limits.FIRST_UPLOAD_SLOTS
    leecher.go_on(1, send(0.0))
    assert len(leecher.unchoked) == limits.FIRST_UPLOAD_SLOTS * 2


def test_there_are_more_slots_while_nothing_queues_over_utp():
    leecher = Leecher(limits.FIRST_UPLOAD_SLOTS * 2)
    leecher.go_on(5, send_by_utp(0.0))
    assert len(leecher.unchoked) == limits.FIRST_UPLOAD_SLOTS * 2


@pytest.mark.parametrize("each", [send(1.0), send(None), send(0.0, rate=0), send(0.0, rate=3e4), send_by_utp(1.0)])
def test_there_are_no_more_slots_where_the_uplink_is_full_or_nothing_tells(each):
    leecher = Leecher(limits.FIRST_UPLOAD_SLOTS * 2)
    leecher.go_on(8, each)
    assert len(leecher.unchoked) == limits.FIRST_UPLOAD_SLOTS


def test_a_delay_from_before_there_was_anything_to_send_tells_nothing():
    leecher = Leecher(limits.FIRST_UPLOAD_SLOTS * 2)
    leecher.go_on(1)
    leecher.go_on(1, send_by_utp(0.0))
    assert len(leecher.unchoked) == limits.FIRST_UPLOAD_SLOTS


def test_slots_are_looked_at_often_only_while_a_peer_waits_and_there_may_be_more():
    leecher = Leecher(limits.FIRST_UPLOAD_SLOTS * 2)
    leecher.go_on(1)
    assert leecher.uploads.has_work
    for peer in leecher.upload_peers:
        peer.interested = not peer.choked
    leecher.go_on(1)
    assert not leecher.uploads.has_work
    full = Leecher(limits.FIRST_UPLOAD_SLOTS)
    full.go_on(1)
    assert not full.uploads.has_work


def test_a_round_comes_early_where_those_that_have_the_slots_ask_for_nothing():
    leecher = Leecher(4)
    leecher.go_on(1)
    first = leecher.unchoked
    leecher.go_on(int(limits.CHOKE_INTERVAL) - 1)
    assert len(leecher.unchoked) == 4
    assert leecher.unchoked != first


def test_no_round_comes_early_while_there_is_something_to_send():
    leecher = Leecher(4)
    leecher.go_on(1)
    first = leecher.unchoked
    leecher.go_on(int(limits.CHOKE_INTERVAL) - 1, send(1.0))
    assert leecher.unchoked == first


class Seeder(Leecher):
    """One that is asked for blocks."""

    def read(self, requests: list[RequestKey], peers: int = 1) -> list[memoryview]:
        return [memoryview(bytes(length)) for _, _, length in requests]

    def serve(self, peer: Peer, seconds: float, queue_time: float) -> list[int]:
        """All peers are sent to and acknowledge as much. Returns how many of three blocks were read at each time."""
        requests = [(0, block * limits.BLOCK, limits.BLOCK) for block in range(3)]
        counts = []
        for _ in range(round(seconds / 0.1)):
            self.now += 0.1
            for each in self.upload_peers:
                each.tcp_path = TcpPath(queue_time, 0, int(self.now * 1e6), 0.0)
            counts.append(len(self.uploads.read_blocks(peer, requests)))
        return counts


def test_blocks_are_read_one_at_a_time_while_the_uplink_has_a_queue():
    seeder = Seeder(4)
    seeder.go_on(1)
    assert seeder.serve(seeder.upload_peers[0], 2, queue_time=0.5)[-5:] == [1] * 5
    assert seeder.serve(seeder.upload_peers[0], 2, queue_time=0.0) == [3] * 20


def test_a_peer_without_a_way_that_is_known_is_sent_all_that_it_asks_for():
    seeder = Seeder(4)
    requests = [(0, 0, limits.BLOCK), (0, limits.BLOCK, limits.BLOCK)]
    assert len(seeder.uploads.read_blocks(seeder.upload_peers[0], requests)) == 2
