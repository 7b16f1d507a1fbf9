"""Kill a daemon again and again, at moments of no choice, and see that nothing is lost.

    python scripts/kill_daemon.py --kills 100

In each round torrents are added, changed and removed over RPC until the process is killed by SIGKILL. The next one
must have exactly those whose addition was answered, each as it was changed last; a request that the kill has cut off
may have been done or not.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
from http.client import HTTPException
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import geventbt
from tests.cli.daemon_process import Daemon

Known = dict[str, set[str]]
"""By info hash the labels that a torrent may have; with "" among them it may also be gone."""


def main() -> None:
    """Run the rounds. Exits with 1 where anything is lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="how often (default: 100)")
    parser.add_argument("--seed", type=int, default=1, help="of the random choices (default: 1)")
    arguments = parser.parse_args()
    os.environ |= {"GEVENTBT_DHT_ROUTERS": "", "GEVENTBT_LSD_INTERFACES": ""}
    rng, known, lost = random.Random(arguments.seed), Known(), 0
    with tempfile.TemporaryDirectory() as folder:
        for round_ in range(arguments.kills + 1):
            with Daemon(Path(folder), "--no-dht", "--no-lsd") as daemon:
                lost += report(round_, difference(daemon, known))
                if round_ < arguments.kills:
                    change_until_killed(daemon, Path(folder), rng, known, f"{round_}")
    print(f"{arguments.kills} kills, {len(known)} torrents, {lost} rounds with losses")
    sys.exit(bool(lost))


def report(round_: int, errors: list[str]) -> bool:
    """Print what is wrong after a round. Returns whether anything is."""
    for error in errors:
        print(f"after kill {round_}: {error}")
    return bool(errors)


def difference(daemon: Daemon, known: Known) -> list[str]:
    """What the daemon has otherwise than it should; from then on what it has is known."""
    found = {key: "".join(each["labels"]) for key, each in daemon.torrents("labels").items()}
    errors = [f"{key} is there and was never added, or was removed" for key in found.keys() - known.keys()]
    for key, labels in known.items():
        if found.get(key, "") not in labels:
            errors.append(f"{key} has {found.get(key, 'gone')!r}, not one of {sorted(labels)}")
    known.clear()
    known.update({key: {label} for key, label in found.items()})
    return errors


def change_until_killed(daemon: Daemon, folder: Path, rng: random.Random, known: Known, name: str) -> None:
    """Add, change and remove torrents until the daemon is killed, after some hundredths of a second."""
    threading.Timer(rng.uniform(0.005, 0.25), daemon.process.send_signal, [signal.SIGKILL]).start()
    try:
        for number in range(1000):
            change(daemon, folder, rng, known, f"{name}.{number}")
    except (OSError, ValueError, HTTPException):
        pass
    daemon.process.wait(30)


def change(daemon: Daemon, folder: Path, rng: random.Random, known: Known, name: str) -> None:
    """Do one thing. What it may lead to is known before it is asked for, and what it has led to once it is answered."""
    keys = sorted(known)
    kind = rng.random()
    if kind < 0.5 or not keys:
        torrent = make(folder, name)
        key, label = torrent.swarm_hash.hex(), f"l{name}"
        known[key] = {"", label}
        daemon.add(torrent, labels=[label])
        known[key] = {label}
        return
    key = rng.choice(keys)
    arguments: dict[str, Any] = {"ids": [key]}
    if kind < 0.8:
        known[key] |= {f"c{name}"}
        daemon.call("torrent_set", labels=[f"c{name}"], **arguments)
        known[key] = {f"c{name}"}
    else:
        known[key] |= {""}
        daemon.call("torrent_remove", delete_local_data=True, **arguments)
        del known[key]


def make(folder: Path, name: str) -> geventbt.Torrent:
    """A torrent whose data is where the daemon downloads to."""
    path = folder / "data" / f"file-{name}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(os.urandom(20_000))
    return geventbt.create_torrent(path, piece_length=16384)


if __name__ == "__main__":
    main()
