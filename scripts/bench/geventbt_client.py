"""geventbt with its defaults, as a program for `scripts/bench_transfer.py`.

    geventbt_client.py download TORRENT FOLDER POLICY TRANSPORT PORT...
    geventbt_client.py seed     TORRENT FOLDER POLICY TRANSPORT

Prints lines of JSON. A download prints the time at which its files are verified and on disk; a seeder prints the port
that it listens on and, after a line of input, the CPU time that it has used since.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import geventbt


def download(torrent: str, folder: str, policy: Any, transport: Any, *ports: str) -> None:
    peers = [("127.0.0.1", int(port)) for port in ports]
    geventbt.download(torrent, folder, peers=peers, encryption=policy, transport=transport, port_mapping=False)
    print(json.dumps({"done": time.monotonic()}), flush=True)


def seed(torrent: str, folder: str, policy: Any, transport: Any) -> None:
    from gevent.fileobject import FileObject

    with geventbt.seed(torrent, folder, ("127.0.0.1", 0), encryption=policy, transport=transport) as client:
        before = time.process_time()
        print(json.dumps({"ports": [client.port]}), flush=True)
        FileObject(sys.stdin, "rb", close=False).readline()
        print(json.dumps({"cpu": time.process_time() - before}), flush=True)


if __name__ == "__main__":
    {"download": download, "seed": seed}[sys.argv[1]](*sys.argv[2:])
