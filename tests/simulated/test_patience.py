"""A download from one honest seed ends, whatever the seed does, in virtual time: the real wire, picker, window and
assembly, and the policy of `WirePeer`; no socket and no clock."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from bitarray import bitarray
from bitarray.util import zeros
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geventbt import Geometry, Wire, limits
from geventbt.client.pieces.assembly import Assembly
from geventbt.client.pieces.picker import BlockPicker
from geventbt.client.swarm import wire_peer
from geventbt.client.swarm.wire_peer import WirePeer
from geventbt.wire import engine, pipeline, timer, wire
from tests.simulated.seed import INFO_HASH, LATENCY, Clock, Habits, Seed

BLOCK = limits.BLOCK
RECONNECT = 2.0
"""Seconds after which a connection that was lost is there again."""
TICK = 1.0
MAX_STEPS = 100_000
"""Events of one download: more are a loop without progress."""


class Scheduler:
    """Fills idle peers; see `RequestScheduler`. Nothing limits the rate."""

    def __init__(self, clock: Clock, assembly: Assembly[Any], picker: BlockPicker[Any]) -> None:
        self._clock = clock
        self._assembly = assembly
        self._picker = picker
        self._idle: set[WirePeer] = set()

    @property
    def is_busy(self) -> bool:
        return self._assembly.is_behind or self._picker.is_full

    def add_idle(self, source: WirePeer) -> None:
        self._idle.add(source)

    def remove(self, source: WirePeer) -> None:
        self._idle.discard(source)

    def wake_idle(self) -> None:
        self._clock.after(0, self.fill_idle)

    def fill_idle(self) -> None:
        idle, self._idle = self._idle, set()
        for source in idle:
            source.fill()

    def take(self, blocks: int) -> int:
        return blocks

    def give_back(self, blocks: int) -> None:
        """Nothing is limited."""


class Leecher:
    """One torrent's download from one seed: the `PeerOwner`, and the `AssemblyOwner`."""

    uploads: Any = None

    def __init__(self, clock: Clock, geometry: Geometry, data: bytes, seed: Seed, random: Random) -> None:
        self._clock = clock
        self._data = data
        self._seed = seed
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
        self.peers: list[WirePeer] = []
        self.losses = 0

    def _let_go(self, piece: int) -> None:
        self.assembly.let_go(piece)

    def connect(self) -> None:
        wire = Wire(self._seed.connect(), incoming=True)
        self._seed.greet()
        wire.handshake(INFO_HASH, b"-XX0001-" + b"l" * 12, geometry=self.geometry)
        peer = WirePeer(self, wire, None)
        self.peers.append(peer)
        peer.start()

    def tick(self) -> None:
        for peer in list(self.peers):
            peer.check_timeouts(self._clock.now)
            if peer.wire.silence > limits.INACTIVITY_TIMEOUT:
                peer.close()
        self.scheduler.wake_idle()
        self._clock.after(TICK, self.tick)

    def on_complete(self) -> None:
        for complete in self.assembly.take_complete(1):
            start = complete.piece * self.geometry.piece_length
            assert complete.data == self._data[start : start + len(complete.data)]
            self.picker.verified(complete.piece)
            self.assembly.finished(1)
            self.assembly.recycle(complete.buffer)

    def on_peer_closed(self, peer: WirePeer) -> None:
        if peer in self.peers:
            self.peers.remove(peer)
            self.scheduler.remove(peer)
            self.losses += 1
            self._clock.after(RECONNECT, self.connect)

    def on_extended_handshake(self, peer: WirePeer) -> None:
        """The seed has none."""

    def on_useless(self, peer: WirePeer) -> None:
        """It is done anyway."""


def ideal_time(habits: Habits, size: int) -> float:
    """Seconds in which a seed that is always busy, but for a round trip after each choke, sends `size` bytes. The first
    second of each rate does not count: requests cannot follow a change at once."""
    choke_time = 2 * LATENCY / habits.choke_every if habits.choke_every else 0.0
    passed = 0.0
    for seconds, rate in habits.rates[:-1]:
        sent = int((seconds - 1) / (BLOCK / rate + choke_time) * BLOCK) if rate else 0
        if size <= sent:
            return passed + 1 + size / BLOCK * (BLOCK / rate + choke_time)
        size -= sent
        passed += seconds
    return passed + 1 + size / BLOCK * (BLOCK / habits.rates[-1][1] + choke_time)


def download(habits: Habits, pieces: int = 16, blocks: int = 4, random_seed: int = 1) -> tuple[float, float, float]:
    """Run one. Returns the ideal time, the time that it took, and the bytes sent for each that was needed."""
    random = Random(random_seed)
    geometry = Geometry(pieces * blocks * BLOCK, blocks * BLOCK)
    data = random.randbytes(geometry.length)
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        for module in (engine, pipeline, timer, wire, wire_peer):
            patch.setattr(module, "monotonic", clock)
        seed = Seed(clock, geometry, data, habits, random)
        leecher = Leecher(clock, geometry, data, seed, random)
        begun = clock.now
        leecher.connect()
        leecher.tick()
        ideal = ideal_time(habits, geometry.length)
        # A lost connection costs the block that was under way, and the time to connect again.
        loss = RECONNECT + BLOCK / min(rate for _, rate in habits.rates if rate)
        for _ in range(MAX_STEPS):
            if leecher.picker.done:
                break
            clock.step()
            patience = 1.5 * (ideal + leecher.losses * loss) + 60
            assert clock.now - begun <= patience, f"{leecher.picker.missing} pieces of {pieces} are missing"
        assert leecher.picker.done, f"too many events: {clock.now - begun:g} s have passed"
        took = clock.now - begun
        for peer in leecher.peers:
            peer.wire.close(0)
    # Of each connection that was lost, a block was under way.
    return ideal, took, (seed.sent - leecher.losses * BLOCK) / geometry.length


RATES = st.one_of(st.integers(250, 4000), st.sampled_from([20_000, 400_000, 5_000_000]))
HABITS = st.builds(
    Habits,
    rates=st.tuples(
        st.lists(st.tuples(st.integers(1, 60), st.one_of(st.just(0), RATES)), max_size=4),
        RATES,
    ).map(lambda parts: (*parts[0], (1, parts[1]))),
    bursts=st.booleans(),
    fast=st.booleans(),
    queue=st.sampled_from([1, 2, 5, 250]),
    choke_every=st.sampled_from([0, 1, 2, 7]),
    choke=st.sampled_from(["drops", "keeps", "behind"]),
    loses=st.sampled_from([0.0, 0.0, 0.05]),
)


# Without the fast extension a peer does not say what it drops: what that costs is not bounded here.
HABITS = HABITS.filter(lambda habits: habits.fast or (habits.queue == 250 and not habits.choke_every))
# What is in the pipe of a fast connection is lost with it, whatever we do.
HABITS = HABITS.filter(lambda habits: not habits.loses or max(rate for _, rate in habits.rates) <= 20_000)


@settings(max_examples=12, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(habits=HABITS, random_seed=st.integers(0, 100))
def test_a_download_from_one_honest_seed_ends(habits, random_seed):
    _, _, sent = download(habits, random_seed=random_seed)
    assert sent <= 1.1


@pytest.mark.parametrize("bursts", [False, True])
@pytest.mark.parametrize("rate", [250, 500, 1000, 2000, 3000, 4000, 5000, 6000, 8000, 20_000])
@pytest.mark.parametrize("before", [None, 400_000])
def test_there_is_no_rate_at_which_a_seed_is_never_done_with(rate, bursts, before):
    habits = Habits(((1, before), (1, rate)) if before else ((1, rate),), bursts=bursts)
    ideal, took, sent = download(habits, pieces=8)
    assert took <= 1.2 * ideal + 30
    assert sent <= 1.1
