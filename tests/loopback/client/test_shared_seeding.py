"""Clients that share what others share alone: a socket that somebody else has made, a port, the data, the count."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

import geventbt
from geventbt import Client, StorageError, Torrent
from tests.loopback.fake_trackers import FakeHttp, bencoded
from tests.loopback.harness import eventually
from tests.loopback.world import World, address


@pytest.fixture
def torrent(world: World) -> Torrent:
    return world.torrent()


# ------------------------------------------------------------------ a socket, and a port


def test_a_client_serves_on_a_socket_that_it_has_inherited(world: World, torrent: Torrent) -> None:
    made = socket.create_server(("127.0.0.1", 0))
    port = made.getsockname()[1]
    with Client(socket.socket(fileno=made.detach()), dht=False, lsd=False) as client:
        assert client.port == port
        client.add(torrent, world.origin, seed_only=True)
        assert world.download(torrent, [("127.0.0.1", port)]).wait(10)
    with pytest.raises(ConnectionError):
        geventbt.connect(("127.0.0.1", port))


def test_a_client_on_a_unix_socket_has_no_port(tmp_path: Path) -> None:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(tmp_path / "socket"))
    made.listen()
    with Client(made, dht=False) as client:
        assert client.port is None


def test_a_client_takes_no_socket_that_does_not_listen() -> None:
    with socket.socket() as made, pytest.raises(ValueError, match="does not listen"):
        Client(made)


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="this system has no SO_REUSEPORT")
def test_clients_that_share_a_port_share_the_peers(world: World, torrent: Torrent) -> None:
    first = world.seed(torrent, reuse_port=True)
    second = world.seed(torrent, reuse_port=True, port=first.port)

    def ids() -> bytes:
        with geventbt.connect(address(first)) as wire:
            return bytes(wire.handshake(torrent.info_hash, geventbt.new_peer_id()).peer_id)

    seen: set[bytes] = set()
    eventually(lambda: seen.add(ids()) or seen == {first.peer_id, second.peer_id})


# ------------------------------------------------------------------ the data


def test_a_seed_of_data_that_another_one_has_checked_trusts_its_record(world: World, torrent: Torrent) -> None:
    world.seed(torrent)
    active = world.client().add(torrent, world.origin, seed_only=True)
    assert active.wait(10)
    assert active.progress.checked == 0


def test_and_hashes_what_was_changed_since(world: World, torrent: Torrent) -> None:
    world.seed(torrent)
    path = world.origin / "data" / "a"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(StorageError, match="1 of 31 pieces"):
        world.client().add(torrent, world.origin, seed_only=True).wait(10)


# ------------------------------------------------------------------ the count


def test_what_other_processes_send_is_told_to_trackers_and_shown(world: World, torrent: Torrent) -> None:
    tracker = FakeHttp({"": bencoded(interval=1800, peers=b"")})
    client = world.client()
    active = client.add(torrent, world.origin, seed_only=True, trackers=[tracker.url()])
    eventually(lambda: tracker.requests)
    active.count_elsewhere(uploaded=1000, upload_speed=50.0, peers=3)
    active.count_elsewhere(uploaded=3000, upload_speed=70.0, peers=2)
    progress = active.progress
    assert (progress.uploaded, progress.upload_speed, progress.peers) == (3000, 70.0, 2)
    assert world.download(torrent, [address(client)]).wait(10)
    total = torrent.length + 3000
    assert active.uploaded == total
    active.pause()
    assert active.uploaded == total
    eventually(lambda: "event=stopped" in tracker.requests[-1])
    told = [int(re.findall(r"uploaded=(\d+)", head)[0]) for head in (tracker.requests[0], tracker.requests[-1])]
    assert told == [0, total]
    tracker.close()
