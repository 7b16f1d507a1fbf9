"""A download in virtual time: the real wire, picker, window and assembly, and the policy of `WirePeer`; no socket and
no clock. What happens follows from the habits of the seeds and a random seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from bitarray import bitarray
from bitarray.util import zeros

from geventbt import Geometry, Wire, limits
from geventbt.client.pieces.assembly import Assembly
from geventbt.client.pieces.picker import BlockPicker
from geventbt.client.swarm import wire_peer
from geventbt.client.swarm.wire_peer import WirePeer
from geventbt.wire import engine, pipeline, timer, wire
from tests.simulated.seed import BLOCK, INFO_HASH, LATENCY, Clock, Habits, Seed

RECONNECT = 2.0
"""Seconds after which a connection that was lost is there again."""
TICK = 1.0
MAX_STEPS = 60_000
"""Events of one download, about a second of the processor: more are a loop without progress."""


class Scheduler:
    """Fills idle peers; see `RequestScheduler`. Nothing limits the rate."""

    def __init__(self, clock: Clock, assembly: Assembly[Any], picker: BlockPicker[Any]) -> None:
        self._clock = clock
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

    def take(self, blocks: int) -> int:
        return blocks

    def give_back(self, blocks: int) -> None:
        """Nothing is limited."""


class Leecher:
    """One torrent's download from some seeds: the `PeerOwner`, and the `AssemblyOwner`.

    Attributes:
        losses: connections that were lost.
    """

    uploads: Any = None

    def __init__(self, clock: Clock, geometry: Geometry, data: bytes, random: Random) -> None:
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
        self.scheduler: Any = Scheduler(clock, self.assembly, self.picker)
        self.losses = 0
        self._peers: dict[WirePeer, Seed] = {}

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

    def close(self) -> None:
        """Leave all seeds."""
        peers, self._peers = self._peers, {}
        for peer in peers:
            peer.wire.close(0)

    def on_complete(self) -> None:
        for complete in self.assembly.take_complete(1):
            start = complete.piece * self.geometry.piece_length
            assert complete.data == self._data[start : start + len(complete.data)]
            self.picker.verified(complete.piece)
            self.assembly.finished(1)
            self.assembly.recycle(complete.buffer)

    def on_peer_closed(self, peer: WirePeer) -> None:
        seed = self._peers.pop(peer, None)
        if seed is not None:
            self.scheduler.remove(peer)
            self.losses += 1
            self._clock.after(RECONNECT, lambda: self.connect(seed))

    def on_extended_handshake(self, peer: WirePeer) -> None:
        """The seeds have none."""

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
    def patience(self) -> float:
        """Seconds that it may take."""
        return 1.5 * self.ideal + 60


def ideal_time(seeds: Sequence[Habits], size: int) -> float:
    """Seconds in which seeds send so many bytes, if each is busy whenever its queue and its chokes allow.

    The first second of each rate counts for nothing: requests cannot follow a change at once.
    """
    # (time, by how much the speed of all changes then)
    changes: list[tuple[float, float]] = []
    for habits in seeds:
        began = speed = 0.0
        for seconds, rate in habits.rates:
            changes.append((began, -speed))
            speed = best_speed(habits, rate)
            changes.append((began + 1, speed))
            began += max(1, seconds)
    passed = sent = speed = 0.0
    for at, change in sorted(changes):
        if sent + (at - passed) * speed >= size:
            break
        sent += (at - passed) * speed
        passed, speed = at, round(speed + change, 6)
    return passed + (size - sent) / speed


def best_speed(habits: Habits, rate: int) -> float:
    """Bytes a second of a seed that waits a round trip for new requests, each time its queue was full or dropped."""
    blocks = habits.queue
    if habits.choke_every and habits.choke != "keeps":
        blocks = min(blocks, habits.choke_every)
    return blocks * BLOCK / (blocks * BLOCK / rate + 2 * LATENCY) if rate else 0.0


def download(seeds: Sequence[Habits], random_seed: int, pieces: int = 16, blocks: int = 4) -> Outcome:
    """Run a download until it is done, or has taken too long."""
    random = Random(random_seed)
    geometry = Geometry(pieces * blocks * BLOCK, blocks * BLOCK)
    data = random.randbytes(geometry.length)
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        for module in (engine, pipeline, timer, wire, wire_peer):
            patch.setattr(module, "monotonic", clock)
        leecher = Leecher(clock, geometry, data, random)
        serving = [Seed(clock, geometry, data, habits, random) for habits in seeds]
        begun = clock.now
        for seed in serving:
            leecher.connect(seed)
        leecher.tick()
        ideal = ideal_time(seeds, geometry.length)
        # A lost connection costs what was under way of a block, and the time to connect again.
        loss = RECONNECT + BLOCK / min(rate for habits in seeds for _, rate in habits.rates if rate)
        steps = 0
        while True:
            arrived = sum(seed.arrived for seed in serving) / geometry.length
            outcome = Outcome(leecher.picker.missing, steps, clock.now - begun, ideal + leecher.losses * loss, arrived)
            if not outcome.missing or outcome.seconds > outcome.patience or steps == MAX_STEPS:
                break
            clock.step()
            steps += 1
        leecher.close()
    return outcome
