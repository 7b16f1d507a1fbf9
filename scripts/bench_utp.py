"""Benchmark of uTP over an emulated line: its share of a line with losses, and what it leaves to TCP.

    python scripts/bench_utp.py --seconds 20 --clients geventbt,libtorrent --rows loss

One client sends to another of its kind. `loss` rows: 50 Mbit/s, 100 ms there and back, a part of the packets lost each
way. `tcp` rows: 10 Mbit/s and 50 ms, beside a connection of TCP that sends all the time, before a queue of so long.
`scripts/simulate_utp.py` predicts our figures. Needs root and gcc, and libtorrent for its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from wan.wan import Host, Wan, congestion_control, missing_requirement

from tests.wan.programs import Swarm

MBIT = 1e6 / 8
UTP = "--transport", "utp"
WARM_UP = 5.0
"""Seconds that nothing is measured."""
LOSSES = (0.0, 1.0, 2.0, 5.0)
QUEUES = (0.025, 0.1, 0.2, 0.5)

_SINK = """
import socket, sys
received = 0
connection, _ = socket.create_server(("", 7000)).accept()
while data := connection.recv(65536):
    received += len(data)
    print(received, flush=True)
"""
_SOURCE = """
import socket, sys, time
while True:
    try:
        connection = socket.create_connection((sys.argv[1], 7000))
        break
    except ConnectionRefusedError:
        time.sleep(0.05)
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, sys.argv[2].encode())
while True:
    connection.sendall(bytes(65536))
"""


class BulkTcp:
    """A connection of TCP that sends all the time, from one host to another, by an algorithm of the kernel's."""

    def __init__(self, wan: Wan, source: str, sink: str, folder: Path, algorithm: str) -> None:
        self._output = folder / "tcp.out"
        with self._output.open("w") as output:
            self._sink = wan.popen(sink, [sys.executable, "-c", _SINK], stdout=output)
        quiet = subprocess.DEVNULL
        command = [sys.executable, "-c", _SOURCE, wan.address(sink), algorithm]
        self._source = wan.popen(source, command, stderr=quiet)

    @property
    def done(self) -> int:
        """Bytes that have arrived."""
        lines = self._output.read_text().splitlines(keepends=True)
        return int(next((line for line in reversed(lines) if line.endswith("\n")), 0))

    def end(self) -> None:
        """Kill both ends."""
        for process in (self._source, self._sink):
            process.kill()
            process.wait()


def measure(client: str, seconds: float, line: dict[str, Any], beside: str | None = None) -> tuple[float, float]:
    """The bytes a second of uTP and of TCP over a line, beside TCP of this kind."""
    size = int(line["up"] * MBIT * (seconds + 4 * WARM_UP))
    with (
        tempfile.TemporaryDirectory() as name,
        Wan(Host("far", **line), Host("near", **line)) as wan,
    ):
        swarm = Swarm(wan, Path(name), size)
        tcp: BulkTcp | None = None
        try:
            seed, leech = (
                swarm.seed("far", client, "--transport", "utp"),
                swarm.leech("near", client, "--transport", "utp"),
            )
            leech.connect(seed)
            leech.until(lambda: leech.now.get("done"))
            time.sleep(WARM_UP)
            if beside is not None:
                tcp = BulkTcp(wan, "far", "near", Path(name), beside)
                time.sleep(2 * WARM_UP)
            started, before, tcp_before = time.monotonic(), leech.now["done"], tcp.done if tcp else 0
            time.sleep(seconds)
            passed = time.monotonic() - started
            ours, others = leech.now["done"] - before, (tcp.done if tcp else 0) - tcp_before
        finally:
            swarm.end()
            if tcp is not None:
                tcp.end()
    return ours / passed, others / passed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="that each line is measured")
    parser.add_argument("--clients", default="geventbt,libtorrent")
    parser.add_argument("--rows", default="loss,tcp")
    parser.add_argument("--tcp", default=congestion_control(), help="reno, cubic or bbr, where the kernel has it")
    arguments = parser.parse_args()
    reason = missing_requirement()
    if reason is not None:
        sys.exit(reason)
    for client in arguments.clients.split(","):
        for loss in LOSSES if "loss" in arguments.rows.split(",") else ():
            line = {"up": 50.0, "down": 50.0, "delay": 25.0, "loss": loss, "queue": 2000.0}
            rate, _ = measure(client, arguments.seconds, line)
            print(f"{client}: {loss:g} % lost: {rate / (50 * MBIT):.0%} of the line", flush=True)
        for queue in QUEUES if "tcp" in arguments.rows.split(",") else ():
            line = {"up": 10.0, "down": 10.0, "delay": 12.5, "queue": queue * 10 * MBIT / 1024}
            ours, others = measure(client, arguments.seconds, line, arguments.tcp)
            share, used = ours / (ours + others), (ours + others) / (10 * MBIT)
            beside = f"beside {arguments.tcp}, {queue * 1000:.0f} ms of queue"
            print(f"{client}: {beside}: {share:.0%} of what both have, {used:.0%} of the line", flush=True)


if __name__ == "__main__":
    main()
