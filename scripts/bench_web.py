"""Benchmark of the web interface: seeks of a player, and browsers beside transfers.

    python scripts/bench_web.py [--mib 256] [--browsers 1000] [--streams 20] [--folder /dev/shm]

Three tables: the time from a seek to its first byte, from one seeder of 1 MB/s; a download alone, and with browsers
that show the page but do nothing; and streams of 20 Mbit/s each, of a file that is there, beside a download.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import gevent
from gevent import socket

import geventbt
from geventbt.web import WebServer, make_app, serve

MB = 1_000_000
SEED_RATE, STREAM_RATE = 1 * MB, 2_500_000
"""Bytes a second of the seeder that is sought in, and of each stream."""
SEED = """
import sys, geventbt
client = geventbt.Client(host="127.0.0.1", dht=False, lsd=False, limit_up=int(sys.argv[3]) or None)
client.add(sys.argv[1], sys.argv[2], seed_only=True).wait()
print(client.port, flush=True)
client.serve_forever()
"""
BROWSERS = """
import sys, gevent
from gevent import socket
port, count, path, rate, seconds = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), float(sys.argv[5])
late = [0.0] * count
def browse(number):
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(f"GET {path} HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n".encode())
    began, received = gevent.get_hub().loop.now(), 0
    while chunk := sock.recv(65536):
        received += len(chunk)
        if rate:
            # It plays from half a second on; what is late then would stop the film.
            ahead = received / rate - (gevent.get_hub().loop.now() - began - 0.5)
            late[number] = max(late[number], -ahead)
            if ahead > 1:
                gevent.sleep(ahead - 1)
jobs = [gevent.spawn(browse, number) for number in range(count)]
gevent.sleep(0.5 + count / 1000)
print("ready", flush=True)
gevent.joinall(jobs, timeout=seconds)
print(max(late), flush=True)
"""


class Bench:
    """Torrents of noise, and the processes that seed and browse.

    Args:
        folder: for the data.
        size: of each torrent, in bytes.
        stack: ends all of it.
    """

    def __init__(self, folder: Path, size: int, stack: ExitStack) -> None:
        self.folder = folder
        self._size = size
        self._stack = stack
        self._count = 0

    def torrent(self) -> Path:
        """Make a torrent of one file; its path."""
        self._count += 1
        data = self.folder / "origin" / f"film{self._count}.mp4"
        data.parent.mkdir(exist_ok=True)
        data.write_bytes(random.Random(self._count).randbytes(self._size))
        path = self.folder / f"{data.stem}.torrent"
        path.write_bytes(geventbt.create_torrent(data, piece_length=256 * 1024).to_bytes())
        return path

    def seed(self, torrent: Path, rate: int = 0) -> tuple[str, int]:
        """Seed a torrent in a process of its own; its address."""
        process = self._start(SEED, torrent, self.folder / "origin", rate)
        return "127.0.0.1", int(process.stdout.readline())

    @contextmanager
    def browsers(self, server: WebServer, count: int, path: str, rate: int = 0) -> Iterator[Callable[[], float]]:
        """Browsers in a process of their own; call it for the most seconds that one of them had to wait."""
        process = self._start(BROWSERS, server.server_port, count, path, rate, 20)
        assert process.stdout.readline() == b"ready\n"
        yield lambda: float(process.stdout.readline())
        process.kill()

    def serve(self) -> tuple[geventbt.Client, WebServer]:
        """A client with its web interface."""
        client = self._stack.enter_context(geventbt.Client(None, host="127.0.0.1", dht=False, lsd=False))
        app = make_app(client, self.folder)
        return client, self._stack.enter_context(serve(app, max_connections=5000))

    def _start(self, code: str, *arguments: object) -> Any:
        from gevent import subprocess as gevent_subprocess

        command = [sys.executable, "-c", code, *map(str, arguments)]
        process = gevent_subprocess.Popen(command, stdout=subprocess.PIPE)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process


@contextmanager
def longest_turn() -> Iterator[Callable[[], float]]:
    """Call it for the most seconds that the loop was held up."""
    longest = [0.0]

    def look() -> None:
        while True:
            began = perf_counter()
            gevent.sleep(0.01)
            longest[0] = max(longest[0], perf_counter() - began - 0.01)

    job = gevent.spawn(look)
    yield lambda: longest[0]
    job.kill()


def seek(port: int, path: str, position: int) -> float:
    """Seconds from a request for the rest of a file to its first byte."""
    began = perf_counter()
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nRange: bytes={position}-\r\n\r\n".encode())
    received = b""
    while not received.partition(b"\r\n\r\n")[2]:
        received += sock.recv(65536)
    sock.close()
    return perf_counter() - began


def measure_seeks(bench: Bench, seeks: int = 8) -> None:
    """The first table."""
    torrent = bench.torrent()
    peer = bench.seed(torrent, SEED_RATE)
    client, server = bench.serve()
    active = client.add(torrent, bench.folder / "seeks", peers=[peer])
    path = f"/stream/{active.info_hash.hex()}/0"
    size = active.wait_metadata().geometry.size
    first = seek(server.server_port, path, 0)
    places = random.Random(1)
    times = []
    for _ in range(seeks):
        gevent.sleep(1)
        times.append(seek(server.server_port, path, places.randrange(size // 4, size)))
    print(f"first byte {first:.2f} s; {seeks} seeks: median {statistics.median(times):.2f} s, worst {max(times):.2f} s")
    active.remove()


def download(client: geventbt.Client, torrent: Path, folder: Path, peer: tuple[str, int]) -> tuple[float, float]:
    """MB/s of a download, and the longest turn of the loop."""
    with longest_turn() as turn:
        began = perf_counter()
        active = client.add(torrent, folder, peers=[peer])
        active.wait()
        seconds = perf_counter() - began
        longest = turn()
    assert active.metainfo is not None
    rate = active.metainfo.geometry.size / MB / seconds
    active.remove()
    return rate, longest


def measure_browsers(bench: Bench, count: int) -> None:
    """The second table."""
    torrent = bench.torrent()
    peer = bench.seed(torrent)
    client, server = bench.serve()
    rate, longest = download(client, torrent, bench.folder / "alone", peer)
    print(f"download alone: {rate:.0f} MB/s, longest turn {1000 * longest:.0f} ms")
    with bench.browsers(server, count, "/api/events"):
        rate, longest = download(client, torrent, bench.folder / "beside", peer)
        print(f"beside {server.connections} browsers: {rate:.0f} MB/s, longest turn {1000 * longest:.0f} ms")


def measure_streams(bench: Bench, count: int) -> None:
    """The third table."""
    film, other = bench.torrent(), bench.torrent()
    peer = bench.seed(other)
    client, server = bench.serve()
    active = client.add(film, bench.folder / "origin")
    active.wait()
    with bench.browsers(server, count, f"/stream/{active.info_hash.hex()}/0", STREAM_RATE) as late:
        rate, longest = download(client, other, bench.folder / "streams", peer)
        print(f"download beside {count} streams: {rate:.0f} MB/s, longest turn {1000 * longest:.0f} ms")
        print(f"latest stream: {late():.2f} s behind")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=256, help="size of each torrent")
    parser.add_argument("--browsers", type=int, default=1000, help="browsers that show the page")
    parser.add_argument("--streams", type=int, default=20, help="streams at one time")
    parser.add_argument("--folder", help="where the data is put, best in memory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder, ExitStack() as stack:
        bench = Bench(Path(folder), arguments.mib << 20, stack)
        measure_seeks(bench)
        measure_browsers(bench, arguments.browsers)
        measure_streams(bench, arguments.streams)


if __name__ == "__main__":
    main()
