"""A torrent of very many files stalls no peer while it is added, opened, checked and recorded.

`scripts/bench_many_files.py` measures the same with 400,000.
"""

from __future__ import annotations

import geventbt
from geventbt import bencoding
from tests.loopback.harness import HubWatch
from tests.loopback.world import World, eventually

FILES = 20_000
WANTED = 500
"""Files that are made: making all of them takes the disk too long for a test."""


def test_many_files_hold_no_peer_up(world: World) -> None:
    paths = [[b"%d" % (number % 100), b"f%07d" % number] for number in range(FILES)]
    files = [{b"length": 1, b"path": path} for path in paths]
    info = {b"name": b"many", b"piece length": 1 << 20, b"pieces": bytes(20), b"files": files}
    torrent = geventbt.Torrent.from_info(bencoding.encode(info))
    watch = HubWatch()
    for _ in range(2):
        client = world.client(dht=False, lsd=False)
        job = client.add(torrent, world.folder / "out", files=range(WANTED))
        eventually(lambda job=job: job.state == "downloading", 50)
        assert len(job.files) == FILES
        client.close()
    made = [path for path in (world.folder / "out" / "many").rglob("f*") if path.stat().st_size == 1]
    assert len(made) == WANTED
    watch.stop()
    assert watch.longest < 0.05
