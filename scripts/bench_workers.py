"""How much more `geventbt seed --workers 2` sends than one process, encrypted, to fifty downloaders.

    python scripts/bench_workers.py [--workers 1,2] [--downloaders 50] [--seconds 5] [--repeat 3]

The downloaders take as little as they can of the cores that the workers need: one process for all, whose connections
are encrypted (RC4) and ask like any peer, and whose blocks the kernel drops as they come (MSG_TRUNC): they are neither
copied, decrypted nor hashed. Rates are therefore what a seeder sends, not what a machine that also downloads would see.
Counting begins a second after all connections are up. Medians, with the range in brackets; `seeder_cpu` is of all
processes of the seeder, and `downloader_cpu` of the downloaders, in cores.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import geventbt
from geventbt.limits import BLOCK, MIB
from geventbt.protocol import mse

SIZE = 64
"""MiB of the payload."""
AHEAD = 64
"""Blocks that each downloader has asked for."""
MESSAGE = BLOCK + 13
"""The bytes of a block on the wire."""
_NOWHERE = bytearray(4 * MIB)
"""Nothing is written to it; its length bounds what is dropped at one time."""
TICK = os.sysconf("SC_CLK_TCK")


class Downloader:
    """A connection that asks for blocks, one after another, and drops them.

    Attributes:
        peer_id: of the worker that has it.
        received: bytes of the stream since it was unchoked.
    """

    def __init__(self, port: int, torrent: geventbt.Torrent) -> None:
        self.received = self._asked = 0
        self._torrent = torrent
        self.sock = socket.create_connection(("127.0.0.1", port))
        info_hash = torrent.swarm_hash
        self._opening = opening = mse.Initiator(info_hash, mse.RC4)
        while not opening.done:
            self.sock.sendall(opening.take_outgoing())
            opening.receive(self.sock.recv(4096))
            if opening.key_due:
                opening.compute_key()
        self._send(b"\x13BitTorrent protocol" + bytes(8) + info_hash + geventbt.new_peer_id())
        self._send(struct.pack(">IB", 1, 2))
        stream = opening.payload
        while len(stream) < 68 or struct.pack(">IB", 1, 1) not in stream[68:]:
            assert opening.decryptor is not None
            stream += opening.decryptor.crypt(self.sock.recv(4096))
        self.peer_id = stream[48:68]

    def _send(self, data: bytes) -> None:
        assert self._opening.encryptor is not None
        self.sock.sendall(self._opening.encryptor.crypt(data))

    def take(self) -> None:
        """Drop what has come, and ask for more."""
        self.received += self.sock.recv_into(_NOWHERE, 0, socket.MSG_TRUNC)
        wanted = self.received // MESSAGE + AHEAD
        if wanted - self._asked >= AHEAD // 2:
            self.ask(wanted)

    def ask(self, wanted: int = AHEAD) -> None:
        """Ask for this number of blocks in all."""
        geometry = self._torrent.geometry
        per_piece = geometry.piece_length // BLOCK
        requests = []
        for number in range(self._asked, wanted):
            piece, block = divmod(number % (geometry.pieces * per_piece), per_piece)
            requests.append(struct.pack(">IBIII", 13, 6, piece, block * BLOCK, BLOCK))
        self._asked = wanted
        self._send(b"".join(requests))


@contextmanager
def seeding(torrent: Path, folder: Path, workers: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The seeder, and its port."""
    options = [
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--encryption",
        "require",
        "--no-dht",
        "--no-lsd",
        "--json",
        "--no-super-seed",
    ]
    command = [sys.executable, "-m", "geventbt", "seed", str(torrent), str(folder), "--workers", str(workers)]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                said = json.loads(line)
                if said["event"] == "listening":
                    yield process, said["port"]
                    break
        finally:
            process.terminate()
            process.stdout.read()


def cpu_of(*processes: int) -> float:
    """Seconds that processes have used."""
    fields = [Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split() for process in processes]
    return sum(int(field[11]) + int(field[12]) for field in fields) / TICK


def connected(port: int, torrent: geventbt.Torrent, count: int, workers: int) -> list[Downloader]:
    """This number of downloaders, once all workers are there."""
    seen: set[bytes] = set()
    while len(seen) < workers:
        probe = Downloader(port, torrent)
        seen.add(probe.peer_id)
        probe.sock.close()
    return [Downloader(port, torrent) for _ in range(count)]


def measure(torrent: Path, folder: Path, workers: int, count: int, seconds: float) -> dict[str, float]:
    """MB/s, the cores that the seeder and the downloaders used, and the largest share of connections of a worker."""
    metainfo = geventbt.Torrent.from_file(torrent)
    with seeding(torrent, folder, workers) as (process, port):
        downloaders = connected(port, metainfo, count, workers)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        processes = [process.pid, *map(int, children)]
        selector = selectors.DefaultSelector()
        for downloader in downloaders:
            selector.register(downloader.sock, selectors.EVENT_READ, downloader)
            downloader.ask()
        marks = []
        for duration in (1.0, seconds):
            marks.append(
                (time.monotonic(), sum(d.received for d in downloaders), cpu_of(*processes), time.process_time())
            )
            ends = time.monotonic() + duration
            while time.monotonic() < ends:
                for key, _ in selector.select(1):
                    key.data.take()
        end = (time.monotonic(), sum(d.received for d in downloaders), cpu_of(*processes), time.process_time())
        wall, received, seeder, own = (after - before for after, before in zip(end, marks[1], strict=True))
        ids = [downloader.peer_id for downloader in downloaders]
        for downloader in downloaders:
            downloader.sock.close()
    return {
        "rate": received / 1e6 / wall,
        "seeder_cpu": seeder / wall,
        "downloader_cpu": own / wall,
        "share": max(ids.count(each) for each in ids) / count,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--downloaders", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    figures: dict[int, dict[str, list[float]]] = {int(count): {} for count in arguments.workers.split(",")}
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="bench-", dir=base) as name:
        folder = Path(name)
        (folder / "data").write_bytes(os.urandom(SIZE * MIB))
        torrent = folder / "data.torrent"
        torrent.write_bytes(geventbt.create_torrent(folder / "data", piece_length=MIB).to_bytes())
        for _ in range(arguments.repeat):
            for workers, found in figures.items():
                one = measure(torrent, folder, workers, arguments.downloaders, arguments.seconds)
                for key, value in one.items():
                    found.setdefault(key, []).append(value)
    print(f"load {os.getloadavg()[0]:.1f}; rate: MB/s; cpu: cores; share: of the connections, of the fullest worker")
    for workers, found in figures.items():
        cells = [f"{key} {median(many):.3g} [{min(many):.3g} to {max(many):.3g}]" for key, many in found.items()]
        print(f"{workers} workers: " + "  ".join(cells))
    first, *others = [median(found["rate"]) for found in figures.values()]
    for other in others:
        print(f"{other / first:.2f} times as much")


if __name__ == "__main__":
    main()
