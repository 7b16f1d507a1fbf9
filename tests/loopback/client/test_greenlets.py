"""What a program sees of the client's greenlets."""

from __future__ import annotations

from gevent.util import format_run_info

from tests.loopback.world import World, eventually


def test_each_greenlet_says_what_it_does_and_for_whom(world: World) -> None:
    torrent = world.torrent()
    job = world.download(torrent, world.seeds(torrent, 1), limit_down=100_000)
    eventually(lambda: job.peers)
    info = "\n".join(format_run_info(thread_stacks=False, greenlet_stacks=False))
    assert "geventbt torrent 'data'" in info
    assert f"geventbt dialer of {torrent.swarm_hash.hex()}" in info
