"""The IP filter of a client: who may come, who is left, and what is not asked."""

from __future__ import annotations

import pytest

import geventbt
from geventbt.discovery.trackers.announce import AnnounceRequest
from geventbt.errors import FetchError, TrackerError
from geventbt.net.http.fetch import fetch
from geventbt.net.network import Network
from tests.loopback.fake_trackers import FakeHttp, FakeUdp, ok, udp_answer
from tests.loopback.harness import eventually, remains
from tests.loopback.world import World, address

BLOCKED = ["127.0.0.0/8"]
REQUEST = AnnounceRequest(bytes(20), bytes(20), 6881)


def test_a_blocked_peer_may_not_come(world: World):
    torrent = world.torrent()
    seed = world.seed(torrent, ip_filter=BLOCKED)
    active = world.download(torrent, [address(seed)])
    remains(lambda: not active.peers)
    seed.set_ip_filter(())
    assert world.download(torrent, [address(seed)], folder="other").wait(10)


def test_a_filter_that_takes_its_place_closes_the_connections_that_it_blocks(world: World):
    torrent = world.torrent()
    seed = world.seed(torrent, limit_up=50_000)
    active = world.download(torrent, [address(seed)])
    (served,) = seed.torrents.values()
    eventually(lambda: served.peers)
    seed.set_ip_filter(["10.0.0.0/8"])
    assert served.peers
    seed.set_ip_filter(BLOCKED)
    eventually(lambda: not served.peers)
    active.remove()


def test_a_filter_that_is_not_one_leaves_the_old_one(world: World):
    client = world.client(ip_filter=["10.0.0.1"])
    with pytest.raises(ValueError, match="not a range"):
        client.set_ip_filter(["10.0.0.2", "nonsense"])
    with pytest.raises(OSError, match="No such file"):
        client.set_ip_filter("/nonexistent")


def test_blocked_servers_and_nodes_get_no_packet():
    network = Network(ip_filter=BLOCKED)
    http, udp = FakeHttp({"": ok(b"hello")}), FakeUdp(udp_answer)
    with geventbt.DHT(host="127.0.0.1", routers=()) as far:
        nodes = [("127.0.0.1", far.port)]
        with geventbt.DHT(host="127.0.0.1", routers=(), nodes=nodes, network=network) as near:
            remains(lambda: not near.status().nodes)
        assert far.status().queries == 0
    with pytest.raises(FetchError, match="blocked by the IP filter"):
        fetch(http.url("/"), network=network)
    with pytest.raises(TrackerError, match="blocked by the IP filter"):
        geventbt.announce(udp.url, REQUEST, network=network)
    with pytest.raises(ConnectionRefusedError, match="blocked by the IP filter"):
        geventbt.connect(("127.0.0.1", http.port), network=network)
    assert http.requests == []
    assert udp.packets == []
    http.close()
    udp.close()
