"""Measure IP filters: how long a list of ranges takes to be read, by its format, and a look whether a host is blocked.

    python scripts/bench_ip_filter.py --ranges 1000000

The ranges are random, separate, and of at most 256 addresses, as most are in published lists; each look is for a random
address. Times are those of the processor. The goals are a million ranges within 3 s, and a look within 1 us.
"""

from __future__ import annotations

import argparse
import gzip
import random
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path
from time import process_time

from geventbt.net.ip_filter import IPFilter
from geventbt.net.ip_ranges import read_ip_filter

LOOKS = 200_000

Range = tuple[int, int]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranges", type=int, default=1_000_000, help="how many ranges (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="the best of N runs (default: %(default)s)")
    arguments = parser.parse_args()
    rng = random.Random(1)
    ranges = list(_ranges(rng, arguments.ranges))
    hosts = [str(IPv4Address(rng.randrange(1 << 32))) for _ in range(LOOKS)]
    print(f"{'':8} {'file MiB':>9} {'read s':>8} {'look us':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name, line in _FORMATS.items():
            path = Path(folder, name)
            data = "".join(line(*pair) for pair in ranges).encode()
            path.write_bytes(gzip.compress(data, 1) if name.endswith("gz") else data)
            found, seconds = min((_read(path) for _ in range(arguments.repeat)), key=lambda outcome: outcome[1])
            look = min(_look(found, hosts) for _ in range(arguments.repeat))
            print(f"{name:8} {path.stat().st_size / (1 << 20):9.1f} {seconds:8.2f} {look:8.2f}")
    tracemalloc.start()
    kept = IPFilter(ranges)
    print(f"{len(kept)} ranges held in {tracemalloc.get_traced_memory()[0] / (1 << 20):.1f} MiB")


def _ranges(rng: random.Random, count: int) -> Iterator[Range]:
    """Separate ranges, in an order that is not theirs."""
    space = (1 << 32) // count
    numbers = list(range(count))
    rng.shuffle(numbers)
    for number in numbers:
        first = number * space + rng.randrange(space // 2)
        yield first, first + rng.randrange(min(256, space // 2 - 1))


def _p2p(first: int, last: int) -> str:
    return f"Some Organisation:{IPv4Address(first)}-{IPv4Address(last)}\n"


def _dat(first: int, last: int) -> str:
    low, high = (".".join(f"{octet:03}" for octet in IPv4Address(number).packed) for number in (first, last))
    return f"{low} - {high} , 000 , Some Organisation\n"


def _cidr(first: int, last: int) -> str:
    return f"{IPv4Address(first)}/{33 - max(1, (last - first).bit_length())}\n"


_FORMATS: dict[str, Callable[[int, int], str]] = {"p2p": _p2p, "p2p.gz": _p2p, "dat": _dat, "cidr": _cidr}


def _read(path: Path) -> tuple[IPFilter, float]:
    started = process_time()
    found = read_ip_filter(path)
    return found, process_time() - started


def _look(found: IPFilter, hosts: list[str]) -> float:
    """Microseconds of one look."""
    started = process_time()
    for host in hosts:
        found.blocks(host)
    return (process_time() - started) / len(hosts) * 1e6


if __name__ == "__main__":
    main()
