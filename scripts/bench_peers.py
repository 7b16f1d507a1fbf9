"""Benchmark of ten thousand peers on one server, and of start-up times.

    python scripts/bench_peers.py [--peers 10000] [--json]

Rows (the goal in brackets): resident KiB for an idle peer of a seeding client beside the kernel's [12], seconds to
accept them all with their handshakes [10], handshakes a second, the speed of one download among them against one
without them [0.8], milliseconds of ``geventbt --version`` [150] and ``import geventbt`` [100], the speed of checking a
folder against hashing as many bytes in memory, or in the cache, on all cores [0.9], and by how many milliseconds a
small request is answered later while another peer transfers at full speed.

The peers are sockets of a second process, which needs as many descriptors.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import gevent
from gevent import socket as gevent_socket

import geventbt
from geventbt.protocol.handshake import Extensions, Handshake

MIB = 1 << 20
SIZE = 512
"""MiB of the payload."""


def _resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


# ---------------------------------------------------------------------- what runs in a process of its own


def _hold_peers(port: int, info_hash: bytes, count: int) -> None:
    """Connect `count` peers that shake hands, and then send nothing."""
    sockets = []
    for _ in range(count):
        sock = gevent_socket.create_connection(("127.0.0.1", port))
        handshake = Handshake(info_hash, os.urandom(20), Extensions(fast=True, extended=True))
        sock.sendall(handshake.to_bytes())
        sockets.append(sock)
    sys.stdin.read()


def _download(port: int, torrent: str) -> None:
    """Download once. Returns the seconds that it took."""
    with tempfile.TemporaryDirectory(dir=Path(torrent).parent) as folder, geventbt.Client(None) as client:
        started = time.perf_counter()
        client.add(torrent, folder, peers=[("127.0.0.1", port)]).wait()
        print(time.perf_counter() - started, flush=True)


def _child(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _seconds_of_download(port: int, torrent: Path) -> float:
    process = _child("--download", str(port), str(torrent))
    try:
        assert process.stdout is not None
        # The server of this process must go on meanwhile.
        return float(gevent.get_hub().threadpool.apply(process.stdout.readline))
    finally:
        process.kill()
        process.communicate()


# ---------------------------------------------------------------------- the rows


def peers(folder: Path, count: int) -> dict[str, float]:
    """A seeding client with `count` idle peers."""
    torrent = geventbt.Torrent.from_file(folder / "payload.torrent")
    client = geventbt.seed(torrent, folder, ("127.0.0.1", 0), max_connections=count + 100)
    port = client.port
    assert port is not None
    alone = median(_seconds_of_download(port, folder / "payload.torrent") for _ in range(3))
    before, started = _resident(), time.perf_counter()
    holder = _child("--hold", str(port), torrent.swarm_hash.hex(), str(count))
    active = client.torrents[torrent.swarm_hash]
    while active.progress.peers < count:
        gevent.sleep(0.02)
    seconds = time.perf_counter() - started
    memory = (_resident() - before) / count
    among = median(_seconds_of_download(port, folder / "payload.torrent") for _ in range(3))
    holder.kill()
    holder.communicate()
    client.close(timeout=1)
    return {
        "KiB an idle peer": memory / 1024,
        f"seconds to accept {count}": seconds,
        "handshakes a second": count / seconds,
        "download among them, ratio": alone / among,
    }


def start(folder: Path, count: int) -> dict[str, float]:
    """Start-up times of the interpreter, with and without geventbt."""

    def milliseconds(*arguments: str) -> float:
        times = []
        for _ in range(9):
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            times.append(1000 * (time.perf_counter() - started))
        return median(times)

    bare = milliseconds("-c", "pass")
    return {
        "ms of python alone": bare,
        "ms of geventbt --version": milliseconds("-m", "geventbt", "--version"),
        "ms of import geventbt": milliseconds("-c", "import geventbt") - bare,
        "ms of import geventbt.Client": milliseconds("-c", "import geventbt; geventbt.Client") - bare,
    }


def check(folder: Path, count: int) -> dict[str, float]:
    """Checking a folder, against hashing on all cores: the same bytes in memory, and one MiB again and again, which
    never leaves the processor's cache."""
    torrent = geventbt.Torrent.from_file(folder / "payload.torrent")
    payload = memoryview((folder / "payload").read_bytes())

    def hash_parts(starts: list[int]) -> None:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda start: hashlib.sha1(payload[start : start + MIB]).digest(), starts))

    def check_folder() -> None:
        with geventbt.Storage(torrent, folder) as storage:
            storage.check()

    of_memory, of_cache = [], []
    for _ in range(5):
        seconds = _seconds(check_folder)
        of_memory.append(_seconds(lambda: hash_parts([MIB * part for part in range(SIZE)])) / seconds)
        of_cache.append(_seconds(lambda: hash_parts([0] * SIZE)) / seconds)
    return {
        "checking, ratio to hashing in memory": median(of_memory),
        "checking, ratio to hashing in the cache": median(of_cache),
    }


def fairness(folder: Path, count: int) -> dict[str, float]:
    """The latency of one small request at a time, alone and beside a transfer at full speed."""
    torrent = geventbt.Torrent.from_file(folder / "payload.torrent")
    client = geventbt.seed(torrent, folder, ("127.0.0.1", 0))
    port = client.port
    assert port is not None
    transfers = [_child("--download", str(port), str(folder / "payload.torrent"))]
    latencies: dict[bool, list[float]] = {True: [], False: []}
    with geventbt.connect(("127.0.0.1", port)) as wire:
        wire.handshake(torrent.swarm_hash, geventbt.new_peer_id(), geometry=torrent.geometry)
        wire.interested()
        wire.wait_unchoked(timeout=10)
        while transfers[0].poll() is None:
            started = time.perf_counter()
            wire.request(0, 0, 1024)
            busy = sum(peer.upload_speed for peer in client.torrents[torrent.swarm_hash].peers) > 50e6
            latencies[busy].append(1000 * (time.perf_counter() - started))
            gevent.sleep(0.005)
    client.close(timeout=1)
    for transfer in transfers:
        transfer.communicate()
    return {
        "ms of a small request, alone": median(latencies[False]),
        "ms beside a transfer": median(latencies[True]) if latencies[True] else float("nan"),
        "ms beside a transfer, at the worst": max(latencies[True], default=float("nan")),
    }


def _seconds(function: Callable[[], None]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


ROWS: dict[str, Callable[[Path, int], dict[str, float]]] = {
    "peers": peers,
    "start": start,
    "check": check,
    "fairness": fairness,
}


def main() -> None:
    if sys.argv[1:2] == ["--hold"]:
        _hold_peers(int(sys.argv[2]), bytes.fromhex(sys.argv[3]), int(sys.argv[4]))
        return
    if sys.argv[1:2] == ["--download"]:
        _download(int(sys.argv[2]), sys.argv[3])
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", type=int, default=10_000)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bench-", dir=base) as name:
        folder = Path(name)
        with open(folder / "payload", "wb") as file:
            for _ in range(SIZE):
                file.write(os.urandom(MIB))
        torrent = geventbt.create_torrent(folder / "payload", piece_length=MIB)
        (folder / "payload.torrent").write_bytes(torrent.to_bytes())
        for row in arguments.rows.split(","):
            for text, value in ROWS[row](folder, arguments.peers).items():
                results[text] = value
                if not arguments.json:
                    print(f"{text:40}{value:12.2f}", flush=True)
    if arguments.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
