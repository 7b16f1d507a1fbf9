"""Real clients of others on loopback, and a payload for them."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import geventbt
from tests.interop.s3_server import S3Server, s3_server


@pytest.fixture(scope="session")
def bucket_server() -> Iterator[S3Server]:
    """A server of S3, one for all tests of a process."""
    with s3_server() as running:
        yield running


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    """A folder of files: an empty one, one in a folder of its own, sizes that are no multiple of anything."""
    folder = tmp_path / "origin" / "payload"
    sizes = {
        "a.bin": 1_000_003,
        "empty": 0,
        "sub/folder/b.bin": 3_333_337,
        "sub/c with space.txt": 17,
        "z.bin": 262_144,
    }
    return write_files(folder, sizes, random.Random(2))


def write_files(folder: Path, sizes: dict[str, int], generator: random.Random) -> Path:
    """Files of these sizes, in a folder that is returned."""
    for name, size in sizes.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(generator.randbytes(size))
    return folder


@pytest.fixture
def torrent_file(payload: Path, tmp_path: Path) -> Path:
    path = tmp_path / "payload.torrent"
    path.write_bytes(geventbt.create_torrent(payload, piece_length=65536).to_bytes())
    return path


def assert_same_tree(left: Path, right: Path, seconds: float = 0) -> None:
    """Both folders hold the same files with the same content: now, or within some seconds, for those programs that call
    themselves complete while they still write."""
    deadline = time.monotonic() + seconds
    while (differing := differing_files(left, right)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert differing == []


def differing_files(left: Path, right: Path) -> list[str]:
    """The files below either folder that are not the same in the other."""
    paths = {path.relative_to(folder) for folder in (left, right) for path in folder.rglob("*") if path.is_file()}

    def is_same(path: Path) -> bool:
        pair = left / path, right / path
        return all(side.is_file() for side in pair) and pair[0].read_bytes() == pair[1].read_bytes()

    return sorted(str(path) for path in paths if not is_same(path))


@contextmanager
def our_seeder(torrent_file: Path, data: Path) -> Iterator[int]:
    """`geventbt seed` in a process of its own; gives its port."""
    command = [
        sys.executable,
        "-m",
        "geventbt",
        "seed",
        str(torrent_file),
        str(data),
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "-q",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().rpartition(":")[2])
            # Nothing that a peer did is worth a word on standard error.
            process.terminate()
            assert process.stderr is not None
            assert process.stderr.read() in ("", "interrupted: run the same command to seed again\n")
        finally:
            process.kill()


def wait_until(condition: Callable[[], Any], seconds: float = 30) -> None:
    """Wait for something in another process or thread."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class LibtorrentPeer:
    """A libtorrent session on loopback with one torrent, from a file or a magnet link."""

    def __init__(self, torrent_file: Path | str, folder: Path, **settings: Any) -> None:
        self.lt = pytest.importorskip("libtorrent", reason="libtorrent is not installed")
        self.session = self.lt.session(
            {
                "listen_interfaces": "127.0.0.1:0",
                "enable_dht": False,
                "enable_lsd": False,
                "enable_upnp": False,
                "enable_natpmp": False,
                # It would try uTP first, and wait for its timeout.
                "enable_outgoing_utp": False,
                "allow_multiple_connections_per_ip": True,
                "alert_mask": self.lt.alert.category_t.all_categories,
                **settings,
            }
        )
        # Else its limits do not hold for addresses of a local network.
        everywhere = self.lt.ip_filter()
        everywhere.add_rule("0.0.0.0", "255.255.255.255", 1 << self.lt.session.global_peer_class_id)
        self.session.set_peer_class_filter(everywhere)
        if isinstance(torrent_file, Path):
            parameters = self.lt.add_torrent_params()
            parameters.ti = self.lt.torrent_info(str(torrent_file))
        else:
            parameters = self.lt.parse_magnet_uri(torrent_file)
        parameters.save_path = str(folder)
        self.handle = self.session.add_torrent(parameters)
        wait_until(lambda: self.session.listen_port())

    @property
    def port(self) -> int:
        return int(self.session.listen_port())

    @property
    def is_seeding(self) -> bool:
        return bool(self.handle.status().is_seeding)

    def connect(self, port: int) -> None:
        self.handle.connect_peer(("127.0.0.1", port))

    def close(self) -> None:
        # Its end blocks this whole process, a tracker in it as well, so that it would wait in vain for that one's word.
        self.session.apply_settings({"stop_tracker_timeout": 0})
        self.session.pause()
        del self.handle, self.session


@pytest.fixture
def libtorrent_peer() -> Iterator[Callable[..., LibtorrentPeer]]:
    """Makes libtorrent peers, and closes them."""
    peers: list[LibtorrentPeer] = []

    def make(*args: Any, **kwargs: Any) -> LibtorrentPeer:
        peers.append(LibtorrentPeer(*args, **kwargs))
        return peers[-1]

    yield make
    for peer in peers:
        peer.close()


@pytest.fixture
def aria2() -> str:
    """The path of aria2c."""
    path = shutil.which("aria2c")
    if path is None:
        pytest.skip("aria2 is not installed")
    return path
