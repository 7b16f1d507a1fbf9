"""More of what untrusted peers may send: too much of what is allowed, in the wrong order, or with one end shut.

The sizes and ranges of every message are in `test_wire_bad_input.py`.
"""

from __future__ import annotations

import socket
from typing import Any

import gevent
import pytest
from gevent import socket as gevent_socket

import geventbt
from geventbt import Extensions, Handshake, Wire, limits
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from tests.loopback.harness import BLOCK, GEOMETRY, INFO_HASH, OUR_ID, PEER_ID, RawPeer, eventually

pytestmark = pytest.mark.usefixtures("nothing_logged")

HELLO = Handshake(INFO_HASH, PEER_ID, Extensions(fast=True, extended=True)).to_bytes()
OUTSIDE = 2**32 - 1


@pytest.fixture
def seeder(serving: Any) -> geventbt.PeerServer:
    """A server that gives everybody everything."""

    def seed(wire: geventbt.Wire) -> None:
        wire.handshake(INFO_HASH, OUR_ID, geometry=GEOMETRY)
        wire.have_all() if wire.has_fast else wire.bitfield(b"\xff\xc0")
        wire.unchoke()
        wire.serve(lambda piece, offset, length: bytes(length))

    server: geventbt.PeerServer = serving(seed)
    return server


def raw_peer(server: geventbt.PeerServer) -> RawPeer:
    return RawPeer(gevent_socket.create_connection(("127.0.0.1", server.server_port)))


def send_all(peer: RawPeer, data: bytes) -> None:
    """Send until all is sent or the other side has had enough, throwing away what it says."""

    def swallow() -> None:
        try:
            while peer.sock.recv(65536):
                pass
        except OSError:
            pass

    swallowing = gevent.spawn(swallow)
    try:
        peer.send(data)
    except OSError:
        pass
    finally:
        gevent.sleep(0.01)
        swallowing.kill()


def assert_still_serves(server: geventbt.PeerServer) -> None:
    with geventbt.connect(("127.0.0.1", server.server_port)) as wire:
        wire.handshake(INFO_HASH, b"the next one's id...", geometry=GEOMETRY)
        wire.wait_unchoked(timeout=5)
        assert wire.request(0, 0, BLOCK, timeout=5) == bytes(BLOCK)


STREAMS = {
    "keep-alives": m.KEEP_ALIVE_BYTES * 50_000,
    "chokes and unchokes": (m.pack_bare(c.CHOKE) + m.pack_bare(c.UNCHOKE)) * 20_000,
    "haves": m.pack_index(c.HAVE, 3) * 20_000,
    "bitfields": m.pack_bitfield(b"\xff\xc0") * 5_000,
    "have_all and have_none": (m.pack_bare(c.HAVE_ALL) + m.pack_bare(c.HAVE_NONE)) * 10_000,
    "advice that makes no sense": m.pack_index(c.SUGGEST, OUTSIDE) * 10_000 + m.pack_index(c.ALLOWED_FAST, OUTSIDE),
    "cancels of nothing": m.pack_range(c.CANCEL, OUTSIDE, OUTSIDE, OUTSIDE) * 10_000,
    "rejects of nothing": m.pack_range(c.REJECT, 0, 0, 4) * 1_000,
    "one request again and again": m.pack_range(c.REQUEST, 0, 0, 4) * 20_000,
    "unknown messages": b"\0\0\0\4\x63abc" * 20_000,
    "long unknown messages": (limits.MESSAGE.to_bytes(4, "big") + b"\x63" + bytes(limits.MESSAGE - 1)) * 5,
    "hashes that nobody agreed on": m.pack_hash_range(c.HASHES, bytes(32), 0, 0, 2, 0, bytes(640)) * 500,
    "a second handshake": HELLO,
    "a block": m.pack_piece_header(0, 0, BLOCK) + bytes(BLOCK),
    "extended messages of no extension": m.pack_extended(200, bytes(100)) * 10_000,
    "extended handshakes": m.pack_extended(0, b"d4:reqqi1ee") * 5_000,
    "a reqq below nothing": m.pack_extended(0, b"d4:reqqi-1ee"),
    "a reqq of nothing": m.pack_extended(0, b"d4:reqqi0ee"),
    "an endless reqq": m.pack_extended(0, b"d4:reqqi" + b"9" * 19 + b"ee"),
    "an extended handshake of many names": m.pack_extended(
        0, b"d1:md" + b"".join(b"5:x%04di%de" % (number, number % 255 + 1) for number in range(900)) + b"ee"
    ),
    "an extended handshake too deep": m.pack_extended(0, b"d1:x" + b"l" * 5_000 + b"e" * 5_000 + b"e"),
    "an extended handshake cut short": m.pack_extended(0, b"d1:md5:xx_aai"),
}


@pytest.mark.parametrize("what", STREAMS)
def test_too_much_and_nonsense_leave_the_server_to_the_next_peer(seeder, what):
    peer = raw_peer(seeder)
    send_all(peer, HELLO + STREAMS[what])
    assert_still_serves(seeder)
    peer.sock.close()
    eventually(lambda: not seeder.wires)


def test_a_peer_that_says_no_more_but_reads_gets_no_leak(seeder):
    """It shuts its sending side, as a download of another protocol might."""
    peer = raw_peer(seeder)
    peer.send(HELLO + m.pack_range(c.REQUEST, 0, 0, 4))
    peer.sock.shutdown(socket.SHUT_WR)
    assert peer.is_closed()
    peer.sock.close()
    eventually(lambda: not seeder.wires)
    assert_still_serves(seeder)


def test_a_reset_while_blocks_are_on_their_way_ends_that_wire_alone(seeder):
    peer = raw_peer(seeder)
    peer.send(HELLO + b"".join(m.pack_range(c.REQUEST, n // 4, n % 4 * BLOCK, BLOCK) for n in range(36)))
    peer.receive(68 + 100)
    peer.reset()
    eventually(lambda: not seeder.wires)
    assert_still_serves(seeder)


def test_peers_that_say_nothing_are_closed_all_at_once(seeder, monkeypatch):
    monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT", 0.2)
    connected: list[Wire] = []
    seeder.on("peer_connected", lambda server, wire: connected.append(wire))
    peers = [raw_peer(seeder) for _ in range(50)]
    eventually(lambda: len(connected) == 50)
    for peer in peers:
        assert peer.is_closed()
        peer.sock.close()
    eventually(lambda: not seeder.wires)
    monkeypatch.undo()
    assert_still_serves(seeder)


@pytest.mark.parametrize("reqq", [b"0", b"-1", b"-999999"])
def test_a_peer_that_would_queue_nothing_is_still_asked_one_by_one(raw, reqq):
    """A read that could never be sent would wait for its timeout, and look like the peer's silence."""
    wire, peer = raw(extensions=Extensions(fast=True, extended=True))
    peer.send(m.pack_extended(0, b"d4:reqqi" + reqq + b"ee") + m.pack_bare(c.UNCHOKE))
    eventually(lambda: wire.closed or not wire.peer_choking)
    if wire.closed:
        return
    read = gevent.spawn(wire.read, 0, 0, 4, timeout=30)
    eventually(lambda: wire.requests == [(0, 0, 4)], 3)
    peer.send(m.pack_piece_header(0, 0, 4) + b"good")
    assert read.get(timeout=5) == b"good"
