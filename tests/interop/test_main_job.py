"""The main job against real clients: they download from us, and we from them."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

import geventbt
from tests.free_port import free_port
from tests.interop.conftest import assert_same_tree, our_seeder, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]


ARIA2_ALONE = ["--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false", "--no-conf=true"]


@contextmanager
def tracker_that_knows(port: int) -> Iterator[str]:
    """An HTTP tracker that tells everybody of one peer (BEP 3, 23): aria2 takes peers from nowhere else."""
    peer = socket.inet_aton("127.0.0.1") + port.to_bytes(2, "big")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(geventbt.bencoding.encode({"interval": 60, "peers": peer}))

        def log_message(self, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/announce"
        finally:
            server.shutdown()
            thread.join()


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def download(torrent_file: Path, folder: Path, ports: list[int], *options: str) -> subprocess.CompletedProcess[str]:
    peers = [argument for port in ports for argument in ("--peer", f"127.0.0.1:{port}")]
    command = [sys.executable, "-m", "geventbt", "download", str(torrent_file), "-o", str(folder), *options, *peers]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def test_libtorrent_downloads_from_our_seeder(payload, torrent_file, tmp_path, libtorrent_peer):
    with our_seeder(torrent_file, payload) as port:
        leecher = libtorrent_peer(torrent_file, tmp_path / "leeched")
        leecher.connect(port)
        wait_until(lambda: leecher.is_seeding)
    assert_same_tree(payload, tmp_path / "leeched" / "payload", seconds=30)


def test_we_download_from_two_libtorrent_seeders(payload, torrent_file, tmp_path, libtorrent_peer):
    # Slow enough that one of them could not do it alone before the other has been asked.
    seeders = [libtorrent_peer(torrent_file, payload.parent, upload_rate_limit=2_000_000) for _ in range(2)]
    for seeder in seeders:
        wait_until(lambda seeder=seeder: seeder.is_seeding)
    result = download(torrent_file, tmp_path / "ours", [seeder.port for seeder in seeders])
    assert result.returncode == 0, result.stderr
    assert "from 2 peers" in result.stdout
    assert_same_tree(payload, tmp_path / "ours" / "payload")


def test_we_resume_from_what_is_on_disk(payload, torrent_file, tmp_path, libtorrent_peer):
    seeder = libtorrent_peer(torrent_file, payload.parent)
    wait_until(lambda: seeder.is_seeding)
    target = tmp_path / "ours" / "payload"
    target.mkdir(parents=True)
    (target / "a.bin").write_bytes((payload / "a.bin").read_bytes())
    (target / "z.bin").write_bytes(b"not what it should be" * 20_000)
    refused = download(torrent_file, tmp_path / "ours", [seeder.port])
    assert refused.returncode == 6
    assert "z.bin: a file that is not the torrent's is there" in refused.stderr
    result = download(torrent_file, tmp_path / "ours", [seeder.port], "--overwrite")
    assert result.returncode == 0, result.stderr
    assert "3.4 MiB from 1 peer " in result.stdout
    assert_same_tree(payload, target)
    again = download(torrent_file, tmp_path / "ours", [])
    assert again.returncode == 0, again.stderr
    assert "0 B from 0 peers" in again.stdout


def test_aria2_downloads_from_our_seeder(payload, torrent_file, tmp_path, aria2):
    with our_seeder(torrent_file, payload) as port, tracker_that_knows(port) as url:
        command = [aria2, *ARIA2_ALONE, f"--dir={tmp_path / 'leeched'}", "--seed-time=0", f"--bt-tracker={url}"]
        result = subprocess.run([*command, str(torrent_file)], capture_output=True, text=True, timeout=100)
        assert result.returncode == 0, result.stdout
    assert_same_tree(payload, tmp_path / "leeched" / "payload")


def test_we_download_from_an_aria2_seeder(payload, torrent_file, tmp_path, aria2):
    port = free_port()
    command = [aria2, *ARIA2_ALONE, f"--dir={payload.parent}", "--check-integrity=true", "--seed-ratio=0"]
    with subprocess.Popen([*command, f"--listen-port={port}", str(torrent_file)], stdout=subprocess.DEVNULL) as seeder:
        try:
            wait_until(lambda: is_listening(port))
            result = download(torrent_file, tmp_path / "ours", [port])
            assert result.returncode == 0, result.stderr
        finally:
            seeder.kill()
    assert_same_tree(payload, tmp_path / "ours" / "payload")
