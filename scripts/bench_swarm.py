"""Benchmark of whole swarms over an emulated wide area network: ours, libtorrent's, and both mixed half and half.

    python scripts/bench_swarm.py eight uneven --repeat 2 --congestion cubic --json

Each host is a namespace with its own uplink, downlink and delay, and runs one client in a process of its own; all of
them listen before any connects, and each connects to those before it. See `tests/simulated/swarms.py` for the
scenarios: `scripts/simulate_swarm.py` predicts them. Needs root, gcc and libtorrent.

Columns: seconds from the first connection until the first, the median and the last leecher has verified everything;
`ratio` of the last to the bound that no client can beat; `copies` that the seeds uploaded, in payloads; `overhead` of
all bytes that the hosts sent over what the leechers had to receive; `ours` and `others` the mean of each client.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from wan.wan import Host, Wan, congestion_control, congestion_controls, missing_requirement

import geventbt
from tests.simulated.swarms import SCENARIOS, Scenario, mixed

MIB = 1 << 20
ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "scripts" / "bench" / "swarm_client.py"
PORT = 6881
OURS, THEIRS = "geventbt", "libtorrent"
KINDS = ("ours", "libtorrent", "mixed", "our-seed")
"""Swarms of one client; of both, with our seeds; and of our seeds with leechers of the other."""
TIMEOUT = 300.0


class Process:
    """A client on a host, which speaks lines of JSON."""

    def __init__(self, wan: Wan, name: str, client: str, torrent: Path, folder: Path) -> None:
        self.name = name
        self.client = client
        self._child = wan.popen(
            name,
            [sys.executable, str(PROGRAM), client, str(torrent), str(folder), wan.address(name), str(PORT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}"},
        )

    def read(self, key: str) -> Any:
        """Block until the client says something, and return it."""
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.client} on {self.name} ended before it said {key!r}")
        return json.loads(line)[key]

    def write(self, value: Any) -> None:
        """Tell the client something."""
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(value) + "\n")
        self._child.stdin.flush()

    def kill(self) -> None:
        """End it."""
        self._child.kill()
        self._child.communicate()


def clients(scenario: Scenario, kind: str) -> list[str]:
    """The client of each host."""
    if kind in ("ours", "libtorrent"):
        return [OURS if kind == "ours" else THEIRS] * len(scenario.members)
    members = scenario.members if kind == "our-seed" else mixed(scenario).members
    is_other = [not member.is_seed if kind == "our-seed" else member.is_other for member in members]
    return [THEIRS if other else OURS for other in is_other]


def run(
    scenario: Scenario, kind: str, folder: Path, torrent: Path, data: Path, congestion: str | None
) -> dict[str, Any]:
    """Run a swarm once. Returns its columns."""
    names = [f"{'seed' if member.is_seed else 'leech'}{number}" for number, member in enumerate(scenario.members)]
    hosts = [
        Host(name, member.line.up, member.line.down, member.line.delay, loss=member.line.loss)
        for name, member in zip(names, scenario.members, strict=True)
    ]
    kinds = clients(scenario, kind)
    processes: list[Process] = []
    with Wan(*hosts, congestion=congestion) as wan:
        try:
            for name, client, member in zip(names, kinds, scenario.members, strict=True):
                place = folder / name
                place.mkdir()
                if member.is_seed:
                    os.link(data / "payload", place / "payload")
                processes.append(Process(wan, name, client, torrent, place))
            for process in processes:
                process.read("ready")
            started = time.monotonic()
            for number, process in enumerate(processes):
                before = [] if scenario.members[number].is_seed else names[:number]
                process.write([(wan.address(name), PORT) for name in before])
            ends = [process.read("done") - started for process in processes]
            for process in processes:
                process.write(None)
            uploaded = [process.read("uploaded") for process in processes]
        finally:
            for process in processes:
                process.kill()
    return columns(scenario, kinds, ends, uploaded, sum(each.bytes for each in wan.traffic.values()))


def columns(scenario: Scenario, kinds: list[str], ends: list[float], uploaded: list[int], sent: int) -> dict[str, Any]:
    """What is told of a run; see the top."""
    payload = scenario.size * MIB
    is_seed = [member.is_seed for member in scenario.members]
    done = [end for end, seed in zip(ends, is_seed, strict=True) if not seed]
    of = {
        client: [end for end, seed, other in zip(ends, is_seed, kinds, strict=True) if not seed and other == client]
        for client in (OURS, THEIRS)
    }
    return {
        "first": min(done),
        "median": median(done),
        "last": max(done),
        "ratio": max(done) / scenario.bound,
        "copies": sum(count for count, seed in zip(uploaded, is_seed, strict=True) if seed) / payload,
        "overhead": sent / (payload * len(done)) - 1,
        "ours": mean(of[OURS]) if of[OURS] else None,
        "others": mean(of[THEIRS]) if of[THEIRS] else None,
        "each": [round(end, 2) for end in ends],
    }


def print_row(name: str, kind: str, bound: float, row: dict[str, Any]) -> None:
    cells = "  ".join(f"{key} {value:.2f}" for key, value in row.items() if isinstance(value, float))
    print(f"{name:15}{kind:11} bound {bound:.1f}  {cells}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    chosen = ("eight", "uneven", "ten-seeds", "tail")
    parser.add_argument("scenarios", nargs="*", default=chosen, help=f"default: {', '.join(chosen)}")
    parser.add_argument("--kinds", default="ours,libtorrent,mixed", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--congestion", help="control of TCP, such as cubic or bbr (default: the machine's)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    missing = missing_requirement()
    if missing is not None:
        print(f"skipped: {missing}")
        return
    if arguments.congestion not in (None, *congestion_controls()):
        parser.error(f"the kernel has no {arguments.congestion}: it has {', '.join(congestion_controls())}")
    results = []
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    for name in arguments.scenarios:
        scenario = SCENARIOS[name]
        for kind in arguments.kinds.split(",") * arguments.repeat:
            with tempfile.TemporaryDirectory(prefix="bench-", dir=base) as place:
                folder, data = Path(place), Path(place, "data")
                data.mkdir()
                (data / "payload").write_bytes(os.urandom(scenario.size * MIB))
                made = geventbt.create_torrent(data / "payload", piece_length=scenario.piece_length)
                torrent = folder / "payload.torrent"
                torrent.write_bytes(made.to_bytes())
                row = run(scenario, kind, folder, torrent, data, arguments.congestion)
            results.append({"scenario": name, "kind": kind, "bound": scenario.bound, **row})
            if not arguments.json:
                print_row(name, kind, scenario.bound, row)
    if arguments.json:
        print(json.dumps({"tcp": arguments.congestion or congestion_control(), "results": results}, indent=1))


if __name__ == "__main__":
    main()
