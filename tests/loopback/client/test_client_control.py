"""What a service does with a torrent of a client: move and delete its data, change its trackers and limits."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

import geventbt
from geventbt.errors import StorageError
from geventbt.metainfo.renaming import renamed
from geventbt.storage import Place
from tests.loopback.fake_trackers import FakeHttp, bencoded
from tests.loopback.harness import gevent_listener
from tests.loopback.world import World, address, done_soon, eventually


def test_data_is_moved_before_anything_else(world: World) -> None:
    torrent = world.torrent()
    seeds = world.seeds(torrent, 1)
    first = world.download(torrent, seeds)
    assert done_soon(first)
    first.remove()
    other = renamed(torrent, "data/a", "first")
    moved = world.client(port=None).add(
        other, world.folder / "new", move_from=Place(torrent, world.folder / "out"), seed_only=True
    )
    assert done_soon(moved)
    assert (world.folder / "new" / "data" / "first").read_bytes() == (world.origin / "data" / "a").read_bytes()
    assert not (world.folder / "out" / "data").exists()


def test_a_move_that_fails_fails_the_torrent_and_leaves_the_data(world: World) -> None:
    torrent = world.torrent()
    (world.folder / "new" / "data").mkdir(parents=True)
    (world.folder / "new" / "data" / "a").write_text("mine")
    moved = world.client(port=None).add(torrent, world.folder / "new", move_from=Place(torrent, world.origin))
    with pytest.raises(StorageError) as caught:
        moved.wait(10)
    assert caught.value.errno == errno.EEXIST
    assert moved.storage is None
    assert (world.origin / "data" / "a").stat().st_size == 400_001


def test_a_torrent_is_removed_with_its_files(world: World) -> None:
    torrent = world.torrent()
    job = world.download(torrent, world.seeds(torrent, 1))
    assert done_soon(job)
    (world.folder / "out" / "data" / "notes").write_text("mine")
    job.remove(delete=True)
    assert [path.name for path in (world.folder / "out" / "data").iterdir()] == ["notes"]


def test_the_status_of_a_file_says_how_much_of_it_is_there(world: World) -> None:
    torrent = world.torrent()
    job = world.download(torrent, world.seeds(torrent, 1), files=["a"])
    assert done_soon(job)
    a, b, c = job.files
    assert (a.done, b.done) == (400_001, 13)
    # The piece at the border has the first bytes of c.
    assert c.done == 13 * 32768 - 400_001 - 13
    assert sum(file.done for file in job.files) == job.progress.done


@pytest.fixture
def trackers() -> Iterator[tuple[FakeHttp, FakeHttp]]:
    """Two trackers that know no peers."""
    made = FakeHttp({"": bencoded(interval=1800, peers=b"")}), FakeHttp({"": bencoded(interval=1800, peers=b"")})
    yield made
    for tracker in made:
        tracker.close()


def events_of(tracker: FakeHttp) -> list[str]:
    """The events that were announced."""
    return [head.partition("event=")[2].split("&")[0].split(" ")[0] for head in tracker.requests]


def test_trackers_are_changed_while_it_runs(world: World, trackers: tuple[FakeHttp, FakeHttp]) -> None:
    first, second = trackers
    job = world.client().add(world.torrent(), world.origin, trackers=[first.url()])
    eventually(lambda: events_of(first) == ["started"])
    assert job.tracker_tiers == [[first.url()]]
    job.set_trackers([[second.url()]])
    eventually(lambda: events_of(second) == ["started"])
    assert events_of(first) == ["started", "stopped"]
    assert list(job.trackers) == [second.url()]
    assert job.tracker_tiers == [[second.url()]]


def test_trackers_come_and_go_while_it_runs(world: World, trackers: tuple[FakeHttp, FakeHttp]) -> None:
    first, second = trackers
    job = world.client().add(world.torrent(), world.origin)
    job.set_trackers([[first.url()]])
    eventually(lambda: events_of(first) == ["started"])
    job.set_trackers([])
    assert events_of(first) == ["started", "stopped"]
    job.set_trackers([[second.url()]])
    eventually(lambda: events_of(second) == ["started"])
    job.pause()
    job.set_trackers([[first.url()]])
    assert len(first.requests) == 2


def test_connections_are_limited_while_it_runs(world: World) -> None:
    torrent = world.torrent()
    job = world.client(port=None).add(torrent, world.folder / "out", max_peers=1)
    job.max_peers = 2
    assert job.max_peers == 2
    job.add_peers(world.seeds(torrent, 3))
    eventually(lambda: job.progress.peers == 2 or job.done)


def test_the_limit_of_all_connections_can_be_changed(world: World) -> None:
    torrent = world.torrent()
    client = world.seed(torrent)
    client.max_connections = 1
    assert client.max_connections == 1
    first = world.visit(client, torrent)
    with pytest.raises(geventbt.WireClosed):
        world.visit(client, torrent).wait_for_piece(0, timeout=5)
    first.close(0)


def test_availability_counts_the_peers_that_have_a_piece(world: World) -> None:
    torrent = world.torrent()
    client = world.client()
    job = client.add(torrent, world.folder / "out", files=[])
    eventually(lambda: job.availability != [])
    wire = world.visit(client, torrent)
    wire.have(3)
    eventually(lambda: job.availability[3] == 1)
    assert sum(job.availability) == 1
    assert job.source is torrent
    wire.close(0)


def test_inbound_peers_find_a_torrent_by_each_of_its_hashes(world: World) -> None:
    world.torrent()
    hybrid = geventbt.create_torrent(world.origin / "data", version="hybrid")
    client = world.client()
    job = client.add(geventbt.Magnet.from_string(f"magnet:?xt=urn:btih:{hybrid.info_hash.hex()}"), world.folder / "out")
    first, second = hybrid.swarm_hashes
    job.add_peers([address(world.seed(hybrid))])
    assert done_soon(job)
    for info_hash in (first, second):
        with geventbt.connect(address(client), info_hash=info_hash, encryption="require") as wire:
            assert wire.handshake(info_hash, geventbt.new_peer_id()).info_hash == info_hash
    job.remove()
    with pytest.raises(ConnectionError), geventbt.connect(address(client), info_hash=first) as wire:
        wire.handshake(first, geventbt.new_peer_id())


def test_a_client_takes_a_socket_that_listens_already(world: World) -> None:
    torrent = world.torrent()
    listener = gevent_listener()
    port = listener.getsockname()[1]
    client = world.client(port=listener)
    assert client.port == port
    assert client.add(torrent, world.origin, seed_only=True).wait(10)
    assert done_soon(world.download(torrent, [("127.0.0.1", port)]))
