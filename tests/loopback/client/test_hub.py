"""Nothing that a client is sent, or is asked for, holds up the event loop: no turn of it takes over 50 ms of CPU time.

`scripts/stress_hub.py` measures each kind of flood on its own, with fifty peers and two million pieces.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gevent
import pytest

from geventbt import Torrent, bencoding, limits
from tests.loopback.floods import KINDS
from tests.loopback.harness import HubWatch
from tests.loopback.world import World, eventually

PIECES = 200_000
PEERS = 38
MOST = 0.05
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def torrent() -> Torrent:
    """A torrent of very many very small pieces."""
    info = {b"name": b"big", b"length": PIECES * 64, b"piece length": 64, b"pieces": os.urandom(20) * PIECES}
    return Torrent.from_info(bencoding.encode(info))


@pytest.fixture
def watch() -> Iterator[HubWatch]:
    """Fails the test if the event loop stands still."""
    watch = HubWatch()
    yield watch
    watch.stop()
    assert watch.longest < MOST


def test_two_peers_of_each_kind_of_flood(world: World, torrent: Torrent) -> None:
    command = [sys.executable, "-m", "tests.loopback.floods", torrent.swarm_hash.hex(), str(PIECES), *KINDS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        client = world.client(port=None, encryption="disable", dht=False, lsd=False)
        job = client.add(torrent, world.folder / "out")
        eventually(lambda: job.state == "downloading")
        watch = HubWatch()
        job.add_peers([(f"127.0.1.{number + 1}", port) for number in range(PEERS)])
        most = 0
        for _ in range(10):
            most = max(most, len(job.peers))
            # What a user looks at meanwhile.
            assert job.progress.pieces == len(job.pieces) == PIECES
            assert len(job.files) == 1
            gevent.sleep(0.1)
        watch.stop()
        process.kill()
    assert most
    assert watch.longest < MOST


ADDRESSES = b"".join(bytes([127, *number.to_bytes(3, "big"), 0, 1]) for number in range(limits.MIB // 6 - 100))
ANSWERS: dict[str, Callable[[], bytes]] = {
    "all that fits": lambda: bencoding.encode({b"interval": 1800, b"peers": ADDRESSES}),
    "of IPv6": lambda: bencoding.encode({b"interval": 1800, b"peers6": os.urandom(18 * 58_000)}),
    "lists": lambda: b"d8:intervali1800e5:peersl" + b"d2:ip9:127.0.0.14:porti6881ee" * 30_000 + b"ee",
    "nested": lambda: b"d8:intervali1800e1:x" + b"l" * 500_000 + b"e" * 500_000 + b"e",
    "numbers": lambda: b"d8:intervali" + b"9" * 1_000_000 + b"ee",
}


@contextmanager
def tracker(answer: bytes) -> Iterator[str]:
    """The URL of a tracker in a native thread, with an answer that is small on its way."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            packed = gzip.compress(answer, 1)
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(packed)))
            self.end_headers()
            self.wfile.write(packed)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/announce"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_of_a_tracker_as_large_as_it_may_be(
    world: World, watch: HubWatch, monkeypatch: pytest.MonkeyPatch, answer: Callable[[], bytes]
) -> None:
    # Not one of the addresses is connected to.
    monkeypatch.setattr(limits, "HALF_OPEN", 0)
    with tracker(answer()) as url:
        job = world.download(world.torrent(), [], trackers=[url])
        eventually(lambda: url in job.trackers and job.trackers[url].last_announce is not None)
