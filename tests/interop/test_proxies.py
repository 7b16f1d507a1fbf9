"""Through proxies that nobody here wrote: microsocks, danted and tinyproxy of Debian."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import geventbt
from geventbt.discovery.trackers.announce import AnnounceRequest
from geventbt.errors import ProxyError, TrackerError
from tests.free_port import free_port
from tests.loopback.fake_trackers import FakeUdp, udp_answer
from tests.loopback.world import World, address

pytestmark = pytest.mark.interop
REQUEST = AnnounceRequest(bytes(20), bytes(20), 6881)

_DANTED = """
logoutput: {folder}/log
internal: 127.0.0.1 port = {port}
external: lo
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 0/0 to: 0/0 }}
socks pass {{ from: 0/0 to: 0/0 }}
"""
_TINYPROXY = """
Port {port}
Listen 127.0.0.1
Timeout 60
Allow 127.0.0.1
BasicAuth me secret
LogFile "{folder}/log"
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.end()


@contextmanager
def running(folder: Path, program: str, config: str, *arguments: str) -> Iterator[int]:
    """Run a proxy, and yield its port."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if path is None:
        pytest.skip(f"{program} is not installed")
    port = free_port()
    file = folder / "proxy.conf"
    file.write_text(config.format(port=port, folder=folder))
    command = [path, *(text.format(port=port, file=file) for text in arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        ends = time.monotonic() + 10
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert process.poll() is None, f"{program} has ended"
            assert time.monotonic() < ends, f"{program} does not listen"
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def download(world: World, proxy: str, **options: Any) -> None:
    torrent = world.torrent()
    seed = address(world.seed(torrent, **options))
    folder = world.folder / "-".join(["got", *options.values()])
    geventbt.download(torrent, folder, peers=[seed], proxy=proxy, dht=False, timeout=30, **options)


def test_microsocks(world, tmp_path):
    options = ("-i", "127.0.0.1", "-p", "{port}", "-u", "me", "-P", "secret")
    with running(tmp_path, "microsocks", "", *options) as port:
        download(world, f"socks5://me:secret@127.0.0.1:{port}")
        with pytest.raises(ProxyError, match="refuses the login"):
            geventbt.connect(("127.0.0.1", 1), network=geventbt.Network(proxy=f"socks5://me:no@127.0.0.1:{port}"))
        network = geventbt.Network(proxy=f"socks5://me:secret@127.0.0.1:{port}")
        with udp_tracker() as tracker, pytest.raises(TrackerError, match="does not know this command"):
            geventbt.announce(tracker.url, REQUEST, network=network, timeout=5)


def test_tinyproxy(world, tmp_path):
    with running(tmp_path, "tinyproxy", _TINYPROXY, "-d", "-c", "{file}") as port:
        download(world, f"http://me:secret@127.0.0.1:{port}")
        with pytest.raises(ProxyError, match="wants a login"):
            geventbt.connect(("127.0.0.1", 1), network=geventbt.Network(proxy=f"http://127.0.0.1:{port}"))


def test_danted_and_its_datagrams(world, tmp_path):
    if os.geteuid():
        pytest.skip("danted needs root")
    with running(tmp_path, "danted", _DANTED, "-f", "{file}") as port:
        proxy = f"socks5://127.0.0.1:{port}"
        download(world, proxy)
        download(world, proxy, transport="utp")
        with udp_tracker() as tracker:
            answer = geventbt.announce(tracker.url, REQUEST, network=geventbt.Network(proxy=proxy), timeout=10)
            assert answer.seeders == 3


@contextmanager
def udp_tracker() -> Iterator[FakeUdp]:
    tracker = FakeUdp(udp_answer)
    yield tracker
    tracker.close()
