"""A download in virtual time: the real wire, picker, window and assembly, and the policy of `WirePeer`; no socket and
no clock. What happens follows from the habits of the seeds and a random seed alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random
from types import SimpleNamespace
from typing import Any, TypeAlias, cast

import pytest
from bitarray import bitarray
from bitarray.util import zeros

from geventbt import Geometry, Wire, limits
from geventbt.client.pieces.assembly import Assembly
from geventbt.client.pieces.picker import BlockPicker
from geventbt.client.swarm import peer_requests, wire_peer
from geventbt.client.swarm.dealer import Dealer
from geventbt.client.swarm.endgame import Endgame
from geventbt.client.swarm.urgent_requests import UrgentRequests
from geventbt.client.swarm.wire_peer import WirePeer
from geventbt.rates.fair_rate import FairRate
from geventbt.wire import engine, pipeline, timer, wire
from tests.simulated.seed import BLOCK, INFO_HASH, Clock, Habits, Seed

RECONNECT = 2.0
"""Seconds after which a connection that was lost is there again."""
TICK, SHORT_TICK = 1.0, 0.05
MAX_STEPS = 60_000
"""Events of one download, about a second of the processor: more are a loop without progress."""


class Scheduler:
    """Fills idle peers, and those whose turn it is at the rate limit; see `RequestScheduler`."""

    def __init__(self, clock: Clock, assembly: Assembly[Any], picker: BlockPicker[Any], rate: int | None) -> None:
        self.patience = limits.FIRST_URGENT_TIME
        self.read_until = 0.0
        self._clock = clock
        self._down = FairRate(rate, clock.now)
        self._assembly = assembly
        self._picker = picker
        # In the order in which they became idle: that of a set of peers differs from run to run.
        self._idle: dict[WirePeer, None] = {}

    @property
    def is_busy(self) -> bool:
        return self._assembly.is_behind or self._picker.is_full

    def add_idle(self, source: WirePeer) -> None:
        self._idle[source] = None

    def remove(self, source: WirePeer) -> None:
        self._idle.pop(source, None)

    def wake_idle(self) -> None:
        self._clock.after(0, self.fill_idle)

    def fill_idle(self) -> None:
        idle, self._idle = self._idle, {}
        for source in idle:
            source.fill()

    def take(self, source: WirePeer, blocks: int) -> int:
        return self._down.take(source, blocks, BLOCK, self._clock.now)

    def give_back(self, source: WirePeer, blocks: int) -> None:
        if self._down.limited:
            self._down.give_back(source, blocks * BLOCK)

    def give_turns(self) -> None:
        for source in self._down.turns(self._clock.now):
            source.fill()


class Leecher:
    """One torrent's download from some seeds: the `PeerOwner`, and the `AssemblyOwner`.

    Attributes:
        losses: connections that were lost.
        urgent: asks for what readers need.
        endgame: has seeds that run dry take over from slow ones.
        on_verified: is called when a piece is there.
    """

    upload_peers = ()

    def __init__(
        self, clock: Clock, geometry: Geometry, data: bytes, random: Random, *, rate: int | None = None
    ) -> None:
        self._clock = clock
        self._data = data
        self.geometry = geometry
        self.have: bitarray = zeros(geometry.pieces, "big")
        self.picker: BlockPicker[Any] = BlockPicker(
            geometry,
            self.have,
            max_open=limits.DISK_QUEUE,
            random=random,
            on_let_go=lambda piece: self.assembly.let_go(piece),
        )
        self.assembly: Assembly[Any] = Assembly(geometry, self.picker, self)
        self.scheduler: Any = Scheduler(clock, self.assembly, self.picker, rate)
        self.uploads: Any = SimpleNamespace(dealer=Dealer(geometry, False))
        self.losses = 0
        self.on_verified: Callable[[], None] = lambda: None
        self._peers: dict[WirePeer, Seed] = {}
        self.urgent = UrgentRequests(self.picker, cast(Any, self.scheduler), self._peers)
        self.endgame = Endgame(self.picker, self._peers)

    def connect(self, seed: Seed) -> None:
        """Connect to a seed; again each time that the connection is lost."""
        wire = Wire(seed.connect(), incoming=True)
        seed.greet()
        wire.handshake(INFO_HASH, b"-XX0001-" + b"l" * 12, geometry=self.geometry)
        peer = WirePeer(self, wire, None)
        self._peers[peer] = seed
        peer.start()

    def tick(self) -> None:
        """Do what the runner of a torrent does each second."""
        for peer in list(self._peers):
            peer.check_timeouts(self._clock.now)
            if peer.wire.silence > limits.INACTIVITY_TIMEOUT:
                peer.close()
        self.scheduler.wake_idle()
        self._clock.after(TICK, self.tick)

    def short_tick(self) -> None:
        """Do what a swarm does often while there is a reader or a rate limit."""
        self.scheduler.give_turns()
        self.urgent.request(self._clock.now)
        self._clock.after(SHORT_TICK, self.short_tick)

    def close(self) -> None:
        """Leave all seeds."""
        peers, self._peers = self._peers, {}
        for peer in peers:
            peer.wire.close(0)

    def on_complete(self) -> None:
        for complete in self.assembly.take_complete(1):
            start = complete.piece * self.geometry.piece_length
            assert complete.data == self._data[start : start + len(complete.data)]
            self.have[complete.piece] = True
            self.picker.verified(complete.piece)
            self.assembly.finished(1)
            self.assembly.recycle(complete.buffer)
        self.on_verified()

    def on_peer_closed(self, peer: WirePeer) -> None:
        seed = self._peers.pop(peer, None)
        if seed is not None:
            self.scheduler.remove(peer)
            self.losses += 1
            seed.note_outage(RECONNECT)
            self._clock.after(RECONNECT, lambda: self.connect(seed))

    def on_extended_handshake(self, peer: WirePeer) -> None:
        """The seeds have none."""

    def on_dht_port(self, peer: WirePeer, port: int) -> None:
        """The seeds have no node."""

    def on_useless(self, peer: WirePeer) -> None:
        """It is done anyway."""


@dataclass(frozen=True)
class Outcome:
    """How a download went.

    Attributes:
        missing: pieces that are missing; 0 if it ended.
        steps: events that it took.
        seconds: the time that it took.
        ideal: the time in which the seeds could have sent everything, lost connections included.
        bytes: of the blocks that arrived, for each byte that was needed.
    """

    missing: int
    steps: int
    seconds: float
    ideal: float
    bytes: float

    @property
    def slowness(self) -> float:
        """The time that it took, as a part of what it may take."""
        return self.seconds / patience(self.ideal)


def patience(ideal: float) -> float:
    """Seconds that a download may take."""
    return 1.5 * ideal + 60


Outages: TypeAlias = "Sequence[Sequence[tuple[float, float]]]"
"""(begin, end) of each time without a connection, of each seed."""


def ideal_time(seeds: Sequence[Habits], outages: Outages, geometry: Geometry) -> float:
    """Seconds in which seeds send all pieces; piece 0 when one of them no longer refuses it."""
    refused = min(habits.refuses for habits in seeds)
    return max(
        time_to_send(seeds, outages, 0, geometry.length),
        time_to_send(seeds, outages, refused, geometry.piece_length if refused else 0),
    )


def time_to_send(seeds: Sequence[Habits], outages: Outages, begin: float, size: int) -> float:
    """Seconds until seeds have sent so many bytes, if each is busy whenever its queue, its chokes and its connection
    allow; infinite if they never have.

    The first second of each rate counts for nothing: requests cannot follow a change at once. A connection that is
    lost takes a part of a block with it.

    Args:
        seeds: their habits.
        outages: of their connections.
        begin: when they begin.
        size: bytes.
    """
    if not size:
        return 0.0
    times = {begin}
    for habits, without in zip(seeds, outages, strict=True):
        times.update(time for outage in without for time in outage)
        times.update(time for since, _, _ in stages(habits) for time in (since, since + 1))
    times_left = sorted(time for time in times if time >= begin)
    left = float(size)
    for passed, end in pairwise([*times_left, float("inf")]):
        left += BLOCK * sum(lost == passed for without in outages for lost, _ in without)
        speed = 0.0
        for habits, without in zip(seeds, outages, strict=True):
            if not any(lost <= passed < there for lost, there in without):
                speed += next((best for since, to, best in stages(habits) if since + 1 <= passed < to), 0.0)
        if speed * (end - passed) >= left:
            return passed + left / speed
        left -= speed * (end - passed) if speed else 0
    return float("inf")


def stages(habits: Habits) -> list[tuple[float, float, float]]:
    """(begin, end, best speed) of each rate."""
    begins = [0.0, *accumulate(seconds for seconds, _ in habits.rates)]
    begins[-1] = float("inf")
    return [
        (begin, end, best_speed(habits, rate))
        for (_, rate), (begin, end) in zip(habits.rates, pairwise(begins), strict=True)
    ]


def best_speed(habits: Habits, rate: int) -> float:
    """Bytes a second of a seed that waits a round trip for new requests, each time its queue was full or dropped."""
    blocks = habits.queue
    if habits.choke_every and habits.choke != "keeps":
        blocks = min(blocks, habits.choke_every)
    return blocks * BLOCK / (blocks * BLOCK / rate + 2 * habits.latency) if rate else 0.0


@contextmanager
def virtual_time() -> Iterator[Clock]:
    """Have wires and peers go by a clock of their own."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        for module in (engine, pipeline, timer, wire, peer_requests, wire_peer):
            patch.setattr(module, "monotonic", clock)
        yield clock


def download(seeds: Sequence[Habits], random_seed: int, pieces: int = 16, blocks: int = 4) -> Outcome:
    """Run a download until it is done, or has taken too long."""
    random = Random(random_seed)
    geometry = Geometry(pieces * blocks * BLOCK, blocks * BLOCK)
    data = random.randbytes(geometry.length)
    with virtual_time() as clock:
        leecher = Leecher(clock, geometry, data, random)
        serving = [Seed(clock, geometry, data, habits, random) for habits in seeds]
        begun = clock.now
        for seed in serving:
            leecher.connect(seed)
        leecher.tick()
        steps = losses = 0
        ideal = ideal_time(seeds, [[] for _ in seeds], geometry)
        while not leecher.picker.done and steps < MAX_STEPS and clock.now - begun <= patience(ideal):
            clock.step()
            steps += 1
            if leecher.losses > losses:
                losses = leecher.losses
                ideal = ideal_time(seeds, [seed.outages for seed in serving], geometry)
        leecher.close()
    arrived = sum(seed.arrived for seed in serving) / geometry.length
    return Outcome(leecher.picker.missing, steps, clock.now - begun, ideal, arrived)
