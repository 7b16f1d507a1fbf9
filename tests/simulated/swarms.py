"""Swarms in virtual time that begin with seeds and end when every leecher is done; their scenarios and bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from random import Random
from statistics import mean, median

from geventbt import Geometry, limits
from tests.simulated.swarm_host import OTHERS, OURS, Habits, Line, SimulatedHost, connect
from tests.simulated.swarm_links import Clock

MIB = limits.MIB
MAX_SECONDS = 3000.0


@dataclass(frozen=True)
class Member:
    """A host of a scenario.

    Attributes:
        line: its connection to the network.
        is_seed: whether it has everything.
        joins_at: seconds until it connects.
        is_other: whether it is another client than ours, in mixed swarms.
    """

    line: Line
    is_seed: bool = False
    joins_at: float = 0.0
    is_other: bool = False


@dataclass(frozen=True)
class Scenario:
    """A swarm.

    Attributes:
        size: MiB of the torrent.
        members: the hosts.
        piece_length: bytes of a piece.
        degree: how many others a leecher is connected to, about; 0 for all.
    """

    size: int
    members: tuple[Member, ...]
    piece_length: int = 256 * 1024
    degree: int = 0

    @property
    def bound(self) -> float:
        """Seconds in which no client can be quicker: the uplinks of the seeds pass everything on once, all uplinks
        everything to everybody, and the slowest downlink everything."""
        bits = self.size * MIB * 8 / 1e6
        seeds = sum(member.line.up for member in self.members if member.is_seed)
        leechers = [member.line for member in self.members if not member.is_seed]
        together = bits * len(leechers) / (seeds + sum(line.up for line in leechers))
        return max(bits / seeds, bits / min(line.down for line in leechers), together)


def _swarm(size: int, seeds: Sequence[Line], leechers: Sequence[Line], **options: int) -> Scenario:
    members = [Member(line, is_seed=True) for line in seeds] + [Member(line) for line in leechers]
    return Scenario(size, tuple(members), **options)


DELAYS = (5, 10, 20, 30, 40, 60, 80, 100)
UNEVEN = ((1, 10), (2, 20), (4, 40), (8, 60), (16, 80), (10, 15))
EIGHT = _swarm(24, [Line(10, 50, 20)], [Line(10, 50, delay) for delay in DELAYS])
UNEVEN_24 = _swarm(16, [Line(8, 50, 20)], [Line(up, 40, delay) for up, delay in UNEVEN * 4])


TEN = [
    Line(up, 100, delay, loss)
    for up, delay, loss in zip(
        (1, 2, 3, 5, 8, 10, 11.5, 13, 14, 20),
        (10, 150, 20, 80, 40, 120, 30, 60, 100, 50),
        (0, 1, 0, 0.2, 0, 0.5, 0, 0.1, 0, 0.2),
        strict=True,
    )
]


def crowd(leechers: int, size: int = 16, degree: int = 0) -> Scenario:
    """A seed, and leechers with uplinks of 1 to 20 Mbit/s."""
    random = Random(5)
    lines = [Line(random.choice((1, 2, 4, 8, 10, 20)), 50, random.randint(5, 80)) for _ in range(leechers)]
    return _swarm(size, [Line(10, 50, 20)], lines, degree=degree)


def mixed(scenario: Scenario) -> Scenario:
    """The same with every other leecher of each kind another client."""
    leechers = [member for member in scenario.members if not member.is_seed]
    half = len(leechers) // 2
    # Of lines that repeat, each kind gets as many.
    others = {id(member) for number, member in enumerate(leechers) if (number + number // max(1, half)) % 2}
    return replace(
        scenario, members=tuple(replace(member, is_other=id(member) in others) for member in scenario.members)
    )


def late(scenario: Scenario, count: int, seconds: float) -> Scenario:
    """The same with the last leechers joining later."""
    members = list(scenario.members)
    members[-count:] = [replace(member, joins_at=seconds) for member in members[-count:]]
    return replace(scenario, members=tuple(members))


SCENARIOS = {
    "eight": EIGHT,
    "small": replace(EIGHT, size=6),
    "uneven": UNEVEN_24,
    "three": _swarm(24, [Line(10, 50, 20)], [Line(10, 50, delay) for delay in (10, 30, 60)]),
    "two": _swarm(24, [Line(10, 50, 20)], [Line(10, 50, delay) for delay in (10, 30)]),
    "one": _swarm(24, [Line(10, 50, 20)], [Line(10, 50, 20)]),
    "late": late(EIGHT, 3, 12.0),
    "mixed-eight": mixed(EIGHT),
    "mixed-uneven": mixed(UNEVEN_24),
    "hundred": crowd(100),
    "thousand": crowd(1000, 4, degree=30),
    "slow-seeds": _swarm(
        24, [Line(10, 50, 20), *(Line(up, 50, 40) for up in (0.3, 0.2, 0.1, 0.5))], [Line(10, 50, d) for d in DELAYS]
    ),
    **{f"two-seeds-{up}": _swarm(16, [Line(up, 100, 20)] * 2, [Line(10, 50, 20)] * 16) for up in (1, 10, 100)},
    "slow-receivers": _swarm(1, [Line(50, 100, 20)] * 2, [Line(0.2, 0.4, 40)] * 16),
    "ten-seeds": _swarm(96, TEN, [Line(20, 100, 10)]),
    "tail": _swarm(32, [Line(30, 100, 20), Line(30, 100, 40), *(Line(up, 10, 50) for up in (0.1, 0.2, 0.3))],
                   [Line(20, 100, 10)]),
}  # fmt: skip


@dataclass
class Outcome:
    """How a swarm went.

    Attributes:
        bound: see `Scenario`.
        done: seconds from the join of each leecher until it was done, in their order; `MAX_SECONDS` if never.
        is_other: whether each is another client.
        seed_copies: bytes of blocks that the seeds sent, in payloads.
        wasted: bytes that came twice, in payloads, of all leechers.
        spread_at: when each piece was held by some leecher.
        busy: the share of their time before they were done that the leechers' uplinks were sending, weighed by rate.
    """

    bound: float
    done: list[float]
    is_other: list[bool]
    seed_copies: float
    wasted: float
    spread_at: float
    busy: float

    @property
    def first(self) -> float:
        return min(self.done)

    @property
    def median(self) -> float:
        return median(self.done)

    @property
    def last(self) -> float:
        return max(self.done)

    @property
    def ratio(self) -> float:
        return self.last / self.bound

    def mean_of(self, *, is_other: bool) -> float:
        """The mean of one kind of client; not a number if there is none."""
        chosen = [done for done, other in zip(self.done, self.is_other, strict=True) if other == is_other]
        return mean(chosen) if chosen else float("nan")


@dataclass
class _Swarm:
    clock: Clock = field(default_factory=Clock)
    first_copies: dict[int, float] = field(default_factory=dict)
    left: int = 0

    def on_verified(self, host: SimulatedHost, piece: int) -> None:
        self.first_copies.setdefault(piece, self.clock.now)
        self.left -= host.seeding


def simulate(
    scenario: Scenario, seed: int = 0, *, seeds: Habits = OURS, leechers: Habits = OURS, others: Habits = OTHERS
) -> Outcome:
    """Run a swarm.

    Args:
        scenario: the hosts.
        seed: of the random numbers; the same gives the same outcome.
        seeds, leechers, others: the habits of the clients.
    """
    random, swarm = Random(seed), _Swarm()
    clock = swarm.clock
    geometry = Geometry(scenario.size * MIB, scenario.piece_length)
    hosts: list[SimulatedHost] = []
    for number, member in enumerate(scenario.members):
        habits = seeds if member.is_seed else others if member.is_other else leechers
        hosts.append(
            SimulatedHost(
                clock, number, member.line, geometry, habits, Random(random.random()),
                is_seed=member.is_seed, on_verified=swarm.on_verified,
            )
        )  # fmt: skip
    pairs = list(combinations(zip(hosts, scenario.members, strict=True), 2))
    for (first, one), (second, other) in pairs:
        is_chosen = not scenario.degree or one.is_seed or random.random() < scenario.degree / len(hosts)
        if is_chosen and not (one.is_seed and other.is_seed):
            opening = 3 * (one.line.delay + other.line.delay) / 1e3
            clock.at(max(one.joins_at, other.joins_at) + 0.2 * random.random() + opening, connect, first, second)
    leeching = [host for host in hosts if not host.is_seed]
    swarm.left = len(leeching)
    while swarm.left and clock.now < MAX_SECONDS and clock.step():
        pass
    payload = scenario.size * MIB
    joined = [member.joins_at for member in scenario.members if not member.is_seed]
    ends = [host.done_at or MAX_SECONDS for host in leeching]
    capacity = sum(host.line.up * clock.now for host in leeching)
    return Outcome(
        bound=scenario.bound,
        done=[end - begun for end, begun in zip(ends, joined, strict=True)],
        is_other=[member.is_other for member in scenario.members if not member.is_seed],
        seed_copies=sum(host.uploaded for host in hosts if host.is_seed) / payload,
        wasted=sum(host.wasted for host in leeching) / payload,
        spread_at=max(swarm.first_copies.values(), default=MAX_SECONDS),
        busy=sum(host.uplink.busy_time * host.line.up for host in leeching) / capacity,
    )
