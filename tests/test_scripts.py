"""The programs in scripts/, each run as a user would run it, against a real peer on loopback: libtorrent, and ours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gevent import socket as gevent_socket
from gevent import subprocess as gevent_subprocess

import geventbt
from tests.interop.conftest import LibtorrentPeer, assert_same_tree, wait_until
from tests.loopback.fake_trackers import FakeHttp, bencoded

SCRIPTS = Path(__file__).parent.parent / "scripts"
CONTENT = {"one.bin": os.urandom(300_001), "sub/two.bin": os.urandom(70_000)}


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    folder = tmp_path / "origin" / "shared"
    (folder / "sub").mkdir(parents=True)
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def torrent_file(origin: Path, tmp_path: Path) -> Path:
    path = tmp_path / "shared.torrent"
    path.write_bytes(geventbt.create_torrent(origin, piece_length=32768).to_bytes())
    return path


@pytest.fixture(params=["libtorrent", "geventbt"])
def peer(request: Any, torrent_file: Path, origin: Path) -> Iterator[str]:
    """The host:port of a peer that has all of the torrent."""
    if request.param == "geventbt":
        with geventbt.seed(torrent_file, origin, ("127.0.0.1", 0)) as client:
            yield f"127.0.0.1:{client.port}"
        return
    seeder = LibtorrentPeer(torrent_file, origin.parent)
    wait_until(lambda: seeder.is_seeding)
    yield f"127.0.0.1:{seeder.port}"
    seeder.close()


@pytest.fixture
def tracker(peer: str) -> Iterator[str]:
    """The URL of a tracker that knows the peer."""
    compact = bytes([127, 0, 0, 1]) + int(peer.rpartition(":")[2]).to_bytes(2, "big")
    server = FakeHttp({"": bencoded(interval=1800, peers=compact)})
    yield server.url()
    server.close()


def command(script: str, *arguments: object) -> list[str]:
    return [sys.executable, str(SCRIPTS / script), *map(str, arguments)]


def call(script: str, *arguments: object) -> Any:
    """Run a script to its end; a peer in this process goes on meanwhile."""
    return gevent_subprocess.run(command(script, *arguments), capture_output=True, timeout=50)


@contextmanager
def running(script: str, *arguments: object) -> Iterator[Callable[[], str]]:
    """Run a script until Ctrl-C; gives what reads its next line."""
    process = gevent_subprocess.Popen(command(script, *arguments), stdout=subprocess.PIPE)
    try:
        yield lambda: process.stdout.readline().decode()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_download_from_peers_stores_what_the_peers_have(
    peer: str, torrent_file: Path, origin: Path, tmp_path: Path
) -> None:
    done = call("download_from_peers.py", torrent_file, tmp_path / "out", peer, peer)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"370001 bytes are verified")
    assert_same_tree(tmp_path / "out" / "shared", origin)


def test_download_from_peers_says_so_when_nobody_has_anything(torrent_file: Path, tmp_path: Path) -> None:
    done = call("download_from_peers.py", torrent_file, tmp_path / "out", "127.0.0.1:1")
    assert done.returncode == 1
    assert b"no peer sent any of the 12 missing pieces" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("downloader", ["libtorrent", "geventbt"])
def test_seed_folder_seeds_until_ctrl_c(downloader: str, origin: Path, tmp_path: Path) -> None:
    with running("seed_folder.py", origin, "--host", "127.0.0.1", "--port", "0") as read_line:
        torrent_file, magnet = Path(read_line().strip()), read_line().strip()
        port = int(read_line().rpartition(" ")[2])
        assert torrent_file == origin.with_name("shared.torrent")
        if downloader == "geventbt":
            geventbt.download(magnet, tmp_path / "out", peers=[("127.0.0.1", port)])
        else:
            leech = LibtorrentPeer(torrent_file, tmp_path / "out")
            leech.connect(port)
            wait_until(lambda: leech.is_seeding)
            leech.close()
        assert downloader in read_line()
    assert_same_tree(tmp_path / "out" / "shared", origin)


def test_fetch_metadata_writes_the_torrent(peer: str, torrent_file: Path, tmp_path: Path) -> None:
    torrent = geventbt.Torrent.from_file(torrent_file)
    done = call("fetch_metadata.py", geventbt.Magnet.from_torrent(torrent), tmp_path / "got.torrent", "--peer", peer)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(b"got.torrent: 2 files, 370001 bytes\n")
    assert geventbt.Torrent.from_file(tmp_path / "got.torrent").info_bytes == torrent.info_bytes


def test_fetch_metadata_asks_the_trackers_of_the_link(tracker: str, torrent_file: Path, tmp_path: Path) -> None:
    magnet = f"{geventbt.Magnet.from_torrent(geventbt.Torrent.from_file(torrent_file))}&tr={tracker}"
    done = call("fetch_metadata.py", magnet, tmp_path / "got.torrent")
    assert done.returncode == 0, done.stderr
    assert geventbt.Torrent.from_file(tmp_path / "got.torrent").trackers == ((tracker,),)


def test_fetch_metadata_says_what_is_wrong_in_a_line(tmp_path: Path) -> None:
    done = call("fetch_metadata.py", "magnet:?xt=urn:btih:" + "ab" * 20, tmp_path / "got.torrent")
    assert (done.returncode, done.stderr) == (1, b"no peers to ask for metadata\n")


def test_watch_swarm_tells_what_a_peer_has(peer: str, torrent_file: Path) -> None:
    with running("watch_swarm.py", torrent_file, "--peer", peer) as read_line:
        assert read_line().startswith(f"{peer} is ")
        while "has 12/12 pieces" not in (line := read_line()):
            assert line.startswith(peer)


def test_watch_swarm_asks_the_trackers_of_the_torrent(tracker: str, peer: str, torrent_file: Path) -> None:
    torrent = geventbt.Torrent.from_file(torrent_file)
    torrent_file.write_bytes(replace(torrent, trackers=((tracker,),)).to_bytes())
    with running("watch_swarm.py", torrent_file) as read_line:
        assert read_line().startswith(f"{peer} is ")


def test_watch_swarm_ends_when_its_time_is_over(peer: str, torrent_file: Path) -> None:
    done = call("watch_swarm.py", torrent_file, "--peer", peer, "--seconds", 0.5)
    assert (done.returncode, done.stderr) == (0, b"")


def test_stream_to_stdout_writes_the_file(peer: str, torrent_file: Path) -> None:
    done = call("stream_to_stdout.py", torrent_file, "sub/two.bin", "--peer", peer)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == CONTENT["sub/two.bin"]


def test_stream_to_stdout_takes_a_magnet_link_and_an_index(peer: str, torrent_file: Path) -> None:
    magnet = geventbt.Magnet.from_torrent(geventbt.Torrent.from_file(torrent_file))
    done = call("stream_to_stdout.py", magnet, "0", "--peer", peer)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == CONTENT["one.bin"]


def test_stream_to_stdout_is_quiet_when_its_reader_has_seen_enough(peer: str, torrent_file: Path) -> None:
    process = gevent_subprocess.Popen(
        command("stream_to_stdout.py", torrent_file, "one.bin", "--peer", peer),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.read(10) == CONTENT["one.bin"][:10]
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=20) == 0
    process.stderr.close()


def test_stream_to_stdout_says_that_there_is_no_such_file(peer: str, torrent_file: Path) -> None:
    done = call("stream_to_stdout.py", torrent_file, "nothing.bin", "--peer", peer)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


def test_custom_extension_asks_a_peer_that_speaks_it() -> None:
    with running("custom_extension.py", "--listen", "0") as read_line:
        port = read_line().rpartition(" ")[2].strip()
        done = call("custom_extension.py", "--connect", f"127.0.0.1:{port}")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"the peer's clock is ")


def test_custom_extension_troubles_no_peer_that_does_not(peer: str, torrent_file: Path) -> None:
    info_hash = geventbt.Torrent.from_file(torrent_file).info_hash.hex()
    done = call("custom_extension.py", "--connect", peer, "--info-hash", info_hash, "--timeout", 0.5)
    assert done.returncode == 1
    assert done.stderr == b"the peer sent no time within 0.5 seconds: does it support x_clock?\n"


PROGRAMS = {
    "custom_extension.py": ["--connect", "127.0.0.1:1"],
    "download_from_peers.py": ["nothing.torrent", "out", "127.0.0.1:1"],
    "fetch_metadata.py": ["magnet:?xt=urn:btih:" + "ab" * 20, "got.torrent", "--peer", "127.0.0.1:1"],
    "seed_folder.py": ["nothing"],
    "stream_to_stdout.py": ["nothing.torrent"],
    "watch_swarm.py": ["nothing.torrent"],
}
"""With arguments that lead to nothing."""


@pytest.mark.parametrize("script", PROGRAMS)
def test_a_program_says_in_a_line_what_leads_to_nothing(script: str) -> None:
    done = call(script, *PROGRAMS[script])
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1, done.stderr


@pytest.mark.parametrize("script", PROGRAMS)
def test_a_program_without_arguments_says_how_it_is_used(script: str) -> None:
    done = call(script)
    assert done.returncode == 2
    assert done.stderr.startswith(b"usage: ")


INTERRUPTED = {
    "custom_extension.py": ["--connect", "PEER"],
    "download_from_peers.py": ["TORRENT", "OUT", "PEER"],
    "fetch_metadata.py": ["magnet:?xt=urn:btih:" + "ab" * 20, "OUT", "--peer", "PEER"],
    "stream_to_stdout.py": ["TORRENT", "--peer", "PEER"],
    "watch_swarm.py": ["TORRENT", "--peer", "PEER"],
}
"""With a peer that takes connections and says nothing."""


@pytest.mark.parametrize("script", INTERRUPTED)
def test_a_program_ends_with_a_line_when_it_is_interrupted(script: str, torrent_file: Path, tmp_path: Path) -> None:
    with gevent_socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        known = {
            "PEER": f"127.0.0.1:{listener.getsockname()[1]}",
            "TORRENT": str(torrent_file),
            "OUT": str(tmp_path / "out"),
        }
        arguments = [known.get(argument, argument) for argument in INTERRUPTED[script]]
        process = gevent_subprocess.Popen(command(script, *arguments), stderr=subprocess.PIPE)
        peer, _ = listener.accept()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        peer.close()
    assert (process.returncode, errors) == (1, b"interrupted\n")


def test_seed_folder_ends_well_when_it_is_interrupted(origin: Path) -> None:
    arguments = [origin, "--host", "127.0.0.1", "--port", "0"]
    process = gevent_subprocess.Popen(
        command("seed_folder.py", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while not process.stdout.readline().startswith(b"seeding"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, b"")


def test_bench_transfer_measures_every_side_in_each_row() -> None:
    rows = ["download-hybrid", "seed"]
    done = call("bench_transfer.py", "--size", 1, "--repeat", 1, "--rows", ",".join(rows), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert list(told["rows"]) == rows
    for sides in told["rows"].values():
        assert list(sides) == ["libtorrent, best", "libtorrent, defaults", "geventbt"]
        assert all(figure >= 0 for figures in sides.values() for (figure,) in figures.values())
    assert told["libtorrent"]["best"]["tick_interval"] == 100


def test_every_script_has_an_example_in_its_first_lines() -> None:
    for script in SCRIPTS.glob("*.py"):
        assert f"    python scripts/{script.name}" in script.read_text()[:1000], script


def test_every_script_that_uses_modules_of_the_tests_can_find_them() -> None:
    for script in SCRIPTS.glob("*.py"):
        before, uses, _ = script.read_text().partition("\nfrom tests.")
        assert not uses or "sys.path.insert(0, " in before, f"{script}: its folder alone is on the path"
