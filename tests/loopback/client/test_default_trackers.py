"""Trackers of a client, to which all of its torrents announce that are not private."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote_from_bytes

import pytest

import geventbt
from geventbt import Magnet
from tests.loopback.fake_trackers import FakeHttp, bencoded
from tests.loopback.world import World, eventually, remains


@pytest.fixture
def trackers() -> Iterator[list[FakeHttp]]:
    made = [FakeHttp({"": bencoded(interval=900, peers=b"")}) for _ in range(2)]
    yield made
    for server in made:
        server.close()


def events(tracker: FakeHttp, torrent: geventbt.Torrent) -> list[str]:
    """What has been announced of a torrent."""
    ours = [head for head in tracker.requests if quote_from_bytes(torrent.info_hash, safe="") in head]
    return [head.partition("&event=")[2].partition("&")[0].partition(" ")[0] for head in ours]


def test_torrents_that_are_there_and_that_come_announce_to_them(world: World, trackers: list[FakeHttp]) -> None:
    own, common = trackers
    client = world.client()
    first, second = world.torrent("first"), world.torrent("second")
    active = client.add(first, world.folder / "out", trackers=[own.url()])
    eventually(lambda: events(own, first) == ["started"])
    client.default_trackers = [[common.url()]]
    client.add(second, world.folder / "out")
    eventually(lambda: events(common, first) == events(common, second) == ["started"])
    assert active.tracker_tiers == [[own.url()]]
    client.default_trackers = []
    eventually(lambda: events(common, first) == events(common, second) == ["started", "stopped"])
    assert events(own, second) == []


def private(world: World) -> geventbt.Torrent:
    (world.origin / "secret").mkdir(parents=True)
    (world.origin / "secret" / "data").write_bytes(bytes(100_000))
    return world.made(geventbt.create_torrent(world.origin / "secret", private=True))


def test_a_private_torrent_keeps_away_from_them(world: World, trackers: list[FakeHttp]) -> None:
    own, common = trackers
    client = world.client()
    client.default_trackers = [[common.url()]]
    torrent = private(world)
    client.add(torrent, world.folder / "out", trackers=[own.url()])
    eventually(lambda: events(own, torrent) == ["started"])
    remains(lambda: events(common, torrent) == [])


def test_a_link_that_turns_out_to_be_private_leaves_them(world: World, trackers: list[FakeHttp]) -> None:
    own, common = trackers
    client = world.client()
    client.default_trackers = [[common.url()]]
    torrent = private(world)
    link = Magnet(torrent.info_hash, trackers=(own.url(),))
    active = client.add(link, world.folder / "out")
    eventually(lambda: events(common, torrent) == ["started"])
    active.add_peers(world.seeds(torrent, 1))
    active.wait_metadata(10)
    eventually(lambda: events(common, torrent) == ["started", "stopped"])
    eventually(lambda: events(own, torrent)[-1] == "started" or "completed" in events(own, torrent))
