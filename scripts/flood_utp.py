"""Flood a client with forged requests for uTP connections: what they cost it, and what it sends to those named in them.

    python scripts/flood_utp.py --count 10000

The requests come from a thousand addresses of this machine; a peer connects before, and another one after them.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import geventbt
from geventbt.protocol.utp import packets as p

ROOT = Path(__file__).resolve().parent.parent
SOURCES = 1000


def start_seed(data: Path) -> tuple[subprocess.Popen[str], int]:
    """`geventbt seed` as a process, and its port."""
    command = [sys.executable, "-m", "geventbt", "seed", str(data), "--host", "127.0.0.1", "--port", "0"]
    options = ["-q", "--no-dht", "--no-lsd", "--no-port-mapping"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    return process, int(process.stdout.readline().rpartition(":")[2])


def cpu(pid: int) -> float:
    """Seconds of CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def most_memory(pid: int) -> int:
    """The most KiB that a process has held."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


def forge(port: int, count: int) -> int:
    """Send requests to a port, and read what is answered. Returns the bytes of the answers."""
    sources = []
    for number in range(SOURCES):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((f"127.1.{number // 250}.{number % 250 + 1}", 0))
        sock.setblocking(False)
        sources.append(sock)
    for number in range(count):
        request = p.pack(p.SYN, number & 0xFFFF, 0, 0, 0, number & 0xFFFF, 0)
        sources[number % SOURCES].sendto(request, ("127.0.0.1", port))
    time.sleep(1)
    answered = 0
    for sock in sources:
        with sock:
            while True:
                try:
                    answered += len(sock.recv(2048))
                except BlockingIOError:
                    break
    return answered


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.write_bytes(bytes(1 << 20))
        process, port = start_seed(data)
        try:
            with geventbt.connect(("127.0.0.1", port), transport="utp"):
                before, memory = cpu(process.pid), most_memory(process.pid)
                answered = forge(port, count)
                with geventbt.connect(("127.0.0.1", port), transport="utp"):
                    took, grown = cpu(process.pid) - before, most_memory(process.pid) - memory
        finally:
            process.terminate()
            process.wait()
    print(
        f"{count} requests: {took:.2f} s of CPU time, {grown / 1024:.1f} MiB more at the most, "
        f"{answered} bytes answered to {count * p.HEADER}; a peer connects before and after"
    )


if __name__ == "__main__":
    main()
