"""Run a DHT of many nodes in virtual time, with real packets: what lookups find, how soon, and with how many queries.

The network is that of the tests in tests/simulated; nothing waits for a clock.

    python scripts/simulate_dht.py --nodes 10000 --dead 30
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path
from statistics import mean, median, quantiles

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.simulated.dht_network import Network
from tests.simulated.test_dht import announce_many, search_many


def main() -> None:
    """Read the command line, simulate and print the figures."""
    parser = argparse.ArgumentParser(description="Simulate a DHT in virtual time.")
    parser.add_argument("--nodes", type=int, default=10_000, help="(default: 10000)")
    parser.add_argument("--dead", type=int, default=30, help="percent that vanish after the announces (default: 30)")
    parser.add_argument("--loss", type=float, default=5.0, help="percent of datagrams that are lost (default: 5)")
    parser.add_argument("--searches", type=int, default=100, help="torrents announced, then searched (default: 100)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default: 1)")
    arguments = parser.parse_args()
    started = time.monotonic()
    network = Network(arguments.seed, loss=arguments.loss / 100)
    network.fill(arguments.nodes)
    print(f"{arguments.nodes} nodes after {time.monotonic() - started:.0f} s", flush=True)
    hashes = announce_many(network, arguments.searches)
    network.kill(network.rng.sample(network.living(), arguments.nodes * arguments.dead // 100))
    outcome = search_many(network, hashes)
    print(
        f"found {outcome.found} of {len(hashes)}; first peer median {median(outcome.first):.2f} s; finished median "
        f"{median(outcome.finished):.2f} s, 95 % {quantiles(outcome.finished, n=20)[-1]:.2f} s; "
        f"{mean(outcome.queries):.1f} queries; {network.packets} packets in all"
    )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{time.monotonic() - started:.0f} s, {memory} MiB")


if __name__ == "__main__":
    main()
