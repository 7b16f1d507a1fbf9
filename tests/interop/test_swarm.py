"""Whole swarms that only a tracker brings together: libtorrent's peers, ours, and some that mean no good."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from gevent.server import StreamServer

import geventbt
from geventbt import ActiveTorrent, Client, Wire, limits
from geventbt.discovery.trackers.announce import AnnounceRequest, ScrapeResult
from geventbt.discovery.trackers.tracker import announce, scrape
from tests.interop.conftest import LibtorrentPeer, assert_same_tree, write_files
from tests.interop.small_tracker import SmallTracker, running_small_tracker
from tests.interop.trackers import running_npm_tracker, running_opentracker
from tests.loopback.harness import eventually

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]
MIB = 1 << 20
SEEDER_RATE = 10 * MIB

LIBTORRENT_SEEDER = """
import sys, time
from pathlib import Path
from tests.interop.conftest import LibtorrentPeer

torrent_file, folder, url, rate = sys.argv[1:]
peer = LibtorrentPeer(Path(torrent_file), Path(folder))
peer.handle.set_upload_limit(int(rate))
peer.handle.add_tracker({"url": url, "tier": 0})
while not peer.is_seeding:
    time.sleep(0.01)
print("seeding", flush=True)
time.sleep(1000)
"""


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    """20 MiB in files of all sizes, some smaller than a piece and some over many."""
    folder = tmp_path / "origin" / "payload"
    sizes = {"film.bin": 12 * MIB + 17, "b/empty": 0, "b/tiny": 1, "b/c/piece": 262_144, "z.bin": 8 * MIB - 12_345}
    sizes |= {f"many/{number:02}": 1000 * number + 1 for number in range(20)}
    return write_files(folder, sizes, random.Random(7))


@pytest.fixture
def torrent_file(payload: Path, tmp_path: Path) -> Path:
    path = tmp_path / "payload.torrent"
    path.write_bytes(geventbt.create_torrent(payload, piece_length=262_144).to_bytes())
    return path


@pytest.fixture
def torrent(torrent_file: Path) -> geventbt.Torrent:
    return geventbt.Torrent.from_file(torrent_file)


@pytest.fixture
def small_tracker() -> Iterator[SmallTracker]:
    with running_small_tracker() as tracker:
        yield tracker


class Tracker(NamedTuple):
    """A tracker that runs: where it takes announces, and where it tells how many peers it knows."""

    url: str
    scrape_url: str

    def scrape(self, torrent: geventbt.Torrent) -> ScrapeResult:
        """What it says of the swarm; opentracker forgets a torrent without peers."""
        assert torrent.info_hash is not None
        return scrape(self.scrape_url, [torrent.info_hash]).get(torrent.info_hash, ScrapeResult(0, 0, 0))

    def peers(self, torrent: geventbt.Torrent) -> tuple[int, int]:
        """How many seeders and leechers it counts."""
        counted = self.scrape(torrent)
        return counted.seeders, counted.leechers


@pytest.fixture(params=["opentracker http", "opentracker udp", "npm", "small"])
def tracker(request: Any, torrent: geventbt.Torrent) -> Iterator[Tracker]:
    """Each tracker there is."""
    with ExitStack() as stack:
        if request.param == "small":
            url = stack.enter_context(running_small_tracker()).url
            yield Tracker(url, url)
        elif request.param == "npm":
            npm = stack.enter_context(running_npm_tracker())
            # Its scrapes over HTTP write the info hash as if it were text, so that it is not found there.
            yield Tracker(npm.http, npm.udp)
        else:
            # An address that no other test has: libtorrent keeps the connection ids of all UDP trackers of one.
            opentracker = stack.enter_context(running_opentracker(torrent.info_hash, host="127.0.0.2"))
            url = opentracker.udp if request.param.endswith("udp") else opentracker.http
            yield Tracker(url, url)


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Callable[..., ActiveTorrent]]:
    """Adds a torrent to a client of its own, with a folder of its own below tmp_path."""
    with ExitStack() as stack:

        def make(torrent: Any, name: str, **options: Any) -> ActiveTorrent:
            client = stack.enter_context(Client(0, host="127.0.0.1"))
            return client.add(torrent, tmp_path / name, **options)

        yield make


@pytest.fixture
def libtorrent_process(torrent_file: Path, payload: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts a libtorrent seeder that can be killed."""
    pytest.importorskip("libtorrent", reason="libtorrent is not installed")
    processes: list[subprocess.Popen[str]] = []

    def make(url: str) -> subprocess.Popen[str]:
        arguments = [str(torrent_file), str(payload.parent), url, str(SEEDER_RATE)]
        command = [sys.executable, "-c", LIBTORRENT_SEEDER, *arguments]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT))
        stdout = processes[-1].stdout
        assert stdout is not None
        assert stdout.readline() == "seeding\n"
        return processes[-1]

    yield make
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def odd(torrent: geventbt.Torrent) -> Iterator[Callable[..., int]]:
    """Makes peers that tell a tracker that they have everything, and then do as the given function says with each
    connection: a wire that has claimed to have everything."""
    servers: list[geventbt.PeerServer] = []

    def make(url: str, behave: Any, *, torrent: geventbt.Torrent = torrent, use: Any = None) -> int:
        def handler(wire: Wire) -> None:
            if use is not None:
                wire.use(use)
            wire.handshake(torrent.info_hash, geventbt.new_peer_id(), geometry=torrent.geometry)
            wire.have_all()
            behave(wire)

        servers.append(geventbt.listen(("127.0.0.1", 0), handler))
        announce_seed(url, torrent, servers[-1].server_port)
        return int(servers[-1].server_port)

    yield make
    for server in servers:
        server.stop(timeout=1)


def announce_seed(url: str, torrent: geventbt.Torrent, port: int) -> None:
    """Tell a tracker that a seeder listens on a port."""
    assert torrent.info_hash is not None
    announce(url, AnnounceRequest(torrent.info_hash, geventbt.new_peer_id(), port, left=0, event="started"))


def libtorrent_seeders(make: Any, torrent_file: Path, payload: Path, url: str, count: int = 2) -> list[LibtorrentPeer]:
    """Seeders slow enough that those who fetch have more from each other."""
    seeders = [make(torrent_file, payload.parent) for _ in range(count)]
    for seeder in seeders:
        seeder.handle.set_upload_limit(SEEDER_RATE)
        eventually(lambda seeder=seeder: seeder.is_seeding)
        seeder.handle.add_tracker({"url": url, "tier": 0})
    return seeders


DOWNLOAD = """
import sys
from geventbt import limits
from geventbt.cli.main import run

limits.FIRST_SNUB_TIMEOUT = float(sys.argv[1])
sys.exit(run(["download", *sys.argv[2:]]))
"""


def download_process(
    source: Any, folder: Path, *arguments: str, snub_timeout: float = limits.FIRST_SNUB_TIMEOUT
) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", DOWNLOAD, str(snub_timeout), str(source), "-o", str(folder), "-q", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], seconds: float = 60) -> None:
    """Wait for a process of ours with the hub running; fail if it failed."""
    try:
        eventually(lambda: process.poll() is not None, seconds)
    finally:
        process.kill()
        _, errors = process.communicate()
    assert process.returncode == 0, errors
    # Nothing that a peer does is worth a word there.
    assert errors == ""


def choke_for_ever(wire: Wire) -> None:
    list(wire.incoming_requests())


def stay_silent(wire: Wire) -> None:
    wire.unchoke()
    list(wire.incoming_requests())


def serve_junk(wire: Wire) -> None:
    wire.unchoke()
    wire.serve(lambda piece, offset, length: os.urandom(length))


def leave_after_one(wire: Wire) -> None:
    wire.unchoke()
    next(wire.incoming_requests())


def test_a_swarm_that_only_a_tracker_introduces_ends_complete(
    tracker, torrent, torrent_file, payload, tmp_path, libtorrent_peer, ours
):
    seeders = libtorrent_seeders(libtorrent_peer, torrent_file, payload, tracker.url)
    eventually(lambda: tracker.peers(torrent) == (2, 0))
    leecher = libtorrent_peer(torrent_file, tmp_path / "libtorrent")
    leecher.handle.add_tracker({"url": tracker.url, "tier": 0})
    process = download_process(torrent_file, tmp_path / "process", "--tracker", tracker.url)
    jobs = [ours(torrent, f"ours{number}", trackers=[tracker.url]) for number in range(2)]

    for job in jobs:
        assert job.wait(60)
    finish(process)
    eventually(lambda: leecher.is_seeding, seconds=60)
    for name in ("process", "ours0", "ours1"):
        assert_same_tree(payload, tmp_path / name / "payload")
    assert_same_tree(payload, tmp_path / "libtorrent" / "payload", seconds=30)
    assert [job.banned for job in jobs] == [set(), set()]
    served = sum(seeder.handle.status().total_payload_upload for seeder in seeders)
    assert served < 4 * torrent.geometry.length, "those who fetched had nothing from each other"
    eventually(lambda: tracker.scrape(torrent).completed >= 4)
    eventually(lambda: tracker.peers(torrent) == (5, 0))

    for job in jobs:
        job.pause()
    for peer in (*seeders, leecher):
        peer.session.pause()
    eventually(lambda: tracker.peers(torrent) == (0, 0))


def test_a_tracker_is_told_of_the_whole_life_of_a_download(
    small_tracker, torrent, torrent_file, payload, tmp_path, libtorrent_peer
):
    """Also where the process ends as soon as it is complete."""
    libtorrent_seeders(libtorrent_peer, torrent_file, payload, small_tracker.url)
    eventually(lambda: len(small_tracker.announces) == 2)
    finish(download_process(torrent_file, tmp_path / "process", "--tracker", small_tracker.url))
    life = [said for said in small_tracker.announces if said.peer_id.startswith(b"-GB")]
    assert [said.event for said in life] == ["started", "completed", "stopped"]
    length = torrent.geometry.length
    assert [said.left for said in life] == [length, 0, 0]
    assert life[0].downloaded == 0
    assert length <= life[1].downloaded <= life[2].downloaded < 1.2 * length


def test_a_download_completes_although_its_peers_are_killed(
    small_tracker, torrent, payload, tmp_path, ours, libtorrent_process
):
    doomed = [libtorrent_process(small_tracker.url) for _ in range(2)]
    eventually(lambda: len(small_tracker.announces) == 2)
    job = ours(torrent, "ours", trackers=[small_tracker.url])
    for process, part in zip(doomed, (0.2, 0.5), strict=True):
        eventually(lambda part=part: job.progress.fraction > part, seconds=30)
        process.kill()
    assert job.progress.fraction < 1
    libtorrent_process(small_tracker.url)
    # A peer that comes later finds us by the tracker.
    assert job.wait(60)
    assert_same_tree(payload, tmp_path / "ours" / "payload")
    assert job.banned == set()
    assert job.progress.downloaded < 1.2 * torrent.geometry.length


def test_a_swarm_completes_although_half_of_it_means_no_good(
    small_tracker, torrent, torrent_file, payload, tmp_path, libtorrent_peer, ours, odd, monkeypatch
):
    monkeypatch.setattr(limits, "FIRST_SNUB_TIMEOUT", 3.0)
    liars = [odd(small_tracker.url, serve_junk) for _ in range(2)]
    for behave in (choke_for_ever, stay_silent, leave_after_one):
        odd(small_tracker.url, behave)
    # The last one does not even speak the protocol.
    babbler = StreamServer(("127.0.0.1", 0), lambda sock, address: sock.sendall(os.urandom(MIB)))
    babbler.start()
    announce_seed(small_tracker.url, torrent, babbler.server_port)
    seeders = libtorrent_seeders(libtorrent_peer, torrent_file, payload, small_tracker.url)
    eventually(lambda: len(small_tracker.announces) == 8)
    process = download_process(
        torrent_file, tmp_path / "process", "--tracker", small_tracker.url, snub_timeout=limits.FIRST_SNUB_TIMEOUT
    )
    job = ours(torrent, "ours", trackers=[small_tracker.url])
    assert job.wait(60)
    finish(process)
    babbler.stop()
    for name in ("process", "ours"):
        assert_same_tree(payload, tmp_path / name / "payload")
    assert job.banned <= {("127.0.0.1", port) for port in liars}
    assert all(job.served.get(("127.0.0.1", port), 0) == 0 for port in liars)
    assert any(job.served.get(("127.0.0.1", seeder.port)) for seeder in seeders)


def test_a_private_torrent_takes_peers_from_its_tracker_alone(
    small_tracker, payload, tmp_path, libtorrent_peer, ours, odd
):
    private = geventbt.create_torrent(payload, piece_length=262_144, private=True, trackers=[small_tracker.url])
    torrent_file = tmp_path / "private.torrent"
    torrent_file.write_bytes(private.to_bytes())
    told: list[Wire] = []
    visitors: list[Wire] = []
    with geventbt.listen(("127.0.0.1", 0), visitors.append) as trap:

        def tell_of_the_trap(wire: Wire) -> None:
            wire.unchoke()
            told.append(wire)
            wire.ut_pex.update([("127.0.0.1", trap.server_port)])
            list(wire.incoming_requests())

        odd(small_tracker.url, tell_of_the_trap, torrent=private, use=geventbt.UtPex)
        libtorrent_seeders(libtorrent_peer, torrent_file, payload, small_tracker.url)
        eventually(lambda: len(small_tracker.announces) == 3)
        jobs = [ours(private, f"ours{number}") for number in range(2)]
        for job in jobs:
            assert job.wait(60)
        for number in range(2):
            assert_same_tree(payload, tmp_path / f"ours{number}" / "payload")
        wires = [wire for wire in told if wire.peer_id.startswith(b"-GB")]
        assert wires
        for wire in wires:
            eventually(lambda wire=wire: "ut_metadata" in wire.peer_extended_mapping)
            assert "ut_pex" not in wire.peer_extended_mapping
        assert visitors == []


def test_a_magnet_link_with_nothing_but_a_tracker_is_enough(
    small_tracker, torrent, torrent_file, payload, tmp_path, libtorrent_peer, ours
):
    magnet = geventbt.Magnet.from_torrent(torrent)
    assert not magnet.trackers
    assert not magnet.peers
    link = f"{magnet}&tr={quote(small_tracker.url, safe='')}"
    libtorrent_seeders(libtorrent_peer, torrent_file, payload, small_tracker.url)
    eventually(lambda: len(small_tracker.announces) == 2)
    process = download_process(link, tmp_path / "process")
    job = ours(link, "ours")
    leecher = libtorrent_peer(link, tmp_path / "libtorrent")
    assert job.wait(60)
    finish(process)
    eventually(lambda: leecher.is_seeding, seconds=60)
    for name in ("process", "ours"):
        assert_same_tree(payload, tmp_path / name / "payload")
    assert_same_tree(payload, tmp_path / "libtorrent" / "payload", seconds=30)
    job.pause()

    def lives() -> list[str]:
        return [said.event for said in small_tracker.announces if said.peer_id.startswith(b"-GB")]

    eventually(lambda: lives().count("stopped") == 2)
    assert sorted(lives()) == ["completed"] * 2 + ["started"] * 2 + ["stopped"] * 2


def test_who_comes_first_with_a_magnet_link_takes_the_metadata_from_peers_that_come_to_it(
    small_tracker, torrent, torrent_file, payload, tmp_path, libtorrent_peer, ours
):
    link = f"{geventbt.Magnet.from_torrent(torrent)}&tr={quote(small_tracker.url, safe='')}"
    job = ours(link, "ours")
    process = download_process(link, tmp_path / "process")
    eventually(lambda: len(small_tracker.announces) == 2)
    libtorrent_seeders(libtorrent_peer, torrent_file, payload, small_tracker.url)
    assert job.wait(60)
    finish(process)
    for name in ("process", "ours"):
        assert_same_tree(payload, tmp_path / name / "payload")
