"""Encrypted connections over real sockets: every pair of policies, and peers that stop, lie or come in crowds."""

from __future__ import annotations

import os
from typing import Any

import gevent
import pytest
from gevent import socket as gevent_socket

import geventbt
from geventbt import HandshakeError, Wire, WireTimeout, limits
from geventbt.protocol import mse
from geventbt.protocol.mse import Initiator
from geventbt.wire.transports.encryption import OpenedStream
from tests.loopback.harness import GEOMETRY, INFO_HASH, OUR_ID, PEER_ID, RawPeer, eventually

DATA = os.urandom(GEOMETRY.length)


def read_block(piece: int, offset: int, length: int) -> bytes:
    start = piece * GEOMETRY.piece_length + offset
    return DATA[start : start + length]


def seed(wire: Wire) -> None:
    wire.handshake(INFO_HASH, OUR_ID, geometry=GEOMETRY)
    wire.have_all()
    wire.unchoke()
    wire.serve(read_block)


@pytest.fixture
def server(serving: Any) -> Any:
    """Makes seeders with an encryption policy, which note how their wires ended."""

    def make(encryption: str = "prefer") -> Any:
        server = serving(seed, info_hashes=[INFO_HASH, b"another info hash..."], encryption=encryption)
        server.reasons = []
        server.on("error", lambda server, error, wire: server.reasons.append(error))
        return server

    return make


def connect(server: Any, encryption: str = "prefer") -> Wire:
    return geventbt.connect(("127.0.0.1", server.server_port), encryption=encryption, info_hash=INFO_HASH)


def fetch(wire: Wire) -> bytes:
    """A whole piece, after the handshake."""
    wire.handshake(INFO_HASH, PEER_ID, geometry=GEOMETRY)
    wire.wait_unchoked(timeout=5)
    return bytes(wire.read(3, 0, 65536, timeout=5))


OUTCOMES = {
    ("prefer", "prefer"): "rc4",
    ("prefer", "require"): "rc4",
    ("prefer", "disable"): "plaintext",
    ("require", "prefer"): "rc4",
    ("require", "require"): "rc4",
    ("require", "disable"): None,
    ("disable", "prefer"): "plaintext",
    ("disable", "require"): None,
    ("disable", "disable"): "plaintext",
}


@pytest.mark.parametrize(("ours", "theirs"), OUTCOMES)
def test_each_pair_of_policies_ends_as_it_must(server, ours, theirs):
    outcome = OUTCOMES[ours, theirs]
    seeder = server(theirs)
    if outcome is None:
        with pytest.raises(ConnectionError):
            connect(seeder, ours).handshake(INFO_HASH, PEER_ID)
        return
    with connect(seeder, ours) as wire:
        assert fetch(wire) == read_block(3, 0, 65536)
        assert wire.encryption == outcome
        (theirs_of_it,) = seeder.wires
        assert theirs_of_it.encryption == outcome


@pytest.mark.parametrize("methods", [mse.PLAINTEXT, mse.RC4])
def test_both_methods_carry_a_stream_both_ways(server, methods):
    """An encrypted opening may select plaintext: then what follows takes the plain path."""
    seeder = server()
    sock = gevent_socket.create_connection(("127.0.0.1", seeder.server_port))
    opening = Initiator(INFO_HASH, methods)
    while not opening.done:
        sock.sendall(opening.take_outgoing())
        opening.receive(sock.recv(4096))
        if opening.key_due:
            opening.compute_key()
    wire = Wire(sock, incoming=False, opening=OpenedStream(opening.encryptor, opening.decryptor, opening.payload))
    assert fetch(wire) == read_block(3, 0, 65536)
    assert wire.encryption == ("rc4" if methods == mse.RC4 else "plaintext")
    wire.close()


def test_without_the_info_hash_a_connection_is_plaintext(server):
    with geventbt.connect(("127.0.0.1", server().server_port)) as wire:
        assert fetch(wire) == read_block(3, 0, 65536)
        assert wire.encryption == "plaintext"


def test_a_server_of_any_torrent_takes_plaintext_only(serving):
    server = serving(seed)
    with connect(server) as wire:
        assert fetch(wire) == read_block(3, 0, 65536)
        assert wire.encryption == "plaintext"


def test_the_callers_buffers_are_never_changed(serving):
    block = bytes(16384)
    view = memoryview(block)

    def handler(wire: Wire) -> None:
        wire.handshake(INFO_HASH, OUR_ID)
        wire.unchoke()
        wire.serve(lambda piece, offset, length: view[:length])

    with connect(serving(handler, info_hashes=[INFO_HASH]), "require") as wire:
        wire.handshake(INFO_HASH, PEER_ID)
        wire.wait_unchoked(timeout=5)
        assert wire.request(0, 0, 16384) == bytes(16384)
        assert wire.request(0, 16384, 16384) == bytes(16384)
    assert block == bytes(16384)


def test_a_download_prefers_encryption_and_can_require_it(tmp_path):
    (tmp_path / "origin").mkdir()
    (tmp_path / "origin" / "data").write_bytes(DATA)
    torrent = geventbt.create_torrent(tmp_path / "origin" / "data")
    for policy, outcome in (("prefer", "rc4"), ("require", "rc4"), ("disable", "plaintext")):
        with geventbt.seed(torrent, tmp_path / "origin", ("127.0.0.1", 0)) as seeder:
            kinds = []
            seeder.server.on(
                "peer_connected",
                lambda server, wire, kinds=kinds: wire.on("request", lambda w, **_: kinds.append(w.encryption)),
            )
            peers = [("127.0.0.1", seeder.port)]
            geventbt.download(torrent, tmp_path / policy, peers=peers, encryption=policy)
            eventually(lambda kinds=kinds: kinds)
            assert set(kinds) == {outcome}
        assert (tmp_path / policy / "data").read_bytes() == DATA


# ---------------------------------------------------------------------- untrusted peers


def assert_still_serves(seeder: Any) -> None:
    with connect(seeder, "require") as wire:
        assert fetch(wire) == read_block(3, 0, 65536)


def raw_peer(seeder: Any) -> RawPeer:
    return RawPeer(gevent_socket.create_connection(("127.0.0.1", seeder.server_port)))


@pytest.mark.parametrize("key", [0, 1, mse.PRIME - 1, mse.PRIME])
def test_a_degenerate_key_closes(server, key, nothing_logged):
    seeder = server()
    peer = raw_peer(seeder)
    peer.send(key.to_bytes(96, "big"))
    assert peer.is_closed()
    peer.sock.close()
    eventually(lambda: seeder.reasons)
    assert isinstance(seeder.reasons[0], HandshakeError)
    assert_still_serves(seeder)


def test_an_opening_for_a_torrent_that_nobody_knows_closes(server, nothing_logged):
    seeder = server()
    with pytest.raises(HandshakeError):
        geventbt.connect(("127.0.0.1", seeder.server_port), encryption="require", info_hash=b"x" * 20)
    eventually(lambda: seeder.reasons)
    assert "unknown torrent" in str(seeder.reasons[0])
    assert_still_serves(seeder)


@pytest.mark.parametrize("count", [1, 19, 20, 95, 96, 97, 300, 607, 640])
def test_a_peer_that_stops_after_any_byte_is_closed_in_time(server, count, monkeypatch, nothing_logged):
    monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT", 0.2)
    seeder = server()
    peer = raw_peer(seeder)
    peer.send(os.urandom(count).replace(b"\x13", b"\x14"))
    assert peer.is_closed()
    peer.sock.close()
    eventually(lambda: seeder.reasons)
    assert isinstance(seeder.reasons[0], (WireTimeout, HandshakeError))
    monkeypatch.undo()
    assert_still_serves(seeder)


def test_a_server_that_stops_answering_ends_in_a_timeout_or_plaintext(socket_pair, monkeypatch):
    monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT", 0.1)
    listener = gevent_socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    with pytest.raises(WireTimeout):
        geventbt.connect(listener.getsockname(), encryption="require", info_hash=INFO_HASH)
    with geventbt.connect(listener.getsockname(), info_hash=INFO_HASH) as wire:
        assert wire.encryption == "plaintext"
        wire.close(0)
    listener.close()


def test_many_random_openings_at_once_hold_nobody_up(server, nothing_logged):
    seeder = server()
    with connect(seeder) as wire:
        assert fetch(wire) == read_block(3, 0, 65536)
        crowd = [raw_peer(seeder) for _ in range(150)]
        for peer in crowd:
            peer.send(b"\x7f" + os.urandom(95 + 532))
        turns = 0
        while len(seeder.reasons) < len(crowd):
            assert wire.request(0, 0, 16384, timeout=5) == read_block(0, 0, 16384)
            turns += 1
        assert turns > 1
        for peer in crowd:
            peer.sock.close()
    assert {type(reason) for reason in seeder.reasons} == {HandshakeError}


@pytest.mark.parametrize("policy", ["prefer", "require"])
def test_where_rc4_cannot_be_had_prefer_is_plaintext_and_require_an_error(server, monkeypatch, caplog, policy):
    class UnsupportedAlgorithm(Exception):
        """As `cryptography` raises it on a machine whose OpenSSL is in FIPS mode."""

    def no_rc4(key: bytes) -> None:
        raise UnsupportedAlgorithm("RC4")

    monkeypatch.setattr(mse, "Rc4", no_rc4)
    listening = server("prefer")
    for _ in range(2):
        if policy == "require":
            with pytest.raises(HandshakeError, match="encrypted opening"):
                connect(listening, policy)
        else:
            with connect(listening, policy) as wire:
                wire.handshake(INFO_HASH, PEER_ID, timeout=5)
                assert wire.encryption == "plaintext"
    assert (
        sum("UnsupportedAlgorithm" in record.message for record in caplog.records if record.levelname == "ERROR") == 1
    )


def test_a_killed_connect_leaves_nothing(socket_pair):
    listener = gevent_socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    greenlet = gevent.spawn(geventbt.connect, listener.getsockname(), info_hash=INFO_HASH)
    other, _ = listener.accept()
    assert other.recv(96)
    greenlet.kill()
    while other.recv(4096):
        pass
    other.close()
    listener.close()
