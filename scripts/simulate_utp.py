"""Figures of uTP over lines in virtual time: how much of a line it uses, its queue, and what it leaves to TCP.

    python scripts/simulate_utp.py --seconds 60

One row for each line, and then the shares of uTP and of a flow like TCP that use the same line.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.simulated.utp_network import BulkFlow, Pair

MBIT = 1e6 / 8


def alone(seconds: float, mbit: float, round_trip: float, loss: float, queue: float) -> None:
    """One stream on a line."""
    rate = mbit * MBIT
    there = {"rate": rate, "delay": round_trip / 2, "loss": loss, "queue": queue}
    pair = Pair(rng=random.Random(1), there=there, back={"delay": round_trip / 2, "loss": loss})
    pair.stream.write(bytes(int(rate * seconds)))
    pair.near.pump(pair.stream)
    pair.clock.run_until(lambda: False, seconds)
    waits = sorted(wait for _, wait in pair.there.waits)
    print(
        f"{mbit:5.0f} Mbit/s, {round_trip * 1000:4.0f} ms, {loss:4.0%} loss, {queue / 1000:6.0f} kB of queue: "
        f"{len(pair.far.received) / rate / seconds:4.0%} of the line; queue {waits[len(waits) // 2] * 1000:4.0f} ms "
        f"(median), {waits[-1] * 1000:4.0f} ms (most)"
    )


def beside_tcp(seconds: float, mbit: float, round_trip: float, queue: float) -> None:
    """One stream beside a flow like TCP's, which begins later."""
    rate = mbit * MBIT
    pair = Pair(there={"rate": rate, "delay": round_trip / 2, "queue": queue}, back={"delay": round_trip / 2})
    flow = BulkFlow(pair.clock, pair.there, round_trip / 2)
    pair.stream.write(bytes(int(rate * 2 * seconds)))
    pair.near.pump(pair.stream)
    pair.clock.run_until(lambda: False, 10)
    flow.start()
    pair.clock.run_until(lambda: False, 20)
    ours, theirs = len(pair.far.received), flow.delivered
    pair.clock.run_until(lambda: False, 20 + seconds)
    ours, theirs = len(pair.far.received) - ours, flow.delivered - theirs
    print(
        f"{mbit:5.0f} Mbit/s, {round_trip * 1000:4.0f} ms, {queue / rate * 1000:4.0f} ms of queue, beside TCP: "
        f"{ours / (ours + theirs):4.0%} of what both have"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="of virtual time for each line")
    seconds = parser.parse_args().seconds
    for loss in (0.0, 0.01, 0.02, 0.05):
        alone(seconds, 50, 0.1, loss, 2e6)
    alone(seconds, 10, 0.4, 0.0, 2e6)
    alone(seconds, 1, 0.04, 0.0, 60e3)
    for queue in (0.025, 0.1, 0.2, 0.5):
        beside_tcp(seconds, 10, 0.05, queue * 10 * MBIT)


if __name__ == "__main__":
    main()
