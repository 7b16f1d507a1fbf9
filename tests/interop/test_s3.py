"""Downloads to, and seeding from, a bucket of a real server of S3."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

import geventbt
from geventbt import FsspecBackend, limits
from geventbt.cli.errors import DONE, NOT_FOUND
from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.storage import Storage
from tests.cli_harness import run_here
from tests.free_port import free_port
from tests.interop.conftest import wait_until
from tests.interop.s3_server import S3Server

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

SIZES = {"large.bin": 9 * limits.MIB + 1, "sub/small +é?*.bin": 70_001, "empty": 0}
"""Of more than one part, and of less."""
ALONE: dict[str, Any] = {"dht": False, "lsd": False}


@pytest.fixture
def server(bucket_server: S3Server) -> S3Server:
    return bucket_server


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("origin") / "data"
    for name, size in SIZES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(random.Random(name).randbytes(size))
    return folder


@pytest.fixture(scope="module")
def torrent(origin: Path) -> Torrent:
    return geventbt.create_torrent(origin, piece_length=256 * limits.KIB)


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    """A place of its own for each test."""
    return f"s3://bucket/{request.node.name}"


@pytest.fixture
def seed(torrent: Torrent, origin: Path) -> Iterator[tuple[str, int]]:
    """The address of a seed from the disk."""
    with geventbt.seed(torrent, origin, ("127.0.0.1", 0), **ALONE) as client:
        yield "127.0.0.1", client.port


def contents(server: S3Server, url: str) -> dict[str, bytes]:
    """All objects below a place, by their paths, without our own."""
    fs, root = fsspec.core.url_to_fs(url, **server.options, use_listings_cache=False)
    found = {path[len(root) + 1 :]: fs.cat_file(path) for path in fs.find(root)}
    return {path: data for path, data in found.items() if not path.startswith(".geventbt/")}


def expected(origin: Path) -> dict[str, bytes]:
    return {f"data/{name}": (origin / name).read_bytes() for name in SIZES}


def test_from_libtorrent_to_a_bucket_and_from_there_to_another_client(
    server: S3Server, torrent: Torrent, origin: Path, tmp_path: Path, url: str
):
    lt = pytest.importorskip("libtorrent", reason="libtorrent is not installed")
    session = lt.session({"listen_interfaces": "127.0.0.1:0", "enable_dht": False, "enable_lsd": False})
    parameters = lt.add_torrent_params()
    parameters.ti = lt.torrent_info(lt.bdecode(torrent.to_bytes()))
    parameters.save_path = str(origin.parent)
    handle = session.add_torrent(parameters)
    # It closes connections while it checks its files.
    wait_until(lambda: handle.status().is_seeding and session.listen_port())
    backend = FsspecBackend(url, **server.options)
    address = ("127.0.0.1", session.listen_port())
    geventbt.download(torrent, peers=[address], storage=backend, timeout=90, **ALONE)
    assert contents(server, url) == expected(origin)
    with geventbt.seed(torrent, storage=backend, address=("127.0.0.1", 0), **ALONE) as second:
        # By its record: nothing is hashed, which would read all of it.
        geventbt.download(torrent, tmp_path, peers=[("127.0.0.1", second.port)], timeout=90, **ALONE)
    for name in SIZES:
        assert (tmp_path / "data" / name).read_bytes() == (origin / name).read_bytes()


def test_a_client_that_is_closed_goes_on_from_its_parts(
    server: S3Server, torrent: Torrent, origin: Path, url: str, seed: tuple[str, int]
):
    backend = FsspecBackend(url, **server.options)
    with geventbt.Client(None, **ALONE) as client:
        active = client.add(torrent, peers=[seed], storage=backend, limit_down=4 * limits.MIB)
        while active.progress.done < 3 * limits.MIB:
            assert not active.wait(0.02)
    with geventbt.Client(None, **ALONE) as client:
        active = client.add(torrent, peers=[seed], storage=backend)
        assert active.wait(90)
        assert active.progress.downloaded < torrent.geometry.length - 2 * limits.MIB
    assert contents(server, url) == expected(origin)


def test_two_clients_download_to_one_place_at_a_time(
    server: S3Server, torrent: Torrent, origin: Path, url: str, seed: tuple[str, int]
):
    backend = FsspecBackend(url, **server.options)
    with geventbt.Client(None, **ALONE) as first, geventbt.Client(None, **ALONE) as second:
        jobs = [
            client.add(torrent, peers=[seed], storage=backend, limit_down=rate * limits.MIB)
            for client, rate in ((first, 8), (second, 6))
        ]
        for job in jobs:
            assert job.wait(60), job.error
            assert job.pieces.all()
    assert contents(server, url) == expected(origin)


def test_small_parts_are_made_large_enough_for_the_store_to_join(
    server: S3Server, torrent: Torrent, origin: Path, url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "STORE_BUFFER", 2 * limits.MIB)
    stream = b"".join(origin.parent.joinpath(*file.path).read_bytes() for file in torrent.files)
    length = torrent.geometry.piece_length
    pieces = list(range(torrent.geometry.pieces))
    random.Random(1).shuffle(pieces)
    with Storage(torrent, ".", backend=FsspecBackend(url, **server.options)(torrent)) as storage:
        storage.check(pieces=storage.restore())
        storage.prepare()
        for piece in pieces:
            assert storage.write_piece(piece, stream[piece * length :][:length])
        storage.finish()
        storage.checkpoint()
    assert contents(server, url) == expected(origin)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_process_that_is_killed_loses_nothing_and_leaves_nothing_behind(server: S3Server):
    command = [sys.executable, "scripts/kill_bucket.py", "--kills", "2", "--port", str(server.port)]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.startswith("2 kills, ")


def test_no_thread_is_left(server: S3Server, torrent: Torrent, url: str, seed: tuple[str, int]):
    before = {thread.name for thread in threading.enumerate()}
    geventbt.download(torrent, peers=[seed], storage=FsspecBackend(url, **server.options), timeout=90, **ALONE)
    left = {thread.name for thread in threading.enumerate()} - before
    assert not [name for name in left if not name.startswith("Dummy")]


def test_a_bucket_that_is_missing_is_a_disk_error(server: S3Server, torrent: Torrent, seed: tuple[str, int]):
    backend = FsspecBackend("s3://nosuchbucket/x", **server.options)
    with pytest.raises(StorageError, match="no such bucket"):
        geventbt.download(torrent, peers=[seed], storage=backend, timeout=60, **ALONE)


def test_a_server_that_is_gone_is_a_disk_error_with_its_cause(torrent: Torrent, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pytest.importorskip("s3fs").S3FileSystem, "retries", 1)
    options = {"endpoint_url": f"http://127.0.0.1:{free_port()}", "config_kwargs": {"retries": {"max_attempts": 0}}}
    backend = FsspecBackend("s3://bucket/x", key="someone", secret="secret", **options)
    with pytest.raises(StorageError) as caught:
        Storage(torrent, ".", backend=backend(torrent)).restore()
    assert caught.value.__cause__ is not None


def test_the_command_line_downloads_to_a_bucket_and_seeds_from_it(
    server: S3Server,
    torrent: Torrent,
    origin: Path,
    tmp_path: Path,
    url: str,
    seed: tuple[str, int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "data.torrent"
    path.write_bytes(torrent.to_bytes())
    peer = f"{seed[0]}:{seed[1]}"
    assert run_here("download", path, "-o", url, "--peer", peer, "-q", "--port", "0", "--no-dht") == DONE
    assert contents(server, url) == expected(origin)
    assert run_here("seed", path, url, "--host", "127.0.0.1", "--port", "0", "--seed-time", "0", "--no-dht") == DONE
    assert "seeding" in capsys.readouterr().out
    missing = "s3://nosuchbucket/x"
    assert run_here("download", path, "-o", missing, "--peer", peer, "-q", "--port", "0", "--no-dht") == NOT_FOUND
    assert "no such bucket" in capsys.readouterr().err


PATCHED = """
from gevent import monkey
monkey.patch_all()
import sys, time, gevent, geventbt
from gevent._hub_local import get_hub_if_exists
torrent, peer, url, port = sys.argv[1], ("127.0.0.1", int(sys.argv[2])), sys.argv[3], sys.argv[4]
ticks = []
gevent.spawn(lambda: [(ticks.append(time.monotonic()), gevent.sleep(0.01)) for _ in iter(int, 1)])
# A name, which has to be resolved.
backend = geventbt.FsspecBackend(url, endpoint_url=f"http://localhost:{port}", key="someone", secret="secret")
geventbt.download(torrent, peers=[peer], storage=backend, dht=False, lsd=False, timeout=90)
print("done", len(ticks) > 20)
"""


def test_a_patched_program_downloads_to_a_bucket(
    server: S3Server, torrent: Torrent, origin: Path, tmp_path: Path, url: str, seed: tuple[str, int]
):
    path = tmp_path / "data.torrent"
    path.write_bytes(torrent.to_bytes())
    command = [sys.executable, "-c", PATCHED, str(path), str(seed[1]), url, str(server.port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        out, err = gevent.get_hub().threadpool.apply(process.communicate)
    assert out.split() == ["done", "True"], err
    assert contents(server, url) == expected(origin)
