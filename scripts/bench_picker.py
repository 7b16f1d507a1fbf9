"""Benchmark of the block picker, by the number of pieces and peers. One thread, no sockets, only the picker.

    python scripts/bench_picker.py [--quick] [--json]

Each row is a torrent of 1 MiB pieces in a steady state, about half of it there. What peers have:

- seeds: everything;
- halves: a random half each;
- little: one in a thousand, and the peers together only a hundredth of the pieces.

Columns, in microseconds, each the mean over many calls except `worst`: `whole` a pick of a whole piece (64 blocks);
`run` a pick of 4 blocks by a slow peer (share 4); `nothing` a pick for a peer that has nothing left for us; `worst` the
longest single pick of a whole piece; `have` a peer's have; `received` a block; `piece` a piece verified; `join` a peer
coming and leaving, with the next pick of each of four others, whose shortlists are outdated by it.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from random import Random
from time import perf_counter

from bitarray import bitarray
from bitarray.util import ones, zeros

from geventbt.client.pieces.picker import BlockPicker, Run
from geventbt.geometry import Geometry

PIECE = 1 << 20
BLOCKS = 64
SWARMS = ["seeds", "halves", "little"]
COLUMNS = ["whole", "run", "nothing", "worst", "have", "received", "piece", "join"]


class Bench:
    """A picker with its peers, and timing of calls."""

    def __init__(self, pieces: int, peers: int, swarm: str) -> None:
        self.random = Random(1)
        self.pieces = pieces
        self.peers = range(peers)
        have = self.bits(0.5)
        geometry = Geometry(pieces * PIECE, PIECE)
        self.picker: BlockPicker[int | str] = BlockPicker(geometry, have, max_open=1 << 60, random=Random(2))
        self.bitfield = self.bitfields(swarm)
        for peer in self.peers:
            self.picker.add_peer(peer, self.bitfield())

    def bits(self, part: float) -> bitarray:
        """Each bit is set with a probability."""
        return bitarray([self.random.random() < part for _ in range(self.pieces)], "big")

    def bitfields(self, swarm: str) -> Callable[[], bitarray]:
        """A function that makes the bitfield of a peer."""
        if swarm == "seeds":
            everything = ones(self.pieces, "big")
            return lambda: everything
        if swarm == "halves":
            pool = [self.bits(0.5) for _ in range(16)]
            return lambda: self.random.choice(pool) ^ self.random.choice(pool)
        common = [piece for piece in range(self.pieces) if self.random.random() < 0.01] or [0]

        def a_few() -> bitarray:
            has = zeros(self.pieces, "big")
            for _ in range(max(1, self.pieces // 1000)):
                has[self.random.choice(common)] = 1
            return has

        return a_few

    def time(self, calls: list[Callable[[], object]]) -> list[float]:
        """Microseconds of each call."""
        times = []
        for call in calls:
            start = perf_counter()
            call()
            times.append((perf_counter() - start) * 1e6)
        return times

    def whole(self, count: int) -> list[float]:
        """Whole pieces in turn, each given back in the end so that there is enough for the next measurement."""
        picked: list[tuple[int, list[Run]]] = []
        times = []
        for peer in islice(cycle(self.peers), count):
            start = perf_counter()
            runs = self.picker.pick(peer, BLOCKS)
            if runs:
                times.append((perf_counter() - start) * 1e6)
                picked.append((peer, runs))
        self.give_back()
        return times

    def run(self, count: int) -> list[float]:
        """Four blocks at a time."""
        times = []
        for peer in islice(cycle(self.peers), count):
            start = perf_counter()
            runs = self.picker.pick(peer, 4, share=4)
            if runs:
                times.append((perf_counter() - start) * 1e6)
        self.give_back()
        return times

    def give_back(self) -> None:
        """All that is claimed, and forget what was received."""
        for peer in self.peers:
            self.picker.give_back_all(peer)
        for piece in self.picker.open_pieces:
            self.picker.failed(piece)

    def nothing(self, count: int) -> list[float]:
        """Picks for a peer that has only the pieces that we have."""
        self.picker.add_peer("useless", zeros(self.pieces, "big"))
        times = self.time([lambda: self.picker.pick("useless", BLOCKS)] * count)
        self.picker.remove_peer("useless")
        return times

    def have(self, count: int) -> list[float]:
        """New pieces of peers, those that are not seeds; a peer that has nothing yet stands by for seeds."""
        self.picker.add_peer("newcomer", zeros(self.pieces, "big"))
        peers = ["newcomer", *self.peers]
        pairs = [(self.random.choice(peers), self.random.randrange(self.pieces)) for _ in range(count)]
        start = perf_counter()
        for peer, piece in pairs:
            self.picker.peer_has(peer, piece)
        times = [(perf_counter() - start) * 1e6 / count]
        self.picker.remove_peer("newcomer")
        return times

    def blocks(self, count: int) -> tuple[list[float], list[float]]:
        """Blocks received, and pieces verified."""
        received_times, piece_times = [], []
        for peer in islice(cycle(self.peers), count):
            for run in self.picker.pick(peer, BLOCKS):
                start = perf_counter()
                self.picker.received(peer, run.piece, range(run.first, run.first + run.blocks))
                received_times.append((perf_counter() - start) * 1e6 / run.blocks)
                start = perf_counter()
                self.picker.verified(run.piece)
                piece_times.append((perf_counter() - start) * 1e6)
        return received_times, piece_times

    def join(self, count: int) -> list[float]:
        """A peer comes, goes, and four others pick."""
        times = []
        for _ in range(count):
            has = self.bitfield()
            start = perf_counter()
            self.picker.add_peer("guest", has)
            self.picker.remove_peer("guest")
            for peer in islice(cycle(self.peers), 4):
                self.picker.pick(peer, 4)
            times.append((perf_counter() - start) * 1e6)
            self.give_back()
        return times


def measure(pieces: int, peers: int, swarm: str, count: int) -> dict[str, float | int | str]:
    """One row of the table."""
    bench = Bench(pieces, peers, swarm)
    few = max(1, min(count, pieces // 8))
    gc.disable()
    try:
        whole = bench.whole(few)
        run = bench.run(few)
        nothing = bench.nothing(count)
        join = bench.join(20)
        received, piece = bench.blocks(few)
        have = bench.have(count)
    finally:
        gc.enable()
    samples = {"whole": whole, "run": run, "nothing": nothing, "have": have}
    samples |= {"received": received, "piece": piece, "join": join}
    figures = {name: sum(times) / len(times) for name, times in samples.items() if times}
    return {"pieces": pieces, "peers": peers, "swarm": swarm, **figures, "worst": max(whole)}


def rows(is_quick: bool) -> Iterator[dict[str, float | int | str]]:
    """All rows, in the order of the table."""
    for swarm in SWARMS:
        for peers in (1, 50, 200):
            for pieces in (1_000, 10_000, 100_000):
                yield measure(pieces, peers, swarm, 500 if is_quick else 5_000)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure the block picker; microseconds a call.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the calls")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args(argv)
    if arguments.json:
        print(json.dumps(list(rows(arguments.quick)), indent=2))
        return
    print(f"{'swarm':8}{'peers':>6}{'pieces':>8}" + "".join(f"{name:>10}" for name in COLUMNS))
    for row in rows(arguments.quick):
        figures = "".join(f"{row[name]:10.2f}" if name in row else f"{'-':>10}" for name in COLUMNS)
        print(f"{row['swarm']:8}{row['peers']:6}{row['pieces']:8}{figures}")


if __name__ == "__main__":
    main()
