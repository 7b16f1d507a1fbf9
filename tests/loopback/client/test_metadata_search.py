"""A magnet link whose peers connect to us: none has to be known at first."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import geventbt
from geventbt import Client, Wire, limits
from tests.loopback.harness import eventually


@pytest.fixture
def torrent(tmp_path: Path) -> geventbt.Torrent:
    (tmp_path / "origin").mkdir()
    (tmp_path / "origin" / "data").write_bytes(os.urandom(300_000))
    return geventbt.create_torrent(tmp_path / "origin" / "data", piece_length=16384)


@pytest.fixture
def leecher(torrent: geventbt.Torrent, tmp_path: Path) -> Iterator[Client]:
    """Has a magnet link, and knows no peer."""
    with Client(0, host="127.0.0.1") as client:
        client.add(geventbt.Magnet.from_torrent(torrent), tmp_path / "out")
        yield client


class Mute(geventbt.UtMetadata):
    """Claims to have metadata, and never gives any."""

    def on_message(self, payload: bytes) -> None:
        pass


def come(leecher: Client, torrent: geventbt.Torrent) -> Wire:
    """Connect to it as a peer that leaves its questions unanswered."""
    wire = geventbt.connect(("127.0.0.1", leecher.port))
    wire.use(lambda wire: Mute(wire, torrent.info_bytes))
    wire.handshake(torrent.info_hash, geventbt.new_peer_id())
    return wire


@pytest.fixture
def ask_silent(leecher: Client, torrent: geventbt.Torrent) -> Iterator[Callable[[int], None]]:
    """Has the client ask a number of peers that claim to have the metadata, and leave its questions unanswered."""
    servers: list[geventbt.PeerServer] = []

    def handle(wire: Wire) -> None:
        wire.use(lambda wire: Mute(wire, torrent.info_bytes))
        wire.handshake(torrent.info_hash, geventbt.new_peer_id())
        list(wire.incoming_requests())

    def ask(count: int) -> None:
        servers.extend(geventbt.listen(("127.0.0.1", 0), handle) for _ in range(count))
        (job,) = leecher.torrents.values()
        job.add_peers([("127.0.0.1", server.server_port) for server in servers])
        eventually(lambda: all(server.wires for server in servers))

    yield ask
    for server in servers:
        server.stop()


def come_when_there_is_room(leecher: Client, torrent: geventbt.Torrent) -> Wire:
    """Connect again and again until it is not refused."""
    taken: list[Wire] = []

    def is_taken() -> bool:
        with suppress(geventbt.GeventBTError):
            taken.append(come(leecher, torrent))
        return bool(taken)

    eventually(is_taken)
    return taken[0]


def test_a_seeder_that_comes_gives_the_metadata_and_then_the_data(torrent, leecher, tmp_path):
    (job,) = leecher.torrents.values()
    with geventbt.seed(torrent, tmp_path / "origin", ("127.0.0.1", 0), peers=[("127.0.0.1", leecher.port)]):
        assert job.wait_metadata(timeout=30).info_hash == torrent.info_hash
        assert job.wait(30)
    assert (tmp_path / "out" / "data").read_bytes() == (tmp_path / "origin" / "data").read_bytes()


def test_no_more_are_asked_at_a_time_than_the_limit(torrent, leecher):
    wires = [come(leecher, torrent) for _ in range(limits.METADATA_SOURCES)]
    # One more is refused, without a handshake.
    with pytest.raises(geventbt.GeventBTError):
        come(leecher, torrent)
    assert not any(wire.closed for wire in wires)
    wires.pop().close()
    wires.append(come_when_there_is_room(leecher, torrent))
    for wire in wires:
        wire.close(0)


def test_silent_peers_lose_their_places_to_others(torrent, leecher, ask_silent, tmp_path, monkeypatch):
    """As many as are asked at a time say that they have the metadata, and give none."""
    monkeypatch.setattr(limits, "METADATA_PATIENCE", 0.3)
    ask_silent(limits.METADATA_SOURCES)
    (job,) = leecher.torrents.values()
    with geventbt.seed(torrent, tmp_path / "origin", ("127.0.0.1", 0)) as seeder:
        job.add_peers([("127.0.0.1", seeder.port)])
        assert job.wait_metadata(timeout=limits.REQUEST_TIMEOUT / 2)


def test_those_who_came_are_left_when_the_metadata_is_here(torrent, leecher, tmp_path):
    (job,) = leecher.torrents.values()
    wire = come(leecher, torrent)
    with geventbt.seed(torrent, tmp_path / "origin", ("127.0.0.1", 0)) as seeder:
        job.add_peers([("127.0.0.1", seeder.port)])
        assert job.wait(30)
    eventually(lambda: wire.closed)


def test_those_who_came_are_left_when_the_torrent_is_paused_or_removed(torrent, leecher):
    (job,) = leecher.torrents.values()
    wire = come(leecher, torrent)
    job.pause()
    eventually(lambda: wire.closed)
    job.resume()
    wire = come_when_there_is_room(leecher, torrent)
    job.remove()
    eventually(lambda: wire.closed)


def test_silent_peers_do_not_hold_the_places_of_good_ones(torrent, leecher, ask_silent, tmp_path, monkeypatch):
    """They need not time out before another is asked."""
    monkeypatch.setattr(limits, "METADATA_SILENCE", 0.2)
    ask_silent(2 * limits.METADATA_SOURCES)
    (job,) = leecher.torrents.values()
    with geventbt.seed(torrent, tmp_path / "origin", ("127.0.0.1", 0)) as seeder:
        job.add_peers([("127.0.0.1", seeder.port)])
        assert job.wait_metadata(timeout=limits.METADATA_PATIENCE / 2)


class Relay:
    """A peer that has no metadata, and takes part in hole punching.

    Attributes:
        wires: its connections.
    """

    def __init__(self, torrent: geventbt.Torrent) -> None:
        self.wires: list[Wire] = []
        self._torrent = torrent
        self._server = geventbt.listen(("127.0.0.1", 0), self._handle)
        self.address = "127.0.0.1", self._server.server_port

    def _handle(self, wire: Wire) -> None:
        wire.use(geventbt.UtPex)
        wire.use(geventbt.UtHolepunch)
        wire.handshake(self._torrent.info_hash, geventbt.new_peer_id())
        self.wires.append(wire)
        list(wire.incoming_requests())

    def joined(self, leecher: Client) -> Wire:
        """Have a client connect, and wait until it takes part."""
        (job,) = leecher.torrents.values()
        job.add_peers([self.address])
        eventually(lambda: self.wires and self.wires[0].ut_holepunch.supported)
        return self.wires[0]

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture
def relay(torrent: geventbt.Torrent) -> Iterator[Relay]:
    made = Relay(torrent)
    yield made
    made.stop()


@pytest.fixture
def seeder(torrent: geventbt.Torrent, tmp_path: Path) -> Iterator[geventbt.Seeder]:
    with geventbt.seed(torrent, tmp_path / "origin", ("127.0.0.1", 0)) as made:
        yield made


def test_a_peer_without_metadata_names_one_that_has_it(leecher, relay, seeder):
    relay.joined(leecher).ut_pex.update([("127.0.0.1", seeder.port)])
    (job,) = leecher.torrents.values()
    assert job.wait_metadata(timeout=30)


def test_a_peer_without_metadata_arranges_a_connection_with_one_that_has_it(leecher, relay, seeder):
    wire = relay.joined(leecher)
    assert wire.ut_holepunch.connect(("127.0.0.1", seeder.port))
    (job,) = leecher.torrents.values()
    assert job.wait_metadata(timeout=30)
    eventually(lambda: any("holepunch" in peer.sources for peer in job.peers))


def test_peers_hear_where_the_client_listens(leecher, relay):
    assert relay.joined(leecher).peer_extended_handshake["p"] == leecher.port


def test_a_peer_without_metadata_makes_room_for_others(leecher, relay, seeder, monkeypatch):
    monkeypatch.setattr(limits, "METADATA_ASKED", 1)
    wire = relay.joined(leecher)
    (job,) = leecher.torrents.values()
    job.add_peers([("127.0.0.1", seeder.port)])
    assert job.wait_metadata(timeout=limits.METADATA_RELAY / 2)
    assert wire.closed


def test_a_peer_without_metadata_is_left_after_a_while(leecher, relay, monkeypatch):
    monkeypatch.setattr(limits, "METADATA_RELAY", 0.1)
    wire = relay.joined(leecher)
    eventually(lambda: wire.closed)
