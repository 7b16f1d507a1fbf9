"""Simulate swarms in virtual time: the real picker, choker, request window, slots and dealing, over modelled links.

    python scripts/simulate_swarm.py eight uneven --runs 5 --compare
    python scripts/simulate_swarm.py eight --leechers slots=4 --seeds super_seeding=False

Times are means over the runs, in seconds; `ratio` is that of the last leecher to the bound that no client can beat;
`copies` what the seeds sent, in payloads; `spread` when a leecher held each piece; `busy` how much of their uplinks the
leechers used; `ours` and `others` the mean leecher of each client. See `tests/simulated/swarms.py` for the scenarios.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.simulated.swarm_host import BEFORE, OURS, Habits
from tests.simulated.swarms import SCENARIOS, Outcome, simulate


def changed(habits: Habits, changes: str) -> Habits:
    """Habits with changes such as "slots=4,super_seeding=False"."""
    names = {field.name for field in fields(Habits)}
    values = dict(change.split("=") for change in changes.split(",") if change)
    if unknown := values.keys() - names:
        raise SystemExit(f"no such habit: {', '.join(unknown)}; there are {', '.join(sorted(names))}")
    return replace(
        habits, **{name: json.loads(value.lower().replace("none", "null")) for name, value in values.items()}
    )


def run(name: str, seed: int, seeds: Habits, leechers: Habits) -> Outcome:
    return simulate(SCENARIOS[name], seed, seeds=seeds, leechers=leechers)


def summary(outcomes: list[Outcome]) -> dict[str, float]:
    """The means of all runs."""
    columns = {
        "first": mean(each.first for each in outcomes),
        "median": mean(each.median for each in outcomes),
        "last": mean(each.last for each in outcomes),
        "ratio": mean(each.ratio for each in outcomes),
        "worst": max(each.ratio for each in outcomes),
        "copies": mean(each.seed_copies for each in outcomes),
        "spread": mean(each.spread_at for each in outcomes),
        "busy": mean(each.busy for each in outcomes),
        "wasted": mean(each.wasted for each in outcomes),
        "ours": mean(each.mean_of(is_other=False) for each in outcomes),
    }
    if any(outcomes[0].is_other):
        columns["others"] = mean(each.mean_of(is_other=True) for each in outcomes)
    return columns


def main() -> None:
    """Simulate what was chosen, and print a table or JSON."""
    parser = argparse.ArgumentParser(description="Simulate swarms in virtual time.")
    parser.add_argument("scenarios", nargs="+", choices=SCENARIOS)
    parser.add_argument("--runs", type=int, default=4, help="each with other random numbers (default: 4)")
    parser.add_argument("--seeds", default="", metavar="HABIT=VALUE,...", help="other habits of the seeds")
    parser.add_argument("--leechers", default="", metavar="HABIT=VALUE,...", help="other habits of our leechers")
    parser.add_argument("--compare", action="store_true", help="also without the policies for swarms")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sides = {"now": (changed(OURS, options.seeds), changed(OURS, options.leechers))}
    if options.compare:
        sides["before"] = (BEFORE, BEFORE)
    results = []
    with ProcessPoolExecutor() as pool:
        for name in options.scenarios:
            for side, (seeds, leechers) in sides.items():
                started = time.perf_counter()
                outcomes = list(pool.map(partial(run, name, seeds=seeds, leechers=leechers), range(options.runs)))
                took = time.perf_counter() - started
                columns = summary(outcomes)
                results.append({"scenario": name, "policies": side, "bound": outcomes[0].bound, **columns})
                if not options.json:
                    cells = "  ".join(f"{key} {value:.2f}" for key, value in columns.items())
                    print(f"{name} {side}: bound {outcomes[0].bound:.1f}  {cells}  ({took:.1f} s)", flush=True)
    if options.json:
        print(
            json.dumps({"habits": {side: asdict(two[0]) for side, two in sides.items()}, "results": results}, indent=1)
        )


if __name__ == "__main__":
    main()
