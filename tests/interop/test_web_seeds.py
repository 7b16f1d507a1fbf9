"""The same torrents from nginx by us, libtorrent and aria2; and nginx as real servers behave."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import geventbt
from geventbt import Client, limits
from tests.interop.conftest import assert_same_tree, wait_until
from tests.interop.nginx import Nginx, nginx

pytestmark = pytest.mark.interop

ODD_NAMES = ("with blank", "100%", "a#b", "what?", "ä 文.txt", "a%20b", "sub folder/deep #1")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder that nginx serves: one of files with odd names, and one with a single file."""
    folder = tmp_path / "www"
    generator = random.Random(5)
    sizes = {f"odd #%/{name}": 300_000 + number for number, name in enumerate(ODD_NAMES)}
    for name, size in {**sizes, "lonely/only.bin": 700_001, "single file.bin": 9_000_000}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(generator.randbytes(size))
    return folder


@pytest.fixture
def serve(data: Path, tmp_path: Path) -> Iterator[Callable[[str], Nginx]]:
    """Runs nginx with directives of the test's own."""
    with ExitStack() as stack:
        numbers = iter(range(100))
        yield lambda directives="": stack.enter_context(nginx(data, tmp_path / f"nginx{next(numbers)}", directives))


def make(data: Path, name: str, *urls: str) -> Path:
    """The .torrent file of a file or folder that nginx serves."""
    torrent = geventbt.create_torrent(data / name, piece_length=limits.KIB * 64, web_seeds=urls)
    path = data.parent / "made.torrent"
    path.write_bytes(torrent.to_bytes())
    return path


def fetch(torrent_file: Path, folder: Path, **options):
    """Download without peers; returns the status of the web seeds."""
    with Client(port=None, dht=False) as client:
        active = client.add(torrent_file, folder, fail_without_peers=True, **options)
        assert active.wait(30), active.web_seeds
        return active.web_seeds


@pytest.mark.parametrize("name", ["odd #%", "lonely", "single file.bin"])
def test_libtorrent_aria2_and_we_get_the_same_files(name, data, serve, tmp_path, libtorrent_peer, aria2):
    torrent_file = make(data, name, serve().url())
    fetch(torrent_file, tmp_path / "ours")
    peer = libtorrent_peer(torrent_file, tmp_path / "lt", ssrf_mitigation=False)
    wait_until(lambda: peer.is_seeding, 30)
    quiet = ["--quiet", "--bt-enable-lpd=false", "--enable-dht=false", "--seed-time=0"]
    command = [aria2, *quiet, "-d", str(tmp_path / "aria2"), str(torrent_file)]
    subprocess.run(command, timeout=30, check=True)
    for program in ("ours", "lt", "aria2"):
        there = tmp_path / program / name
        if there.is_dir():
            assert_same_tree(data / name, there, 5)
        else:
            wait_until(lambda there=there: there.read_bytes() == (data / name).read_bytes(), 5)


@pytest.mark.parametrize(
    "directives",
    ["max_ranges 0;", "keepalive_timeout 0;", "limit_rate 6m;", "rewrite ^/go/(.*)$ /$1 redirect;"],
    ids=["no ranges", "no kept connection", "slow", "redirect"],
)
def test_a_download_from_nginx(directives, data, serve, tmp_path):
    server = serve(directives)
    path = "/go/" if "rewrite" in directives else "/"
    (seed,) = fetch(make(data, "single file.bin", server.url(path)), tmp_path / "out")
    assert (tmp_path / "out" / "single file.bin").read_bytes() == (data / "single file.bin").read_bytes()
    assert (seed.error, seed.wrong_pieces) == (None, 0)
    assert len(server.requests) <= 6


def test_what_one_server_does_not_have_comes_from_another(data, serve, tmp_path):
    bad = serve("location /busy/ { return 503; } location /gone/ { return 404; }")
    good = serve()
    torrent_file = make(data, "odd #%", bad.url("/busy/"), bad.url("/gone/"), good.url())
    seeds = fetch(torrent_file, tmp_path / "out")
    assert_same_tree(data / "odd #%", tmp_path / "out" / "odd #%")
    assert [seed.downloaded > 0 for seed in seeds] == [False, False, True]
    assert "503" in str(seeds[0].error)
    assert "404" in str(seeds[1].error)


def test_truncated_files_and_other_versions_are_left_to_another_server(data, serve, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(data, other)
    (other / "odd #%" / "a#b").write_bytes((data / "odd #%" / "a#b").read_bytes()[:1000])
    (other / "odd #%" / "100%").write_bytes(bytes(300_001))
    (other / "odd #%" / "what?").unlink()
    with nginx(other, tmp_path / "nginx-other") as bad:
        seeds = fetch(make(data, "odd #%", bad.url(), serve().url()), tmp_path / "out")
    assert_same_tree(data / "odd #%", tmp_path / "out" / "odd #%")
    assert seeds[0].downloaded


def test_create_and_download_on_the_command_line_without_a_peer(data, serve, tmp_path):
    server = serve()
    torrent_file, run = tmp_path / "x.torrent", [sys.executable, "-m", "geventbt"]
    create = [*run, "create", data / "lonely", "-o", torrent_file, "--web-seed", server.url()]
    assert subprocess.run(create, timeout=30, capture_output=True).returncode == 0
    offline = ["--no-dht", "--no-lsd"]
    download = [*run, "download", torrent_file, "-o", tmp_path / "out", *offline]
    ended = subprocess.run([*download, "--json", "-v"], timeout=30, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert f'"url": "{server.url()}"' in ended.stdout
    assert_same_tree(data / "lonely", tmp_path / "out" / "lonely")
