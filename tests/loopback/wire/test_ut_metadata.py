"""ut_metadata on bare wires: fetched, served, rejected, lied about (BEP 9)."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import Any

import gevent
import pytest

import geventbt
from geventbt import (
    Extensions,
    Handshake,
    LocalProtocolError,
    MetadataMismatch,
    MetadataNotAvailable,
    UtMetadata,
    Wire,
    WireClosed,
    WireTimeout,
    bencoding,
    limits,
)
from geventbt.protocol import messages as m
from geventbt.protocol import ut_metadata as codec
from geventbt.protocol.ut_metadata import MetadataAssembly, MetadataMessage
from tests.loopback.harness import OUR_ID, PEER_ID, RawPeer, eventually

PIECE = limits.METADATA_PIECE
METADATA = os.urandom(5 * PIECE + 123)
INFO_HASH = hashlib.sha1(METADATA).digest()


@pytest.fixture
def pair(wires: Any) -> Any:
    """Two wires; the second serves `METADATA`."""

    def make(metadata: bytes | None = METADATA) -> tuple[Wire, Wire]:
        a, b = wires(handshake=False)
        a.use(UtMetadata)
        b.use(lambda wire: UtMetadata(wire, metadata))
        other = gevent.spawn(b.handshake, INFO_HASH, PEER_ID)
        a.handshake(INFO_HASH, OUR_ID)
        other.get(timeout=5)
        return a, b

    return make


@pytest.fixture
def liar(socket_pair: Any) -> Any:
    """A wire with ut_metadata whose peer is bytes, and has said how large its metadata is."""
    made: list[Wire] = []

    def make(**handshake: Any) -> tuple[Wire, RawPeer]:
        left, right = socket_pair()
        wire, peer = Wire(left, incoming=False), RawPeer(right)
        made.append(wire)
        wire.use(UtMetadata)
        peer.send(Handshake(INFO_HASH, PEER_ID, Extensions(extended=True)).to_bytes())
        wire.handshake(INFO_HASH, OUR_ID)
        peer.receive(68)
        peer.message()
        peer.send(m.pack_extended(0, bencoding.encode({"m": {"ut_metadata": 7}, **handshake})))
        return wire, peer

    yield make
    for wire in made:
        wire.close(0)


def answer(peer: RawPeer, *messages: MetadataMessage) -> None:
    peer.send(b"".join(m.pack_extended(1, message.to_bytes()) for message in messages))


def request_of(peer: RawPeer) -> MetadataMessage:
    message = peer.message()
    assert message[:2] == bytes([20, 7])
    return MetadataMessage.from_bytes(message[2:])


def data(piece: int, content: bytes = METADATA, total: int | None = None) -> MetadataMessage:
    return MetadataMessage(codec.DATA, piece, len(content) if total is None else total, codec.piece_of(content, piece))


# ---------------------------------------------------------------------- good peers


def test_metadata_is_fetched_and_verified(pair):
    a, b = pair()
    heard = []
    a.ut_metadata.on("metadata", lambda extension, metadata: heard.append(metadata))
    assert a.ut_metadata.fetch(timeout=5) == METADATA
    assert heard == [METADATA]
    assert a.ut_metadata.metadata == METADATA
    assert a.ut_metadata.fetch() == METADATA
    assert a.peer_extended_handshake["metadata_size"] == len(METADATA)
    assert b.extended_handshake["metadata_size"] == len(METADATA)


def test_others_go_on_while_the_metadata_is_hashed(pair, monkeypatch):
    has_run, finish = threading.Event(), MetadataAssembly.finish

    def wait_and_finish(assembly: MetadataAssembly) -> bytes:
        assert has_run.wait(5)
        return finish(assembly)

    monkeypatch.setattr(MetadataAssembly, "finish", wait_and_finish)
    fetching = gevent.spawn(pair()[0].ut_metadata.fetch, timeout=10)
    gevent.spawn_later(0.01, has_run.set)
    assert fetching.get(timeout=10) == METADATA


def test_pieces_are_asked_for_in_parallel_and_come_in_any_order(liar):
    wire, peer = liar(metadata_size=len(METADATA))
    fetch = gevent.spawn(wire.ut_metadata.fetch, 5)
    asked = [request_of(peer) for _ in range(6)]
    assert asked == [MetadataMessage(codec.REQUEST, piece) for piece in range(6)]
    answer(peer, *(data(piece) for piece in (5, 0, 3, 1, 4, 2)))
    assert fetch.get(timeout=5) == METADATA


def test_data_may_contain_what_looks_like_the_end_of_the_header(socket_pair):
    content = b"d1:ae" * 100 + b"ee" * 500
    left, right = socket_pair()
    a, b = Wire(left, incoming=False), Wire(right, incoming=True)
    info_hash = hashlib.sha1(content).digest()
    a.use(UtMetadata)
    b.use(lambda wire: UtMetadata(wire, content))
    other = gevent.spawn(b.handshake, info_hash, PEER_ID)
    a.handshake(info_hash, OUR_ID)
    other.get(timeout=5)
    assert a.ut_metadata.fetch(timeout=5) == content
    a.close(0)
    b.close(0)


def test_a_rejected_piece_is_asked_for_again(liar, monkeypatch):
    monkeypatch.setattr("geventbt.extensions.ut_metadata._REJECT_DELAY", 0.01)
    content = METADATA[:100]
    wire, peer = liar(metadata_size=100)
    fetch = gevent.spawn(wire.ut_metadata.fetch, 5)
    for _ in range(limits.METADATA_REJECTS):
        assert request_of(peer).piece == 0
        answer(peer, MetadataMessage(codec.REJECT, 0))
    assert request_of(peer).piece == 0
    answer(peer, data(0, content))
    with pytest.raises(MetadataMismatch):
        fetch.get(timeout=5)


# ---------------------------------------------------------------------- bad peers


def test_a_peer_that_goes_on_rejecting_has_no_metadata(liar, monkeypatch):
    monkeypatch.setattr("geventbt.extensions.ut_metadata._REJECT_DELAY", 0.01)
    wire, peer = liar(metadata_size=100)
    fetch = gevent.spawn(wire.ut_metadata.fetch, 5)
    for _ in range(limits.METADATA_REJECTS + 1):
        request_of(peer)
        answer(peer, MetadataMessage(codec.REJECT, 0))
    with pytest.raises(MetadataNotAvailable):
        fetch.get(timeout=5)


@pytest.mark.parametrize("size", [None, 0, -1, "many"])
def test_a_peer_without_metadata_is_an_error_at_once(liar, size):
    wire, _ = liar(**({} if size is None else {"metadata_size": size}))
    with pytest.raises(MetadataNotAvailable):
        wire.ut_metadata.fetch(timeout=5)


def test_a_peer_without_the_extension_is_an_error(wires):
    a, b = wires(handshake=False)
    a.use(UtMetadata)
    other = gevent.spawn(b.handshake, INFO_HASH, PEER_ID)
    a.handshake(INFO_HASH, OUR_ID)
    other.get(timeout=5)
    with pytest.raises(MetadataNotAvailable):
        a.ut_metadata.fetch(timeout=5)


@pytest.mark.parametrize("size", [limits.METADATA + 1, 1 << 31])
def test_a_size_over_the_limit_is_a_lie(liar, size):
    wire, _ = liar(metadata_size=size)
    with pytest.raises(MetadataMismatch):
        wire.ut_metadata.fetch(timeout=5)


@pytest.mark.parametrize(
    "message",
    [
        data(0, METADATA[:200]),
        data(0, METADATA[:100], total=101),
        MetadataMessage(codec.DATA, 0, 100, b"x" * 99),
        MetadataMessage(codec.DATA, 0, None, b""),
        MetadataMessage(codec.DATA, 0, 100, b"x" * 100),
    ],
    ids=["more", "wrong total", "less", "nothing", "wrong hash"],
)
def test_lies_end_in_a_mismatch_and_a_warning(liar, message):
    wire, peer = liar(metadata_size=100)
    warnings = []
    wire.ut_metadata.on("warning", lambda extension, error: warnings.append(error))
    fetch = gevent.spawn(wire.ut_metadata.fetch, 5)
    request_of(peer)
    answer(peer, message)
    with pytest.raises(MetadataMismatch):
        fetch.get(timeout=5)
    assert [type(warning) for warning in warnings] == [MetadataMismatch]
    assert not wire.closed


def test_what_was_not_asked_for_is_ignored(liar):
    wire, peer = liar(metadata_size=len(METADATA))
    answer(peer, data(0))
    fetch = gevent.spawn(wire.ut_metadata.fetch, 5)
    for _ in range(6):
        request_of(peer)
    answer(peer, data(0), data(0), MetadataMessage(codec.DATA, 99, 1, b"x"), MetadataMessage(42, 1))
    answer(peer, *(data(piece) for piece in range(1, 6)))
    assert fetch.get(timeout=5) == METADATA


def test_a_silent_peer_ends_in_a_timeout_and_can_be_asked_again(liar):
    wire, _ = liar(metadata_size=100)
    for _ in range(2):
        with pytest.raises(WireTimeout):
            wire.ut_metadata.fetch(timeout=0.02)


def test_a_peer_that_leaves_ends_the_fetch(liar):
    wire, peer = liar(metadata_size=100)
    fetch = gevent.spawn(wire.ut_metadata.fetch, 5)
    request_of(peer)
    peer.sock.close()
    with pytest.raises(WireClosed):
        fetch.get(timeout=5)


def test_one_fetch_at_a_time(liar):
    wire, peer = liar(metadata_size=100)
    first = gevent.spawn(wire.ut_metadata.fetch, 5)
    request_of(peer)
    with pytest.raises(LocalProtocolError):
        wire.ut_metadata.fetch()
    first.kill()


@pytest.mark.parametrize(
    "payload", [b"", b"junk", b"d1:ai1e-6:", b"l" * 10_000, b"i1e", b"de", b"d8:msg_typei0e5:piecei-1ee"]
)
def test_a_senseless_message_is_a_warning_and_no_more(liar, payload, nothing_logged):
    wire, peer = liar(metadata_size=100)
    warnings = []
    wire.ut_metadata.on("warning", lambda extension, error: warnings.append(error))
    peer.send(m.pack_extended(1, payload))
    eventually(lambda: warnings)
    assert not wire.closed


# ---------------------------------------------------------------------- serving


def test_what_we_have_not_is_rejected(pair):
    a, _ = pair(metadata=None)
    got = gevent.spawn(a.wait_for, "extended", 5)
    gevent.sleep(0)
    eventually(lambda: a.ut_metadata.supported)
    a.ut_metadata.send(MetadataMessage(codec.REQUEST, 0).to_bytes())
    assert MetadataMessage.from_bytes(got.get()["payload"]) == MetadataMessage(codec.REJECT, 0)


def test_a_flood_of_requests_is_rejected(pair):
    a, _ = pair()
    answers: list[int] = []
    a.on("extended", lambda wire, name, extended_id, payload: answers.append(MetadataMessage.from_bytes(payload).type))
    eventually(lambda: a.ut_metadata.supported)
    for _ in range(20):
        a.ut_metadata.send(MetadataMessage(codec.REQUEST, 1).to_bytes())
    eventually(lambda: len(answers) == 20)
    assert answers == [codec.DATA] * limits.METADATA_SERVED + [codec.REJECT] * (20 - limits.METADATA_SERVED)


def test_metadata_may_become_known_after_the_handshake(pair):
    a, b = pair(metadata=None)
    b.ut_metadata.metadata = METADATA
    b.extended("handshake", b"")
    eventually(lambda: a.peer_extended_handshake.get("metadata_size") == len(METADATA))
    assert a.ut_metadata.fetch(timeout=5) == METADATA


# ---------------------------------------------------------------------- magnets


def torrent_with_many_pieces() -> geventbt.Torrent:
    info = {"length": 3_000_000 * 16, "name": "many", "piece length": 16384, "pieces": os.urandom(2930 * 20)}
    return geventbt.Torrent.from_info(bencoding.encode(info))


@pytest.fixture
def swarm(serving: Any) -> Any:
    """Peers of a torrent: one without metadata, one that lies, one that is silent, and an honest one."""
    torrent = torrent_with_many_pieces()

    def peer_with(metadata: bytes | None, extended: bool = True) -> Any:
        def handler(wire: Wire) -> None:
            if metadata is not None:
                wire.use(lambda wire: UtMetadata(wire, metadata))
            wire.handshake(torrent.info_hash, geventbt.new_peer_id(), extended=extended)
            list(wire.incoming_requests())

        return "127.0.0.1", serving(handler).server_port

    lie = os.urandom(len(torrent.info_bytes))
    return torrent, {
        "none": peer_with(None),
        "no extension": peer_with(None, extended=False),
        "liar": peer_with(lie),
        "honest": peer_with(torrent.info_bytes),
    }


def test_a_magnet_is_resolved_though_some_peers_lie_or_have_nothing(swarm):
    torrent, peers = swarm
    nobody = ("127.0.0.1", 1)
    magnet = geventbt.Magnet.from_torrent(torrent)
    fetched = geventbt.fetch_metadata(
        str(magnet), peers=[nobody, peers["none"], peers["liar"], peers["no extension"], peers["honest"]], timeout=20
    )
    assert fetched == torrent


def test_the_links_own_peers_are_asked(swarm):
    torrent, peers = swarm
    magnet = geventbt.Magnet(torrent.info_hash, peers=(peers["honest"],), trackers=("http://tracker/",))
    fetched = geventbt.fetch_metadata(magnet, timeout=20)
    assert fetched.info_bytes == torrent.info_bytes
    assert fetched.trackers == (("http://tracker/",),)


def test_no_metadata_from_any_peer_is_an_error_that_says_why(swarm):
    torrent, peers = swarm
    magnet = geventbt.Magnet.from_torrent(torrent)
    with pytest.raises(geventbt.NoPeersError, match="metadata"):
        geventbt.fetch_metadata(magnet, peers=[peers["none"], peers["liar"]], timeout=20)
    with pytest.raises(geventbt.NoPeersError, match="no peers to ask"):
        geventbt.fetch_metadata(magnet)


def test_a_link_of_version_2_only_needs_peers_as_any_other():
    with pytest.raises(geventbt.NoPeersError, match="no peers to ask"):
        geventbt.fetch_metadata(geventbt.Magnet(info_hash_v2=bytes(32)), dht=False)


def test_peers_that_say_nothing_end_in_a_timeout(swarm):
    torrent, peers = swarm
    with pytest.raises(geventbt.WireTimeout):
        geventbt.fetch_metadata(geventbt.Magnet.from_torrent(torrent), peers=[peers["no extension"]], timeout=0.2)
