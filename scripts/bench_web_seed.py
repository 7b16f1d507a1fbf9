"""Benchmark of downloads from web seeds, beside libtorrent. Needs nginx, and for the comparison libtorrent.

    python scripts/bench_web_seed.py [--mib 1024] [--folder /dev/shm] [--rounds 3]

Three tables: a file from nginx alone, verified on disk, by us and by libtorrent at its best (`high_performance_seed`,
ticks of 100 ms, alerts instead of polling), in turns; three peers of 10 MB/s with a web seed of 50 MB/s; and a web
seed with one wrong byte in 10 MiB.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter, sleep

import geventbt
from geventbt.errors import NoPeersError

MB = 1_000_000
CONFIG = """
daemon off; master_process off; pid {state}/pid; error_log {state}/error.log;
events {{}}
http {{
  access_log {state}/access.log; sendfile on; keepalive_requests 100000;
  client_body_temp_path {state}/t1; proxy_temp_path {state}/t2; fastcgi_temp_path {state}/t3;
  uwsgi_temp_path {state}/t4; scgi_temp_path {state}/t5;
  server {{ listen 127.0.0.1:{port}; root {folder}; {directives} }}
}}
"""
PEER = """
import sys, geventbt
client = geventbt.Client(host="127.0.0.1", dht=False, limit_up=int(sys.argv[3]))
client.add(sys.argv[1], sys.argv[2], seed_only=True).wait()
print(client.port, flush=True)
client.serve_forever()
"""
LIBTORRENT = """
import sys, time, libtorrent as lt
settings = lt.high_performance_seed()
settings.update({"listen_interfaces": "127.0.0.1:0", "enable_dht": False, "enable_lsd": False, "enable_upnp": False,
                 "enable_natpmp": False, "tick_interval": 100, "ssrf_mitigation": False,
                 "alert_mask": lt.alert.category_t.status_notification})
parameters = lt.add_torrent_params()
parameters.ti = lt.torrent_info(sys.argv[1])
parameters.save_path = sys.argv[2]
session = lt.session(settings)
began = time.perf_counter()
session.add_torrent(parameters)
while not any(isinstance(alert, lt.torrent_finished_alert) for alert in session.pop_alerts()):
    session.wait_for_alert(1000)
print(time.perf_counter() - began, flush=True)
"""


@contextmanager
def nginx(folder: Path, state: Path, directives: str = "") -> Iterator[tuple[str, Path]]:
    """Run nginx. Yields its URL, and its log."""
    state.mkdir()
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    config = state / "nginx.conf"
    config.write_text(CONFIG.format(state=state, port=port, folder=folder, directives=directives))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    process = subprocess.Popen([program, "-p", str(state), "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            sleep(0.02)
        yield f"http://127.0.0.1:{port}/", state / "access.log"
    finally:
        process.terminate()
        process.wait()


def make(folder: Path, mib: int) -> tuple[Path, geventbt.Torrent]:
    """A file of random bytes, and its torrent."""
    path = folder / "www" / "data.bin"
    path.parent.mkdir()
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1 << 20))
    return path, geventbt.create_torrent(path)


def download(torrent: geventbt.Torrent, folder: Path, **options: object) -> tuple[float, geventbt.ActiveTorrent]:
    """Download with a new client. Returns the seconds, and the torrent as it was at the end."""
    with geventbt.Client(None, dht=False) as client:
        began = perf_counter()
        active = client.add(torrent, folder, fail_without_peers=True, **options)  # type: ignore[arg-type]
        with suppress(NoPeersError):
            active.wait()
        return perf_counter() - began, active


def by_libtorrent(torrent_file: Path, folder: Path) -> float | None:
    """The seconds of libtorrent, in a process of its own; None if it is not installed."""
    folder.mkdir()
    command = [sys.executable, "-c", LIBTORRENT, str(torrent_file), str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(ended.stdout) if ended.returncode == 0 else None


def alone(folder: Path, torrent: geventbt.Torrent, rounds: int) -> None:
    """A file from nginx alone."""
    size = torrent.geometry.length
    with nginx(folder / "www", folder / "nginx1") as (url, log):
        torrent_file = folder / "data.torrent"
        torrent_file.write_bytes(geventbt.create_torrent(folder / "www" / "data.bin", web_seeds=[url]).to_bytes())
        print(f"{'from nginx alone':28}{'seconds':>9}{'MB/s':>8}{'requests':>10}")
        for _ in range(rounds):
            log.write_text("")
            seconds, _ = download(torrent, folder / "ours", web_seeds=[url])
            requests = len(log.read_text().splitlines())
            print(f"{'geventbt':28}{seconds:9.2f}{size / MB / seconds:8.0f}{requests:10}")
            shutil.rmtree(folder / "ours")
            theirs = by_libtorrent(torrent_file, folder / "theirs")
            shutil.rmtree(folder / "theirs")
            if theirs is not None:
                print(f"{'libtorrent':28}{theirs:9.2f}{size / MB / theirs:8.0f}")


def with_peers(folder: Path, torrent: geventbt.Torrent) -> None:
    """Three peers of 10 MB/s with a web seed of 50 MB/s."""
    torrent_file = folder / "plain.torrent"
    torrent_file.write_bytes(torrent.to_bytes())
    command = [sys.executable, "-c", PEER, str(torrent_file), str(folder / "www"), str(10 * MB)]
    peers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        addresses = [("127.0.0.1", int(peer.stdout.readline())) for peer in peers if peer.stdout]
        with nginx(folder / "www", folder / "nginx2", "limit_rate 50000000;") as (url, _):
            # One connection: the limit is one for each.
            geventbt.limits.WEB_SEED_CONNECTIONS = 1
            geventbt.limits.WEB_SEED_DELAY = 0.0
            seconds, active = download(torrent, folder / "mixed", peers=addresses, web_seeds=[url])
    finally:
        for peer in peers:
            peer.kill()
            peer.wait()
    speed = torrent.geometry.length / MB / seconds
    wasted = active.progress.wasted / MB
    print(f"3 peers of 10 MB/s and a web seed of 50 MB/s: {speed:.1f} MB/s, {wasted:.1f} MB wasted")


def corrupted(folder: Path, torrent: geventbt.Torrent) -> None:
    """A web seed with one wrong byte in 10 MiB."""
    bad = folder / "bad"
    bad.mkdir()
    shutil.copy(folder / "www" / "data.bin", bad / "data.bin")
    with (bad / "data.bin").open("r+b") as file:
        for start in range(5 << 20, torrent.geometry.length, 10 << 20):
            file.seek(start)
            byte = file.read(1)
            file.seek(start)
            file.write(bytes([byte[0] ^ 1]))
    with nginx(bad, folder / "nginx3", "limit_rate 200m;") as (url, _):
        _, active = download(torrent, folder / "partly", web_seeds=[url])
    (seed,) = active.web_seeds
    print(f"a wrong byte in 10 MiB: {seed.state} after {seed.wrong_pieces} wrong pieces: {seed.error}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure downloads from web seeds.")
    parser.add_argument("--mib", type=int, default=1024, help="size of the file (default: 1024)")
    parser.add_argument("--folder", default="/dev/shm", help="where to put the files (default: /dev/shm)")
    parser.add_argument("--rounds", type=int, default=3, help="downloads by each program (default: 3)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        _, torrent = make(folder, arguments.mib)
        # All that is loaded lazily is there before the first measurement.
        geventbt.Client(None, dht=False).close()
        alone(folder, torrent, arguments.rounds)
        with_peers(folder, torrent)
        corrupted(folder, torrent)


if __name__ == "__main__":
    main()
