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


def test_a_partial_seed_says_so_to_those_who_come_and_takes_it_back_when_it_wants_more(world: World, monkeypatch):
    monkeypatch.setattr(limits, "MIN_ANNOUNCE_INTERVAL", 0.1)
    tracker = FakeHttp({"": bencoded(interval=1, peers=b"")})
    torrent = world.torrent()
    client = world.client()
    seed = world.seed(torrent)
    active = world.download(torrent, [address(seed)], client=client, files=["b"], trackers=[tracker.url()])
    assert active.wait(10)
    seed.close()
    told: list[bool] = []
    visitor = geventbt.connect(address(client))
    visitor.use(UploadOnly).on("upload_only", lambda extension, value: told.append(value))
    visitor.handshake(torrent.info_hash, OUR_ID, geometry=torrent.geometry)
    eventually(lambda: visitor.peer_extended_handshake)
    assert visitor.peer_extended_handshake["upload_only"] == 1
    # It serves, and wants nothing of us, although we have what it has not.
    visitor.have_none()
    visitor.have(0)
    visitor.interested()
    visitor.wait_unchoked(timeout=15)
    assert not visitor.peer_interested
    eventually(lambda: any("event=paused" in head for head in tracker.requests))
    active.select(["a", "b"])
    eventually(lambda: told[-1:] == [False] and visitor.peer_interested)
    visitor.close()
    tracker.requests.clear()
    eventually(lambda: tracker.requests)
    assert "event=paused" not in tracker.requests[-1]
    tracker.close()
