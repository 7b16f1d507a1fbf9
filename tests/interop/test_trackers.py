"""Announces, scrapes and the announcer against real trackers."""

from __future__ import annotations

from typing import Any

import gevent
import pytest

import geventbt
from geventbt.discovery.trackers.announce import AnnounceRequest, ScrapeResult
from geventbt.discovery.trackers.announcer import Announcer
from geventbt.discovery.trackers.tracker import announce, scrape
from geventbt.errors import TrackerError
from tests.interop.trackers import RunningTracker, npm_tracker, opentracker  # noqa: F401
from tests.loopback.harness import eventually

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

INFO_HASH = b"some torrent's hash!"
OTHER = b"one that nobody has."
SEED, LEECH = b"-GB0100-the seeder..", b"-GB0100-the leecher."


@pytest.fixture(params=["opentracker", "npm_tracker"])
def running(request: Any) -> RunningTracker:
    """Each tracker there is."""
    start = request.getfixturevalue(request.param)
    return start(INFO_HASH, OTHER) if request.param == "opentracker" else start()


def seed(event: str = "started") -> AnnounceRequest:
    return AnnounceRequest(INFO_HASH, SEED, 7001, event=event, key=1)


def leech(event: str = "started") -> AnnounceRequest:
    return AnnounceRequest(
        INFO_HASH, LEECH, 7002, left=0 if event in ("completed", "stopped") else 5, event=event, key=2
    )


def check_a_life(url: str, peer: tuple[str, int] | None = ("127.0.0.1", 7001)) -> None:
    """Two peers come, are counted and given to each other; one completes and leaves."""
    first = announce(url, seed())
    assert (first.seeders, first.leechers) == (1, 0)
    assert 60 <= first.interval <= 7200
    second = announce(url, leech())
    assert (second.seeders, second.leechers) == (1, 1)
    if peer:
        assert peer in second.peers
    counts = scrape(url, [INFO_HASH, OTHER])
    assert (counts[INFO_HASH].seeders, counts[INFO_HASH].leechers) == (1, 1)
    assert counts.get(OTHER, ScrapeResult(0, 0, 0)) == ScrapeResult(0, 0, 0)
    completed = announce(url, leech("completed"))
    assert (completed.seeders, completed.leechers) == (2, 0)
    assert scrape(url, [INFO_HASH])[INFO_HASH].completed >= 1
    announce(url, leech("stopped"))
    assert scrape(url, [INFO_HASH])[INFO_HASH].seeders == 1


def test_a_life_over_http(running):
    check_a_life(running.http)


def test_a_life_over_udp(running):
    check_a_life(running.udp)


def test_a_life_over_http_and_ipv6(npm_tracker):  # noqa: F811
    check_a_life(npm_tracker("::1").http, ("::1", 7001))


def test_a_life_over_udp_and_ipv6(npm_tracker):  # noqa: F811
    # This tracker packs IPv4 peers only, into answers over IPv6 too.
    check_a_life(npm_tracker().udp6, None)


def test_what_one_says_over_http_is_known_over_udp(running):
    announce(running.http, seed())
    assert ("127.0.0.1", 7001) in announce(running.udp, leech()).peers


def test_a_torrent_that_is_not_allowed_is_refused_with_a_reason(opentracker):  # noqa: F811
    with pytest.raises(TrackerError, match="not authorized"):
        announce(opentracker(OTHER).http, seed())


def test_nobody_asks_for_peers_and_gets_none(running):
    for url in (running.http, running.udp):
        announce(url, seed())
        assert announce(url, AnnounceRequest(INFO_HASH, LEECH, 7002, left=5, numwant=0, key=2)).seeders == 1


def test_two_announcers_find_each_other_and_leave(running):
    found: dict[str, set[tuple[str, int]]] = {"seed": set(), "leech": set()}
    seeding = Announcer([[running.http], [running.udp]], seed, lambda peers, url: found["seed"].update(peers))
    leeching = Announcer([[running.udp, running.http]], leech, lambda peers, url: found["leech"].update(peers))
    seeding.start()
    eventually(lambda: all(status.registered for status in seeding.status.values()))
    leeching.start()
    eventually(lambda: ("127.0.0.1", 7001) in found["leech"])
    leeching.completed()
    eventually(lambda: scrape(running.http, [INFO_HASH])[INFO_HASH].completed >= 1)
    stopping = [gevent.spawn(announcer.stop) for announcer in (seeding, leeching)]
    gevent.joinall(stopping, raise_error=True)
    assert scrape(running.http, [INFO_HASH]).get(INFO_HASH, ScrapeResult(0, 0, 0)).seeders == 0


@pytest.mark.parametrize("scheme", ["http", "udp"])
def test_we_hear_of_a_libtorrent_peer(opentracker, torrent_file, payload, libtorrent_peer, scheme):  # noqa: F811
    # One tracker only, for libtorrent takes the connection id of one for that of any other on the same address.
    info_hash = geventbt.Torrent.from_file(torrent_file).info_hash
    url = getattr(opentracker(info_hash), scheme)
    seeder = libtorrent_peer(torrent_file, payload.parent)
    seeder.handle.add_tracker({"url": url, "tier": 0})
    asked = AnnounceRequest(info_hash, LEECH, 7002, left=5)
    eventually(lambda: ("127.0.0.1", seeder.port) in announce(url, asked).peers, seconds=30)
