"""geventbt as its users have it, as a program for `scripts/bench_transfer.py`.

    geventbt_client.py download TORRENT FOLDER POLICY PORT...
    geventbt_client.py seed     TORRENT FOLDER POLICY

Speaks lines of JSON on standard output. A download says when its files are verified and on disk; a seeder says where
it listens, and, when a line has come in, what the seeding has cost since.
"""

from __future__ import annotations

import json
import sys
import time

import geventbt


def download(torrent: str, folder: str, policy: str, *ports: str) -> None:
    geventbt.download(torrent, folder, peers=[("127.0.0.1", int(port)) for port in ports], encryption=policy)
    print(json.dumps({"done": time.monotonic()}), flush=True)


def seed(torrent: str, folder: str, policy: str) -> None:
    from gevent.fileobject import FileObject

    with geventbt.seed(torrent, folder, ("127.0.0.1", 0), encryption=policy) as client:
        before = time.process_time()
        print(json.dumps({"ports": [client.port]}), flush=True)
        FileObject(sys.stdin, "rb", close=False).readline()
        print(json.dumps({"cpu": time.process_time() - before}), flush=True)


if __name__ == "__main__":
    {"download": download, "seed": seed}[sys.argv[1]](*sys.argv[2:])
