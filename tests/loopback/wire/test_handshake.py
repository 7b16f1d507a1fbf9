"""Handshakes at the edges: cut short, interrupted, said twice, and reserved bits that only one side sets.

The ordinary cases are in `test_wire_basics.py`, the bad ones in `test_wire_bad_input.py`.
"""

from __future__ import annotations

from typing import Any

import gevent
import pytest
from bitarray.util import zeros

from geventbt import Extensions, Geometry, Handshake, LocalProtocolError, Wire, WireClosed, WireTimeout
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from tests.loopback.harness import INFO_HASH, OUR_ID, PEER_ID, RawPeer, eventually

THEIRS = Handshake(INFO_HASH, PEER_ID, Extensions(fast=True))


@pytest.fixture
def silent(socket_pair: Any) -> Any:
    """A wire that has not shaken hands, and its raw peer."""
    left, right = socket_pair()
    wire = Wire(left, incoming=False)
    yield wire, RawPeer(right)
    wire.close(0)


def test_a_handshake_and_what_follows_may_come_byte_by_byte(silent):
    wire, peer = silent
    dripping = gevent.spawn(peer.drip, THEIRS.to_bytes() + m.pack_bare(c.HAVE_ALL) + m.pack_bare(c.UNCHOKE))
    assert wire.handshake(INFO_HASH, OUR_ID) == THEIRS
    wire.wait_unchoked(timeout=5)
    assert wire.peer_has_all
    dripping.get(timeout=5)


def test_what_follows_the_handshake_in_one_segment_is_not_lost(silent):
    wire, peer = silent
    peer.send(THEIRS.to_bytes() + m.pack_bare(c.HAVE_ALL) + m.pack_bare(c.UNCHOKE))
    wire.handshake(INFO_HASH, OUR_ID)
    wire.wait_unchoked(timeout=5)
    assert wire.peer_has_all


def test_what_is_known_before_the_peers_handshake_is_sent_right_behind_ours(silent):
    wire, peer = silent
    pieces = zeros(10, "big")
    shaking = gevent.spawn(
        wire.handshake, INFO_HASH, OUR_ID, geometry=Geometry(10, 1), bitfield=pieces, interested=True
    )
    assert peer.receive(68)[28:48] == INFO_HASH
    assert peer.message() == m.pack_bitfield(pieces.tobytes())[4:]
    assert peer.message() == m.pack_bare(c.INTERESTED)[4:]
    assert wire.am_interested
    peer.send(THEIRS.to_bytes())
    assert shaking.get(timeout=5) == THEIRS


@pytest.mark.parametrize("how", ["timeout", "kill"])
def test_a_handshake_that_was_given_up_may_be_taken_up_again(silent, how):
    """A foreign timeout, or a kill, ends the waiting and not the wire."""
    wire, peer = silent
    if how == "timeout":
        mine = gevent.Timeout(0.01)
        with pytest.raises(gevent.Timeout) as caught, mine:
            wire.handshake(INFO_HASH, OUR_ID)
        assert caught.value is mine
    else:
        waiting = gevent.spawn(wire.handshake, INFO_HASH, OUR_ID)
        gevent.sleep(0)
        waiting.kill()
    assert not wire.closed
    peer.send(THEIRS.to_bytes())
    assert wire.handshake(INFO_HASH, OUR_ID) == THEIRS
    assert peer.receive(68)[28:48] == INFO_HASH
    wire.port(1)
    # The handshake went out once only.
    assert peer.message() == m.pack_port(1)[4:]


def test_a_timeout_says_how_long_it_was(silent):
    wire, _ = silent
    with pytest.raises(WireTimeout, match=r"0\.05 s"):
        wire.handshake(INFO_HASH, OUR_ID, timeout=0.05)


def test_without_a_timeout_a_handshake_waits_for_the_peer(silent):
    wire, peer = silent
    waiting = gevent.spawn(wire.handshake, INFO_HASH, OUR_ID, timeout=None)
    assert peer.receive(68)[28:48] == INFO_HASH
    assert not waiting.ready()
    peer.send(THEIRS.to_bytes())
    assert waiting.get(timeout=5) == THEIRS


def test_a_timeout_that_is_none_at_all_is_refused_before_anything_is_sent(silent):
    wire, _ = silent
    with pytest.raises(TypeError):
        wire.handshake(INFO_HASH, OUR_ID, timeout="soon")
    assert wire.info_hash is None


@pytest.mark.parametrize("wrong", [None, 1.5, "\ud800", {1: 2}, [object()]])
def test_what_cannot_be_said_in_the_extended_handshake_is_the_callers_error(silent, wrong):
    wire, peer = silent
    wire.extended_handshake["x"] = wrong
    with pytest.raises(LocalProtocolError), gevent.Timeout(5):
        wire.handshake(INFO_HASH, OUR_ID)
    del wire.extended_handshake["x"]
    peer.send(THEIRS.to_bytes())
    assert wire.handshake(INFO_HASH, OUR_ID) == THEIRS
    # It went out once only.
    assert peer.receive(68)[28:48] == INFO_HASH
    wire.port(1)
    assert peer.message() == m.pack_port(1)[4:]


def test_a_peer_that_leaves_half_way_through_is_a_closed_wire(silent):
    wire, peer = silent
    peer.send(THEIRS.to_bytes()[:40])
    peer.sock.close()
    with pytest.raises(WireClosed):
        wire.handshake(INFO_HASH, OUR_ID)
    assert wire.closed


def test_a_peer_that_leaves_without_a_handshake_is_said_to_lack_the_torrent(silent):
    wire, peer = silent
    peer.sock.close()
    with pytest.raises(WireClosed, match=r"^127\.0\.0\.1:\d+ closed the connection without a handshake;"):
        wire.handshake(INFO_HASH, OUR_ID)


def test_waiting_for_an_inbound_handshake_may_have_a_limit(socket_pair):
    left, right = socket_pair()
    with Wire(right, incoming=True) as wire:
        with pytest.raises(WireTimeout, match=r"^no handshake within 0\.01 s$"):
            wire.wait_handshake(timeout=0.01)
        RawPeer(left).send(THEIRS.to_bytes())
        assert wire.wait_handshake(timeout=5) == THEIRS
        left.close()


def test_the_extended_handshake_can_be_waited_for(silent):
    wire, peer = silent
    peer.send(Handshake(INFO_HASH, PEER_ID, Extensions(extended=True)).to_bytes())
    wire.handshake(INFO_HASH, OUR_ID)
    with pytest.raises(WireTimeout, match=r"^no extended handshake within 0\.01 s$"):
        wire.wait_extended_handshake(timeout=0.01)
    waiting = gevent.spawn(wire.wait_extended_handshake)
    peer.send(m.pack_extended(0, b"d1:md6:x_pingi3eee"))
    assert waiting.get(timeout=5) == {"m": {"x_ping": 3}}
    assert wire.wait_extended_handshake() == {"m": {"x_ping": 3}}
    peer.sock.close()
    eventually(lambda: wire.closed)
    with pytest.raises(WireClosed):
        wire.wait_extended_handshake()


def test_there_is_no_extended_handshake_to_wait_for_without_the_extension_protocol(silent):
    wire, peer = silent
    peer.send(THEIRS.to_bytes())
    wire.handshake(INFO_HASH, OUR_ID)
    assert wire.wait_extended_handshake() == {}


def test_a_second_handshake_for_another_torrent_is_the_callers_error(wires):
    a, _ = wires()
    assert a.handshake(INFO_HASH, OUR_ID).peer_id == PEER_ID
    with pytest.raises(LocalProtocolError):
        a.handshake(b"another torrent's...", OUR_ID)
    assert not a.closed


@pytest.mark.parametrize("bit", ["fast", "extended", "dht", "v2"])
@pytest.mark.parametrize("who", ["ours", "theirs", "both"])
def test_a_reserved_bit_counts_when_both_set_it(silent, bit, who):
    wire, peer = silent
    none = {"dht": False, "fast": False, "extended": False, "v2": False}
    ours = {**none, bit: who != "theirs"}
    theirs = Extensions(**{**none, bit: who != "ours"})
    peer.send(Handshake(INFO_HASH, PEER_ID, theirs).to_bytes())
    wire.handshake(INFO_HASH, OUR_ID, **ours)
    assert wire.extensions == Extensions(**ours)
    assert wire.peer_extensions == theirs
    sends = {
        "fast": wire.have_all,
        "extended": lambda: wire.extended("handshake", b""),
        "v2": lambda: wire.hash_request(bytes(32), 0, 2, 2, 1),
    }
    assert wire.has_fast == (bit == "fast" and who == "both")
    for name, send in sends.items():
        if name == bit and who == "both":
            send()
        else:
            with pytest.raises(LocalProtocolError):
                send()
    assert not wire.closed


def test_an_inbound_peer_may_speak_before_we_have_answered(socket_pair):
    """It promised the fast extension in its own handshake, so its first messages may be of it."""
    left, right = socket_pair()
    wire, peer = Wire(left, incoming=True), RawPeer(right)
    peer.send(THEIRS.to_bytes() + m.pack_bare(c.HAVE_ALL) + m.pack_bare(c.INTERESTED))
    eventually(lambda: wire.peer_interested)
    assert wire.peer_has_all
    assert wire.handshake(wire.info_hash, OUR_ID) == THEIRS
    assert peer.receive(68) == Handshake(INFO_HASH, OUR_ID, wire.extensions).to_bytes()
    wire.close(0)


def test_what_is_used_before_the_answer_and_not_granted_by_it_is_not_sent_back(socket_pair):
    left, right = socket_pair()
    wire, peer = Wire(left, incoming=True), RawPeer(right)
    peer.send(THEIRS.to_bytes() + m.pack_bare(c.HAVE_ALL) + m.pack_range(c.REQUEST, 0, 0, 4))
    eventually(lambda: wire.peer_has_all)
    wire.handshake(INFO_HASH, OUR_ID, fast=False)
    peer.receive(68)
    wire.port(1)
    assert peer.message() == m.pack_port(1)[4:]
    wire.close(0)
