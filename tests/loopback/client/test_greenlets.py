"""What a program sees of the client's greenlets."""

from __future__ import annotations

from weakref import WeakSet

import gevent
from gevent.util import format_run_info

from tests.loopback.world import World, eventually


def test_each_greenlet_says_what_it_does_and_for_whom(world: World) -> None:
    torrent = world.torrent()
    job = world.download(torrent, world.seeds(torrent, 1), limit_down=100_000)
    eventually(lambda: job.peers)
    info = "\n".join(format_run_info(thread_stacks=False, greenlet_stacks=False))
    assert "geventbt torrent 'data'" in info


def test_a_complete_torrent_without_peers_holds_none(world: World) -> None:
    torrent = world.torrent()
    client = world.client(lsd=True)
    spawned: WeakSet[gevent.Greenlet] = WeakSet()
    gevent.Greenlet.add_spawn_callback(spawned.add)
    try:
        job = client.add(torrent, world.origin, trackers=["http://127.0.0.1:1/announce"])
        assert job.wait(10)
        eventually(lambda: all(greenlet.ready() for greenlet in list(spawned)))
        peer = world.download(torrent, [("127.0.0.1", client.port or 0)])
        assert peer.wait(10)
        peer.remove()
        eventually(lambda: not job.peers)
        eventually(lambda: all(greenlet.ready() for greenlet in list(spawned)))
    finally:
        gevent.Greenlet.remove_spawn_callback(spawned.add)
