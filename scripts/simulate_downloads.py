"""Simulate downloads from seeds of random habits, in virtual time, for as long as you like.

The rule: a download from honest seeds ends, with at most 1.1 times the bytes, in at most 1.5 times the ideal time and a
minute. The test suite runs sixty of these. Each follows from its number alone.

Of the first two thousand one breaks the rule, for the time: number 170. Its seed, without the fast extension, first
refuses the piece that is asked for, without a word. That is known after three seconds, in which it would have sent all
the rest. Then its connection is lost again and again, and in the end it is slow.

    python scripts/simulate_downloads.py --first 1000 --downloads 1000
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.simulated.leecher import Outcome, download
from tests.simulated.seed import random_seeds

MOST_BYTES = 1.1


def main() -> int:
    """Simulate, and say what broke the rule and what came next to it."""
    parser = argparse.ArgumentParser(description="Simulate downloads from seeds of random habits.")
    parser.add_argument("--first", type=int, default=0, metavar="NUMBER", help="of the first download")
    parser.add_argument("--downloads", type=int, default=1000, metavar="COUNT")
    options = parser.parse_args()
    outcomes: list[tuple[int, Outcome]] = []
    broken = 0
    for number in range(options.first, options.first + options.downloads):
        seeds = random_seeds(Random(number))
        outcome = download(seeds, number)
        outcomes.append((number, outcome))
        if outcome.missing or outcome.bytes > MOST_BYTES:
            broken += 1
            print(f"{number}: {outcome}\n  {seeds}", flush=True)
    most_bytes = max(outcomes, key=lambda numbered: numbered[1].bytes)
    longest = max(outcomes, key=lambda numbered: numbered[1].slowness)
    most_steps = max(outcomes, key=lambda numbered: numbered[1].steps)
    print(f"{len(outcomes)} downloads, {broken} broke the rule")
    print(f"most bytes: {most_bytes[1].bytes:.3f} of what is needed, in {most_bytes[0]}")
    print(f"longest: {longest[1].slowness:.2f} of what it may take, in {longest[0]}")
    print(f"most events: {most_steps[1].steps}, in {most_steps[0]}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
