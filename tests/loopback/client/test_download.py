"""Downloads from several peers, some of which are slow, silent, gone, or lie."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from bitarray import bitarray

import geventbt
from geventbt import ActiveTorrent, Client, NoPeersError, StorageError, Wire
from tests.free_port import free_port
from tests.loopback.harness import eventually

PIECE = 65536


@pytest.fixture
def torrent(tmp_path: Path) -> geventbt.Torrent:
    """Forty pieces in three files, whose data is below the folder origin."""
    folder = tmp_path / "origin" / "data"
    folder.mkdir(parents=True)
    for name, size in (("a", 1_000_001), ("b", 13), ("c", 1_600_000)):
        (folder / name).write_bytes(os.urandom(size))
    return geventbt.create_torrent(folder, piece_length=PIECE)


@pytest.fixture
def start(torrent: geventbt.Torrent, tmp_path: Path) -> Any:
    """Starts a download from the given peers into the folder out."""
    clients: list[Client] = []

    def make(peers: list[tuple[str, int]], **options: Any) -> ActiveTorrent:
        clients.append(Client(None))
        return clients[-1].add(torrent, tmp_path / "out", peers=peers, fail_without_peers=True, **options)

    yield make
    for client in clients:
        client.close(timeout=1)


@pytest.fixture
def honest(torrent: geventbt.Torrent, tmp_path: Path) -> Any:
    """Makes seeders, as (host, port)."""
    servers: list[geventbt.Client] = []

    def make() -> tuple[str, int]:
        servers.append(geventbt.seed(torrent, tmp_path / "origin", ("127.0.0.1", 0)))
        return "127.0.0.1", servers[-1].port

    yield make
    for server in servers:
        server.close(timeout=1)


@pytest.fixture
def odd(torrent: geventbt.Torrent, serving: Any) -> Any:
    """Makes peers that claim to have everything and then do as the given function says, as (host, port)."""

    def make(behave: Any) -> tuple[str, int]:
        def handler(wire: Wire) -> None:
            wire.handshake(torrent.info_hash, geventbt.new_peer_id(), geometry=torrent.geometry)
            wire.have_all()
            behave(wire)

        return "127.0.0.1", serving(handler).server_port

    return make


def serve_junk(wire: Wire) -> None:
    wire.unchoke()
    wire.serve(lambda piece, offset, length: os.urandom(length))


def stay_silent(wire: Wire) -> None:
    wire.unchoke()
    list(wire.incoming_requests())


def choke_for_ever(wire: Wire) -> None:
    list(wire.incoming_requests())


def leave_after_one(wire: Wire) -> None:
    wire.unchoke()
    next(wire.incoming_requests())


def assert_complete(torrent: geventbt.Torrent, tmp_path: Path) -> None:
    for file in torrent.files:
        there = tmp_path.joinpath("out", *file.path).read_bytes()
        assert there == tmp_path.joinpath("origin", *file.path).read_bytes(), file.path


def test_a_download_takes_from_all_its_peers(torrent, start, honest, tmp_path):
    job = start([honest() for _ in range(3)])
    assert job.wait(30)
    assert_complete(torrent, tmp_path)
    assert job.progress.done == sum(job.served.values()) == torrent.geometry.length
    assert job.done
    assert job.banned == set()


def test_a_peer_that_lies_is_banned_and_its_data_never_reaches_a_file(torrent, start, honest, odd, tmp_path, caplog):
    liar = odd(serve_junk)
    job = start([liar, honest()])
    assert job.wait(30)
    assert_complete(torrent, tmp_path)
    assert job.served[liar] == 0
    assert job.banned <= {liar}


def test_liars_alone_end_the_download_with_nothing_written(torrent, start, odd, tmp_path):
    job = start([odd(serve_junk) for _ in range(2)])
    with pytest.raises(NoPeersError):
        job.wait(30)
    assert len(job.banned) == 2
    assert job.progress.done == 0
    for file in torrent.files:
        assert tmp_path.joinpath("out", *file.path).read_bytes() == bytes(file.length)


def test_an_honest_peer_is_not_banned_for_what_another_sent(torrent, start, honest, odd, tmp_path):
    good = [honest() for _ in range(4)]
    job = start([*good, odd(serve_junk)])
    assert job.wait(30)
    assert_complete(torrent, tmp_path)
    assert not job.banned & set(good)


@pytest.mark.parametrize("behave", [stay_silent, choke_for_ever, leave_after_one])
def test_a_peer_that_gives_nothing_holds_nothing_back(torrent, start, honest, odd, tmp_path, behave):
    job = start([odd(behave), honest()])
    assert job.wait(30)
    assert_complete(torrent, tmp_path)


def test_a_silent_peers_pieces_go_to_another(torrent, start, odd, honest, tmp_path):
    """The silent peer alone has been asked for everything before the other one is there."""
    job = start([odd(stay_silent), honest()])
    assert job.wait(30)
    assert_complete(torrent, tmp_path)


def test_a_connection_that_breaks_is_opened_again(torrent, start, honest, serving, tmp_path):
    storage = geventbt.Storage(torrent, tmp_path / "origin")
    storage.check()
    connections = []

    def flaky(wire: Wire) -> None:
        connections.append(wire)
        wire.handshake(torrent.info_hash, geventbt.new_peer_id(), geometry=torrent.geometry)
        wire.have_all()
        wire.unchoke()
        for number, request in enumerate(wire.incoming_requests()):
            if number == 60:
                return
            wire.piece(request.piece, request.offset, storage.read(*request))

    job = start([("127.0.0.1", serving(flaky).server_port)])
    assert job.wait(30)
    assert_complete(torrent, tmp_path)
    assert len(connections) > 1
    storage.close()


def test_what_is_there_is_not_fetched_again(torrent, start, honest, tmp_path):
    peer = honest()
    geventbt.download(torrent, tmp_path / "out", peers=[peer])
    first = torrent.files[0]
    with open(tmp_path.joinpath("out", *first.path), "r+b") as file:
        file.seek(PIECE + 5)
        file.write(b"damaged")
    job = start([peer])
    assert job.wait(30)
    assert_complete(torrent, tmp_path)
    assert sum(job.served.values()) == PIECE


def test_a_complete_download_needs_no_peer(torrent, start, honest, tmp_path):
    geventbt.download(torrent, tmp_path / "out", peers=[honest()])
    assert geventbt.download(torrent, tmp_path / "out") == torrent


def test_no_peer_is_an_error_that_says_so(torrent, start, tmp_path):
    with pytest.raises(NoPeersError, match="no peers"):
        geventbt.download(torrent, tmp_path / "out")
    with pytest.raises(NoPeersError, match="no peer could be reached"):
        geventbt.download(torrent, tmp_path / "out", peers=[("127.0.0.1", 1)])


def test_a_peer_that_does_not_have_the_torrent_is_said_to_whatever_else_was_tried(torrent, start, honest, tmp_path):
    (tmp_path / "other").write_bytes(b"other")
    other = geventbt.create_torrent(tmp_path / "other")
    with (
        geventbt.seed(other, tmp_path, ("127.0.0.1", 0)) as client,
        pytest.raises(NoPeersError, match=rf"127\.0\.0\.1:{client.port} closed the connection without a handshake"),
    ):
        start([("127.0.0.1", client.port)]).wait(20)


def test_an_address_at_which_nothing_listens_is_named(start):
    port = free_port()
    with pytest.raises(NoPeersError, match=f"cannot connect to 127.0.0.1:{port}: "):
        start([("127.0.0.1", port)]).wait(20)


def test_a_full_disk_ends_the_download_with_its_reason(torrent, start, honest, tmp_path, monkeypatch):
    def no_space(*arguments: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", no_space)
    job = start([honest()])
    with pytest.raises(StorageError) as caught:
        job.wait(30)
    assert caught.value.errno == errno.ENOSPC
    assert job.progress.done == 0


def test_a_link_in_the_place_of_a_file_is_not_followed(torrent, start, honest, tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    (tmp_path / "out" / "data").mkdir(parents=True)
    (tmp_path / "out" / "data" / "a").symlink_to(outside)
    with pytest.raises(StorageError):
        geventbt.download(torrent, tmp_path / "out", peers=[honest()])
    assert outside.read_bytes() == b"precious"


def test_a_download_can_be_stopped_and_goes_on_later(torrent, start, honest, odd, tmp_path):
    with Client(None) as client:
        job = client.add(torrent, tmp_path / "out", peers=[odd(stay_silent)])
        eventually(lambda: job.peers)
        assert job.wait(timeout=0.01) is False
        job.remove()
        with pytest.raises(geventbt.DownloadError):
            job.wait()
    job = start([honest()])
    assert job.wait(30)
    assert_complete(torrent, tmp_path)


def test_downloaders_serve_each_other_what_they_have(torrent, start, honest, tmp_path):
    """A wire of a download also answers requests for verified pieces."""
    got: list[bytes] = []
    lacks_one = bitarray("1" * torrent.geometry.pieces)
    lacks_one[7] = 0

    def barter(wire: Wire) -> None:
        wire.handshake(torrent.info_hash, geventbt.new_peer_id(), geometry=torrent.geometry)
        wire.bitfield(lacks_one)
        wire.interested()
        wire.wait_unchoked(timeout=10)
        wire.wait_for_piece(7, timeout=10)
        got.append(wire.request(7, 0, 16384))

    with geventbt.listen(("127.0.0.1", 0), barter) as server:
        job = start([("127.0.0.1", server.server_port)])
        eventually(lambda: job.peers)
        job.add_peers([honest()])
        assert job.wait(30)
        eventually(lambda: got)
    with geventbt.Storage(torrent, tmp_path / "origin") as storage:
        storage.check()
        assert got == [storage.read(7, 0, 16384)]
