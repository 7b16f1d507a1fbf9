"""A client that listens on another port while it runs, and encrypts otherwise than before."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

import geventbt
from geventbt import limits
from geventbt.discovery.trackers import udp
from tests.free_port import free_port
from tests.loopback.fake_trackers import FakeHttp, FakeUdp, bencoded, udp_answer
from tests.loopback.world import World, address, done_soon, eventually

LOCALHOST = "127.0.0.1"


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHttp]:
    """A tracker that may be asked again at once."""
    monkeypatch.setattr(limits, "EARLY_ANNOUNCE", 0.05)
    server = FakeHttp({"": bencoded(interval=900, peers=b"")})
    yield server
    server.close()


def ports_told(tracker: FakeHttp) -> list[int]:
    """The ports in the announces that have come."""
    return [int(head.partition("&port=")[2].partition("&")[0]) for head in tracker.requests]


@pytest.mark.parametrize("transport", ["tcp", "utp"])
def test_peers_connect_to_the_new_port_alone(world: World, transport: geventbt.TransportChoice) -> None:
    torrent = world.torrent()
    seed = world.seed(torrent)
    old = address(seed)
    seed.listen_on(0)
    assert address(seed) != old
    taker = world.client(port=None, transport=transport)
    assert done_soon(world.download(torrent, [address(seed)], client=taker))
    with pytest.raises(ConnectionError):
        geventbt.connect(old, transport=transport, timeout=5)


def test_a_download_goes_on_over_the_connections_that_it_has_opened(world: World) -> None:
    torrent = world.torrent()
    may_serve = gevent.event.Event()

    def behave(wire: Any, read: Callable[[int, int, int], bytes]) -> None:
        wire.unchoke()
        for request in wire.incoming_requests():
            may_serve.wait()
            wire.piece(request.piece, request.offset, read(*request))

    job = world.download(torrent, [world.odd(torrent, behave)], client=(client := world.client(transport="tcp")))
    eventually(lambda: job.peers)
    client.listen_on(0)
    may_serve.set()
    assert done_soon(job)


def test_what_shares_the_port_moves_with_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "connection_ids", udp.ConnectionIds())
    tracker = FakeUdp(udp_answer)
    client = world.client(dht=True)
    assert client.dht is not None
    dht = client.dht
    assert dht.port == client.port
    client.listen_on(0)
    assert client.dht is dht
    assert dht.port == client.port
    with geventbt.DHT(0, LOCALHOST, routers=(), nodes=[(LOCALHOST, dht.port)]) as other:
        eventually(lambda: other.status().nodes)
    client.add(world.torrent(), world.folder / "out", trackers=[tracker.url])
    eventually(lambda: 1 in tracker.actions)
    assert set(tracker.senders) == {(LOCALHOST, client.port)}
    client.close(1)
    tracker.close()


def test_a_dht_on_a_port_of_its_own_stays_there(world: World) -> None:
    with geventbt.DHT(free_port(), LOCALHOST, routers=()) as dht:
        client = world.client(port=free_port(), dht=dht)
        before = dht.port
        client.listen_on(port := free_port())
        assert (client.port, dht.port) == (port, before)
        # Where any port will do, it is the one of the DHT.
        client.listen_on(0)
        assert client.port == dht.port == before


def test_trackers_are_told_the_new_port(world: World, tracker: FakeHttp) -> None:
    client = world.client()
    before = client.port
    client.add(world.torrent(), world.folder / "out", trackers=[tracker.url()])
    eventually(lambda: ports_told(tracker) == [before])
    client.listen_on(0)
    eventually(lambda: ports_told(tracker)[-1] == client.port)


def test_a_port_that_is_taken_changes_nothing(world: World) -> None:
    torrent = world.torrent()
    seed = world.seed(torrent)
    before = address(seed)
    with socket.create_server((LOCALHOST, 0)) as taken, pytest.raises(OSError, match="in use"):
        seed.listen_on(taken.getsockname()[1])
    assert address(seed) == before
    assert done_soon(world.download(torrent, [before]))


def test_a_client_that_does_not_listen_begins_no_more(world: World) -> None:
    with pytest.raises(ValueError, match="does not listen"):
        world.client(port=None).listen_on(free_port())


# ------------------------------------------------------------------ encryption


@pytest.mark.parametrize(
    ("policy", "plaintext", "encrypted"),
    [("require", False, True), ("disable", True, False), ("allow", True, True), ("prefer", True, True)],
)
def test_encryption_changes_for_the_peers_that_come(
    world: World, policy: geventbt.EncryptionPolicy, plaintext: bool, encrypted: bool
) -> None:
    torrent = world.torrent()
    seed = world.seed(torrent, encryption="require" if policy != "require" else "disable")
    seed.encryption = policy
    for way, is_taken in (("disable", plaintext), ("require", encrypted)):
        assert is_taken == shakes_hands(seed, torrent, way)


def shakes_hands(seed: geventbt.Client, torrent: geventbt.Torrent, policy: Any) -> bool:
    """Whether a peer that encrypts so is taken."""
    try:
        with geventbt.connect(address(seed), info_hash=torrent.info_hash, encryption=policy) as wire:
            wire.handshake(torrent.info_hash, geventbt.new_peer_id())
            return True
    except (geventbt.GeventBTError, OSError):
        return False


@pytest.mark.parametrize(("policy", "way"), [("allow", "plaintext"), ("prefer", "rc4"), ("require", "rc4")])
def test_encryption_changes_for_the_connections_that_are_opened(
    world: World, policy: geventbt.EncryptionPolicy, way: str
) -> None:
    torrent = world.torrent()
    taker = world.client(port=None, encryption="disable")
    taker.encryption = policy
    job = world.download(torrent, world.seeds(torrent, 1), client=taker)
    ways: set[str | None] = set()
    job.on("peer_added", lambda torrent, wire: ways.add(wire.encryption))
    assert done_soon(job)
    eventually(lambda: ways == {way})


def test_an_unknown_policy_changes_nothing(world: World) -> None:
    client = world.client()
    with pytest.raises(ValueError, match="must be one of"):
        client.encryption = "sometimes"  # type: ignore[assignment]
    assert client.encryption == "prefer"
