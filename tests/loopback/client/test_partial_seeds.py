"""Clients that have all that they want, and not all that there is (BEP 21)."""

from __future__ import annotations

import geventbt
from geventbt import UploadOnly, limits
from tests.loopback.fake_trackers import FakeHttp, bencoded
from tests.loopback.harness import OUR_ID, eventually
from tests.loopback.world import World, address


def test_peers_are_told_when_nothing_more_is_wanted(world: World):
    torrent = world.torrent()
    client = world.client()
    active = world.download(torrent, [], client=client, files=["a"])
    # Before it has joined its swarm, it takes no peers.
    first = world.seed(torrent, limit_up=16384)
    active.add_peers([address(first)])
    eventually(lambda: active.peers)
    told: list[bool] = []
    watching = geventbt.connect(("127.0.0.1", client.port))
    watching.use(UploadOnly).on("upload_only", lambda extension, value: told.append(value))
    watching.handshake(torrent.info_hash, OUR_ID, geometry=torrent.geometry)
    active.add_peers(world.seeds(torrent, 1))
    eventually(lambda: told == [True])
    watching.close()


def test_trackers_are_told(world: World, monkeypatch):
    monkeypatch.setattr(limits, "MIN_ANNOUNCE_INTERVAL", 0.1)
    tracker = FakeHttp({"": bencoded(interval=1, peers=b"")})
    torrent = world.torrent()
    active = world.download(torrent, world.seeds(torrent, 1), files=["b"], trackers=[tracker.url()])
    assert active.wait(10)
    try:
        eventually(lambda: any("event=paused" in head for head in tracker.requests))
        assert not any("event=completed" in head for head in tracker.requests)
    finally:
        tracker.close()


def test_two_that_want_nothing_leave_each_other(world: World):
    torrent = world.torrent()
    (seed,) = world.seeds(torrent, 1)
    first = world.client()
    assert world.download(torrent, [seed], client=first, files=["b"]).wait(10)
    second = world.download(torrent, [address(first), seed], folder="other", files=["b"])
    assert second.wait(10)
    eventually(lambda: not second.peers)
