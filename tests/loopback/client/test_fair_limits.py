"""Limits are shared fairly over real connections; `tests/unit/rates` has the figures, in virtual time."""

from __future__ import annotations

from geventbt import limits
from tests.loopback.world import World, eventually

SIZE = 4 * limits.MIB


def test_two_seeds_under_a_limit_give_the_same(world: World):
    torrent = world.torrent("data", film=SIZE)
    job = world.download(torrent, world.seeds(torrent, 2), limit_down=1_500_000)

    def given() -> list[int]:
        return [peer.downloaded for peer in job.peers]

    eventually(lambda: len(given()) == 2 and all(given()))
    before = given()
    eventually(lambda: sum(given()) - sum(before) >= 60 * limits.BLOCK)
    first, second = (now - then for now, then in zip(given(), before, strict=True))
    assert abs(first - second) <= 12 * limits.BLOCK


def test_two_peers_under_a_limit_are_given_the_same(world: World):
    torrent = world.torrent("data", film=SIZE)
    seed = world.client(limit_up=1_500_000)
    seed.add(torrent, world.origin).wait()
    jobs = [
        world.client().add(torrent, world.folder / f"out{number}", peers=[("127.0.0.1", seed.port)])
        for number in range(2)
    ]

    def got() -> list[int]:
        return [job.progress.downloaded for job in jobs]

    eventually(lambda: all(got()))
    before = got()
    eventually(lambda: sum(got()) - sum(before) >= 60 * limits.BLOCK)
    first, second = (now - then for now, then in zip(got(), before, strict=True))
    assert abs(first - second) <= 12 * limits.BLOCK
