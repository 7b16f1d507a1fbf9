"""The web interface in a program that is monkey-patched: under gunicorn's gevent worker."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from gevent import subprocess

from tests.loopback.harness import eventually
from tests.loopback.web.conftest import Connection
from tests.loopback.world import World, address

APP = """
import geventbt
from geventbt.web import make_app

client = geventbt.Client(port=None, dht=False, lsd=False)
client.add("a.torrent", "out", peers=[{peer!r}])
app = make_app(client, "out")
"""


def ask(port: int, path: str, **headers: str) -> tuple[int, bytes]:
    """Ask a server that may be starting."""
    replies: list[tuple[int, bytes]] = []

    def is_answered() -> bool:
        connection = Connection("127.0.0.1", port)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            replies.append((response.status, response.read()))
        except ConnectionRefusedError:
            return False
        finally:
            connection.close()
        return True

    eventually(is_answered, 30)
    return replies[0]


def test_it_streams_under_gunicorn(world: World, tmp_path: Path) -> None:
    pytest.importorskip("gunicorn", reason="gunicorn is not installed")
    torrent = world.torrent()
    (tmp_path / "a.torrent").write_bytes(torrent.to_bytes())
    (tmp_path / "app.py").write_text(APP.format(peer=address(world.seed(torrent))))
    command = [sys.executable, "-m", "gunicorn", "-k", "gevent", "-b", "127.0.0.1:0", "app:app"]
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(root)}
    )
    with process:
        try:
            line = next(line for line in process.stderr if b"Listening at" in line)
            port = int(line.split()[-2].rpartition(b":")[2])
            path = f"/stream/{torrent.swarm_hash.hex()}/0/a"
            assert ask(port, path, Range="bytes=399990-") == (206, world.data(torrent)[399_990:400_001])
            assert ask(port, path) == (200, world.data(torrent)[:400_001])
            assert ask(port, "/", Host="evil.example")[0] == 421
            process.send_signal(signal.SIGTERM)
            assert b"Traceback" not in process.stderr.read()
            assert process.wait(20) == 0
        finally:
            if process.poll() is None:
                process.kill()
